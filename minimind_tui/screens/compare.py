"""Several runs in one chart, over steps, tokens or time, and the settings in which they differ."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.css.query import NoMatches

from minimind.errors import UserError
from minimind.events import Table, Text
from minimind.figures import quantity
from minimind.safe_text import clean_line
from minimind.training.compare import ALIGNMENTS, Alignment
from minimind_tui import supervisor
from minimind_tui.compare_watch import ComparedRun, CompareWatch, Comparison
from minimind_tui.metrics import GROUPS, group_of, name_of
from minimind_tui.screens.run_actions import RunActions
from minimind_tui.widgets.legend import Legend
from minimind_tui.widgets.line import Line
from minimind_tui.widgets.line_chart import LineChart
from minimind_tui.widgets.table_view import TableView

POLL_SECONDS = 1.0
WIDE = 120
MOST_RUNS = 12
"""More lines in one chart cannot be told apart."""

_DAY = re.compile(r"^\d{4}-\d\d-\d\d-")
_AXES: dict[Alignment, Text] = {
    "step": Text("step", "步"),
    "tokens": Text("tokens", "词元"),
    "time": Text("seconds", "秒"),
}


class CompareScreen(RunActions):
    """The runs in `directories` laid over each other. Raises UserError where one of them cannot be read."""

    TITLE_KEY = "compare.title"
    DEFAULT_CSS = """
    CompareScreen #what { height: 1; padding: 0 1; color: $text-muted; }
    CompareScreen #both { height: 1fr; layout: vertical; }
    CompareScreen #chart { height: 3fr; min-height: 6; }
    CompareScreen Legend { margin: 0 1; max-height: 13; }
    CompareScreen #differences { height: 2fr; min-height: 3; padding: 0 1; border-top: solid $rule; }
    CompareScreen #differences:focus { background: $surface; }
    CompareScreen #alike { color: $text-muted; }
    CompareScreen.-wide #both { layout: horizontal; }
    CompareScreen.-wide #chart { width: 3fr; height: 1fr; }
    CompareScreen.-wide #differences { width: 2fr; height: 1fr; border-top: none; border-left: solid $rule; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x", "axis", "compare.key.axis"),
        Binding("right_square_bracket", "figure(1)", "compare.key.next_figure"),
        Binding("left_square_bracket", "figure(-1)", "compare.key.previous_figure", show=False),
        Binding("y", "log", "chart.key.log", show=False),
        Binding("e,m", "smooth", "chart.key.smooth", show=False),
    ]

    def __init__(self, directories: Sequence[Path]) -> None:
        super().__init__()
        if len(directories) > MOST_RUNS:
            raise UserError(
                f"{len(directories)} runs in one chart cannot be told apart: mark at most {MOST_RUNS}",
                f"一张图里放 {len(directories)} 个训练无法分辨：最多标记 {MOST_RUNS} 个",
            )
        self._watch = CompareWatch(directories)
        self._comparison: Comparison | None = None
        self._figure: str | None = None
        self._alignment: Alignment = "step"
        self._drawn: tuple[object, ...] = ()

    def compose_body(self) -> ComposeResult:
        """What is compared, chart and differences, which line is whose."""
        yield Line(id="what")
        with Container(id="both"):
            yield LineChart(id="chart")
            with VerticalScroll(id="differences"):
                yield Line(id="alike")
                yield TableView()
        yield Legend()

    def on_mount(self) -> None:
        """Arrange for this size."""
        self.query_one(LineChart).focus()
        self.set_class(self.app.size.width >= WIDE, "-wide")
        self.relabel()

    def on_resize(self, event: events.Resize) -> None:
        """Side by side where there is room."""
        self.set_class(event.size.width >= WIDE, "-wide")

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        """Follow the runs again."""
        self._follow()

    def on_screen_suspend(self) -> None:
        """Nobody looks: stop reading."""
        self.workers.cancel_group(self, "follow")

    async def on_unmount(self) -> None:
        """Let go of the files."""
        await asyncio.to_thread(self._watch.close)

    # --- following ------------------------------------------------------------------------------------------------

    @work(group="follow", exclusive=True)
    async def _follow(self) -> None:
        while True:
            self._comparison = await asyncio.to_thread(self._watch.poll, self._figure, self._alignment)
            with suppress(NoMatches):  # a screen that is being taken down has lost parts of itself
                self._show(self._comparison)
            await asyncio.sleep(0.02 if self._comparison.loading else POLL_SECONDS)

    def _show(self, compared: Comparison) -> None:
        chart = self.query_one(LineChart)
        drawn = (compared.figure, compared.alignment, tuple((len(xs), xs[-1:]) for xs, _ in compared.curves))
        if drawn != self._drawn:
            self._drawn = drawn
            for run, (xs, ys) in zip(compared.runs, compared.curves, strict=True):
                chart.set_series(run.id, xs, ys, label=short_name(run))
        chart.name_axes(GROUPS[group_of(compared.figure)].title, _AXES[compared.alignment])
        self.query_one(Legend).set_runs(compared.runs, [self.state_name(run.status) for run in compared.runs])
        self._show_words(compared)

    def _show_words(self, compared: Comparison) -> None:
        place = compared.figures.index(compared.figure) + 1 if compared.figure in compared.figures else 0
        self.query_one("#what", Line).show(
            self.t(
                "compare.what",
                figure=f"{self.say(GROUPS[group_of(compared.figure)].title)}: {self.say(name_of(compared.figure))}",
                axis=self.say(_AXES[compared.alignment]),
                place=place,
                count=len(compared.figures),
            )
        )
        self.query_one("#alike", Line).show("" if compared.differences else self.t("compare.alike"))
        self.query_one("#alike").display = not compared.differences
        if compared.differences:
            columns = (Text("setting", "设置"), *(Text(name, name) for name in map(short_name, compared.runs)))
            rows = tuple((row.name, *map(_shown, row.values)) for row in compared.differences)
            self.query_one(TableView).set_table(Table("differences", columns, rows))

    def relabel(self) -> None:
        """Speak again."""
        if self._comparison is not None:
            self._show(self._comparison)

    # --- keys -------------------------------------------------------------------------------------------------------

    def action_axis(self) -> None:
        """Steps, tokens, time, and round again."""
        self._alignment = ALIGNMENTS[(ALIGNMENTS.index(self._alignment) + 1) % len(ALIGNMENTS)]
        self._follow()

    def action_figure(self, step: int) -> None:
        """The next figure, or the one before."""
        compared = self._comparison
        if compared is None or not compared.figures:
            return
        place = compared.figures.index(compared.figure) if compared.figure in compared.figures else 0
        self._figure = compared.figures[(place + step) % len(compared.figures)]
        self._follow()

    def action_log(self) -> None:
        """Linear or logarithmic."""
        self.query_one(LineChart).action_toggle_log()

    def action_smooth(self) -> None:
        """As measured, or averaged."""
        self.query_one(LineChart).action_toggle_smooth()


def short_name(run: ComparedRun) -> str:
    """What tells a run from others in a narrow place: its name, or its id without the day."""
    return clean_line(_DAY.sub("", run.name), 24)


def _shown(value: Any) -> str:
    """A setting's value in a cell."""
    if value is None:
        return "–"
    if isinstance(value, (list, tuple)):
        return shlex.join(map(str, value))
    if isinstance(value, str):
        return supervisor.model_title(value) if "/" in value else value
    return quantity(value) if isinstance(value, float) and abs(value) >= 10_000 else f"{value}"
