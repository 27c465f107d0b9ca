"""A small table of results: words to the left, numbers to the right, no widget a cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rich.style import Style
from textual.geometry import Size

from minimind.events import Table, Text
from minimind.plot import figure
from minimind.safe_text import clean_line
from minimind_tui.rows import cut, fit, fit_right, share_widths, width_of
from minimind_tui.widgets.painted import Painted, Row, StyleKey


class TableView(Painted):
    """The latest table given to `set_table`."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"table-view--{part}" for part in ("title", "head", "cell", "rule")}
    DEFAULT_CSS = """
    TableView { width: 1fr; height: auto; background: $background; }
    TableView > .table-view--title { text-style: bold; }
    TableView > .table-view--head { color: $text-muted; }
    TableView > .table-view--cell { color: $foreground; }
    TableView > .table-view--rule { color: $border-blurred; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._table: Table | None = None
        self._names: Mapping[str, Text] = {}

    def set_table(self, table: Table, names: Mapping[str, Text] | None = None) -> None:
        """Show this table; a cell that is one of `names` is shown as that phrase."""
        self._names = names or {}
        grows = self._table is None or len(self._table.rows) != len(table.rows)
        self._table = table
        if grows:
            self.refresh(layout=True)
        self.schedule()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 (Textual's signature)
        """Title, heads, rule, and a line a row."""
        return 0 if self._table is None else 2 + bool(self._title()) + len(self._table.rows)

    def _title(self) -> str:
        assert self._table is not None
        return clean_line(self.say(self._table.title)) if self._table.title else ""

    def paint(self, width: int, height: int) -> list[Row]:  # noqa: ARG002 (as high as it is)
        """The rows."""
        if self._table is None:
            return []
        heads = [clean_line(self.say(column)) for column in self._table.columns]
        body = [[self._cell(value) for value in row] for row in self._table.rows]
        numeric = [
            bool(self._table.rows) and all(not isinstance(row[x], str) for row in self._table.rows if x < len(row))
            for x in range(len(heads))
        ]
        wanted = [
            max(width_of(text) for text in [head, *(row[x] for row in body if x < len(row))])
            for x, head in enumerate(heads)
        ]
        widths = share_widths(wanted, width - 2 * (len(heads) - 1))
        title = self._title()
        rule = "-" if self.ascii_only else "─"
        rows: list[Row] = [[(cut(title, width), "title")]] if title else []
        rows.append([(_line(heads, widths, numeric), "head")])
        rows.append([(rule * min(width, sum(widths) + 2 * (len(widths) - 1)), "rule")])
        rows += [[(_line(row, widths, numeric), "cell")] for row in body]
        return rows

    def _cell(self, value: str | float) -> str:
        if not isinstance(value, str):
            return figure(value)
        return clean_line(self.say(self._names[value]) if value in self._names else value, 200)

    def style_of(self, key: StyleKey) -> Style:
        """A part's component style."""
        return self.get_component_rich_style(f"table-view--{key}", partial=True)


def _line(cells: list[str], widths: list[int], numeric: list[bool]) -> str:
    padded = cells + [""] * (len(widths) - len(cells))
    return "  ".join(
        fit_right(cell, width) if to_right else fit(cell, width)
        for cell, width, to_right in zip(padded, widths, numeric, strict=False)
    )
