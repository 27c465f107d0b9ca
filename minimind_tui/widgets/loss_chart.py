"""The chart that says how well a run does: its losses, or the reward where the method earns one."""

from __future__ import annotations

import math

from minimind.config import MODEL_PRESETS, TrainConfig
from minimind.events import Band, Level, Text
from minimind_tui.metrics import GROUPS, HELD_OUT, group_of, main_group, name_of
from minimind_tui.run_watch import RunSnapshot
from minimind_tui.widgets.line_chart import LineChart, Reference

_UNIFORM = Text("uniform guess, ln V =", "均匀猜测 ln V =")
_NO_PREFERENCE = Text("no preference yet, ln 2 =", "尚无偏好 ln 2 =")


class LossChart(LineChart):
    """Training and held-out loss in nats per token; of reinforcement learning, the rewards.

    A line marks what knowing nothing costs: ln(vocabulary) where a preset's fresh weights learn to predict, ln 2 where
    a preference is learned.
    """

    def __init__(self, config: TrainConfig, *, id: str | None = None, classes: str | None = None) -> None:
        preset = MODEL_PRESETS.get(config.model)
        marks = []
        if config.objective == "dpo":
            marks.append(Reference(math.log(2), _NO_PREFERENCE))
        elif preset is not None and config.objective in ("pretrain", "sft"):
            marks.append(Reference(math.log(preset.vocab_size), _UNIFORM))
        super().__init__(GROUPS["loss"].title, axis=Text("step", "步"), references=marks, id=id, classes=classes)
        self.group = "loss"

    def take(self, snapshot: RunSnapshot) -> None:
        """Draw what this snapshot has."""
        if snapshot.curves is not None:
            self.clear()
            self._be(main_group(snapshot.latest))
            # Held-out figures are recorded first, but what is trained on comes first to the eye.
            for name in sorted(snapshot.curves, key=lambda name: name.startswith(HELD_OUT)):
                if group_of(name) == self.group:
                    self.set_series(name, *snapshot.curves[name], label=name_of(name))
        for name, x, y in snapshot.points:
            if group_of(name) == self.group:
                self.append(name, x, y, label=name_of(name))

    def set_marks(self, levels: tuple[Level, ...], bands: tuple[Band, ...]) -> None:
        """Draw the lines and spreads that belong here."""
        for level in levels:
            if self._is_mine(level.chart):
                self.set_level(level.name, level.value)
        for band in bands:
            if self._is_mine(band.chart):
                self.set_band(band.name, band.x, band.low, band.high)

    def _is_mine(self, chart: str) -> bool:
        return chart in ("", self.group) or (chart not in GROUPS and group_of(chart) == self.group)

    def _be(self, group: str) -> None:
        """Show the losses or the rewards."""
        if group != self.group:
            self.group, self._title = group, GROUPS[group].title
            self._references.clear()  # they were in nats
