"""The learner's values beside the expected ones, where they are wrong."""

from __future__ import annotations

import math

from textual import events
from textual.app import ComposeResult
from textual.containers import Container

from lessons.exercise import Difference, Matrix
from minimind.events import Heatmap, Text
from minimind_tui.speech import Speaker
from minimind_tui.widgets.heatmap_view import HeatmapView

_SIDE_BY_SIDE = 60


class DifferenceView(Speaker, Container):
    """Two heatmaps on one scale, side by side where there is room; hidden while there is nothing to compare."""

    DEFAULT_CSS = """
    DifferenceView { layout: grid; grid-size: 1; grid-rows: auto; grid-gutter: 1 2; height: auto; display: none; margin: 1 0 0 0; }
    DifferenceView.-wide { grid-size: 2; }
    DifferenceView.-shown { display: block; layout: grid; }
    """

    def compose(self) -> ComposeResult:
        """Yours, then the expected."""
        yield HeatmapView(id="yours")
        yield HeatmapView(id="expected")

    def on_resize(self, event: events.Resize) -> None:
        """Side by side where there is room."""
        self.set_class(event.size.width >= _SIDE_BY_SIDE, "-wide")

    def show_difference(self, difference: Difference | None) -> None:
        """Draw these two, or nothing."""
        self.set_class(difference is not None, "-shown")
        if difference is None:
            return
        finite = [value for row in difference.expected for value in row if math.isfinite(value)]
        low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
        en, zh = difference.case.en, difference.case.zh
        titles = (
            ("#yours", difference.yours, Text(f"yours, {en}", f"你的结果，{zh}")),
            ("#expected", difference.expected, Text(f"expected, {en}", f"应有的结果，{zh}")),
        )
        for name, rows, title in titles:
            self.query_one(name, HeatmapView).set_heatmap(_heatmap(difference, rows, low, high, title))


def _heatmap(difference: Difference, rows: Matrix, low: float, high: float, title: Text) -> Heatmap:
    return Heatmap(
        "difference",
        rows,
        tuple(str(difference.row + place) for place in range(len(rows))),
        tuple(str(difference.column + place) for place in range(len(rows[0]) if rows else 0)),
        low,
        high,
        title,
    )
