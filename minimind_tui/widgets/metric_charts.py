"""A chart for each group of figures that a run records, in as many columns as there is room for, page by page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.widget import Widget

from minimind.events import Band, Level, Text
from minimind_tui.metrics import GROUPS, HELD_OUT, UNDRAWN, group_of, name_of
from minimind_tui.run_watch import Curves
from minimind_tui.speech import Speaker
from minimind_tui.widgets.line import Line
from minimind_tui.widgets.line_chart import LineChart

Points = Iterable[tuple[str, float, float]]
_CHART_WIDTH, _CHART_HEIGHT = 38, 5


class MetricCharts(Speaker, Widget):
    """Every figure but those of the main chart; charts that are not in view are not drawn.

    PgUp and PgDn turn the pages, Enter shows the focused chart alone and goes back.
    """

    DEFAULT_CSS = """
    MetricCharts { layout: vertical; }
    MetricCharts Container { layout: grid; height: 1fr; grid-gutter: 0 1; }
    MetricCharts LineChart { display: none; }
    MetricCharts LineChart.-shown { display: block; }
    MetricCharts .pages { height: 1; padding: 0 1; color: $text-muted; display: none; }
    MetricCharts.-paged .pages { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("pageup", "turn(-1)", "run.key.previous_charts", show=False),
        Binding("pagedown", "turn(1)", "run.key.next_charts", show=False),
        Binding("enter", "alone", "run.key.alone", show=False),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._charts = {name: LineChart(group.title, axis=Text("step", "步")) for name, group in GROUPS.items()}
        self._series: dict[str, set[str]] = {name: set() for name in GROUPS}
        self._main = "loss"
        self._page = 0
        self._alone: str | None = None

    def compose(self) -> ComposeResult:
        """The charts, and which page of them this is."""
        with Container():
            yield from self._charts.values()
        yield Line(classes="pages")

    def on_resize(self) -> None:
        """As many as there is room for."""
        self._arrange()

    def relabel(self) -> None:
        """Speak again."""
        self._arrange()

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups with figures, in order, without that of the main chart."""
        return tuple(name for name in GROUPS if name != self._main and self._series[name])

    # --- data -----------------------------------------------------------------------------------------------------

    def take(self, curves: Curves | None, points: Points, main: str) -> None:
        """Draw `curves` in place of what there is, or add `points`; the group `main` is drawn elsewhere."""
        before = self.groups
        self._main = main
        if curves is not None:
            for name, chart in self._charts.items():
                chart.clear()
                self._series[name].clear()
            for series in sorted(curves, key=lambda name: name.startswith(HELD_OUT)):
                xs, ys = curves[series]
                chart_or_none = self._chart_of(series)
                if chart_or_none is not None:
                    chart_or_none.set_series(series, xs, _scaled(series, ys), label=name_of(series))
        for series, x, y in points:
            chart_or_none = self._chart_of(series)
            if chart_or_none is not None:
                chart_or_none.append(series, x, _scaled(series, (y,))[0], label=name_of(series))
        if self.groups != before:
            self._arrange()

    def set_marks(self, levels: Iterable[Level], bands: Iterable[Band]) -> None:
        """Draw lines and spreads in the charts they name (a group, or a series of one)."""
        for level in levels:
            self._marked(level.chart).set_level(level.name, level.value)
        for band in bands:
            self._marked(band.chart).set_band(band.name, band.x, band.low, band.high)

    def smooth(self, smoothed: bool) -> None:
        """Averaged, or as measured."""
        for chart in self._charts.values():
            chart.smoothed = smoothed

    def _chart_of(self, series: str) -> LineChart | None:
        # Of reinforcement learning the held-out loss is the held-out reward with another sign.
        if series in UNDRAWN or (series == "validation_loss" and self._main == "rewards"):
            return None
        group = group_of(series)
        self._series[group].add(series)
        return None if group == self._main else self._charts[group]

    def _marked(self, name: str) -> LineChart:
        return self._charts[name if name in self._charts else group_of(name)]

    # --- pages ----------------------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Show the charts of this page."""
        width, height = self.size
        if width < 1 or height < 1:
            return
        groups = self.groups
        if self._alone not in groups:
            self._alone = None
        columns = max(1, min(width // _CHART_WIDTH, len(groups)))
        room = columns * max(1, height // _CHART_HEIGHT)
        if len(groups) > room:
            room = columns * max(1, (height - 1) // _CHART_HEIGHT)
        pages = max(1, -(-len(groups) // room))
        self._page = max(0, min(self._page, pages - 1))
        shown = groups[self._page * room : (self._page + 1) * room]
        if self._alone is not None:
            shown, columns = (self._alone,), 1
        for name, chart in self._charts.items():
            chart.set_class(name in shown, "-shown")
        grid = self.query_one(Container).styles
        grid.grid_size_columns = columns
        grid.grid_size_rows = max(1, -(-len(shown) // columns))
        self.set_class(pages > 1 and self._alone is None, "-paged")
        self.query_one(".pages", Line).show(self.t("run.charts_page", page=self._page + 1, count=pages))

    def action_turn(self, pages: int) -> None:
        """The next charts, or the ones before; the focus goes with them."""
        had_focus = self.has_focus_within
        self._page += pages
        self._arrange()
        first = next((chart for chart in self._charts.values() if chart.has_class("-shown")), None)
        if had_focus and first is not None:
            self.call_after_refresh(first.focus)

    def action_alone(self) -> None:
        """Only the focused chart, or all again."""
        focused = next((name for name, chart in self._charts.items() if chart.has_focus), None)
        self._alone = None if self._alone is not None else focused
        self._arrange()


def _scaled(series: str, values: Sequence[float]) -> Sequence[float]:
    """The values of `series` in the unit of its chart."""
    scale = GROUPS[group_of(series)].scale
    return values if scale == 1.0 else [value * scale for value in values]
