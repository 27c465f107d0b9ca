"""Which line of a chart belongs to which run, with its last and its lowest value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style

from minimind.chart_layout import MARKERS
from minimind.figures import number
from minimind.safe_text import clean_line
from minimind_tui.compare_watch import ComparedRun
from minimind_tui.palette import has_colors, series_style
from minimind_tui.rows import cut, fit, fit_right, width_of
from minimind_tui.widgets.painted import Painted, Row, StyleKey

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_VALUE = 10


class Legend(Painted):
    """A row a run, under a heading; `set_runs` gives them in the order of the chart's series."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"legend--head", "legend--text"}
    DEFAULT_CSS = """
    Legend { height: auto; background: $background; }
    Legend > .legend--head { color: $text-muted; text-style: bold; }
    Legend > .legend--text { color: $foreground; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._runs: tuple[ComparedRun, ...] = ()
        self._states: tuple[str, ...] = ()

    def set_runs(self, runs: Sequence[ComparedRun], states: Sequence[str]) -> None:
        """Show these runs and their states in words."""
        grows = len(runs) != len(self._runs)
        self._runs, self._states = tuple(runs), tuple(states)
        if grows:
            self.styles.height = 1 + len(self._runs)
        self.schedule()

    def paint(self, width: int, height: int) -> list[Row]:
        """The heading and the runs."""
        state = max((width_of(text) for text in self._states), default=0)
        name = max(8, width - 2 - 3 * (_VALUE + 1) - state - 1)
        heads = [self.t(f"compare.column.{column}") for column in ("step", "last", "lowest")]
        head = "  " + fit(self.t("compare.column.run"), name) + " " * (state + 1)
        rows: list[Row] = [[(cut(head + "".join(" " + fit_right(text, _VALUE) for text in heads), width), "head")]]
        for place, (run, words) in enumerate(zip(self._runs, self._states, strict=True)):
            values = (f"{run.step:,}", number(run.last), number(run.lowest))
            text = f"{fit(clean_line(run.name), name)} {fit(words, state)}"
            text += "".join(" " + fit_right(value, _VALUE) for value in values)
            rows.append([(f"{self._mark(place)} ", place), (cut(text, width - 2), "text")])
        return rows[:height]

    def style_of(self, key: StyleKey) -> Style:
        """A part's component style, or the colour of a run."""
        if isinstance(key, int):
            return series_style(self.app, key)
        return self.get_component_rich_style(f"legend--{key}", partial=True)

    def _mark(self, place: int) -> str:
        if self.ascii_only:
            return MARKERS[place % len(MARKERS)]
        return "━" if has_colors(self.app) else _LETTERS[place % len(_LETTERS)]
