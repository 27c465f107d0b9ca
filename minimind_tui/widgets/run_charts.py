"""The curves of a run: its losses in one chart, and what moves with them in three small ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from textual.app import ComposeResult
from textual.widget import Widget

from minimind.config import MODEL_PRESETS
from minimind.events import Text
from minimind_tui.run_watch import Curves
from minimind_tui.widgets.line_chart import LineChart, Reference

_STEP = Text("step", "步")
_UNIFORM = Text("uniform guess, ln V =", "均匀猜测 ln V =")
_LOSSES: Mapping[str, Text] = {"loss": Text("training", "训练"), "validation_loss": Text("held-out", "留出集")}
_DETAILS: Mapping[str, Text] = {
    "learning_rate": Text("Learning rate", "学习率"),
    "gradient_norm": Text("Gradient norm", "梯度范数"),
    "tokens_per_second": Text("Tokens/s", "词元/秒"),
}
Points = Iterable[tuple[str, float, float]]


class LossChart(LineChart):
    """Training and held-out loss, in nats per token.

    For a preset, whose weights are fresh, a line marks ln(vocabulary): what a guess without knowledge costs.
    """

    def __init__(self, model: str, *, id: str | None = None, classes: str | None = None) -> None:
        preset = MODEL_PRESETS.get(model)
        marks = [Reference(math.log(preset.vocab_size), _UNIFORM)] if preset is not None else []
        super().__init__(Text("Loss", "损失"), axis=_STEP, references=marks, id=id, classes=classes)

    def take(self, curves: Curves | None, points: Points) -> None:
        """Draw `curves` in place of what there is, or add `points`."""
        if curves is not None:
            self.clear()
            for name, label in _LOSSES.items():
                if name in curves:
                    self.set_series(name, *curves[name], label=label)
        for name, x, y in points:
            if name not in _LOSSES:
                continue
            if name not in self._series:
                self.set_series(name, (), (), label=_LOSSES[name])
            self.append(name, x, y)


class DetailCharts(Widget):
    """Learning rate, gradient norm and speed: side by side where it is wide, below each other where it is not."""

    DEFAULT_CSS = """
    DetailCharts { layout: vertical; }
    DetailCharts.-row { layout: horizontal; }
    """
    ROW_WIDTH = 84

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._charts = {name: LineChart(title, axis=_STEP) for name, title in _DETAILS.items()}

    def compose(self) -> ComposeResult:
        """The three charts."""
        yield from self._charts.values()

    def on_resize(self) -> None:
        """Side by side or below each other."""
        self.set_class(self.size.width >= self.ROW_WIDTH, "-row")

    def take(self, curves: Curves | None, points: Points) -> None:
        """Draw `curves` in place of what there is, or add `points`."""
        if curves is not None:
            for name, chart in self._charts.items():
                chart.set_series("", *curves.get(name, ((), ())))
        for name, x, y in points:
            if name in self._charts:
                self._charts[name].append("", x, y)

    def smooth(self, smoothed: bool) -> None:
        """Averaged, or as measured."""
        for chart in self._charts.values():
            chart.smoothed = smoothed
