"""A table of rows to choose from: one cursor, no cells to edit, and only rows that changed are sent to the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from minimind_tui.rows import fit, fit_right
from minimind_tui.widgets.painted import Painted, Row, StyleKey

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A column: the string key of its heading, its cells (0: what is left over), and the table width it appears at."""

    key: str
    width: int
    right: bool = False
    appears_at: int = 0


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row: who it is, a cell a column (cleaned), and the tone of its first cell: good, bad, busy, quiet or plain.

    One that is `marked` has a sign before it.
    """

    id: str
    cells: tuple[str, ...]
    tone: str = "plain"
    marked: bool = False


class ListTable(Painted, can_focus=True):
    """Rows under a heading. The cursor stays with its row while rows come, go and change."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"list-table--{part}" for part in ("heading", "plain", "cursor", "resting", "good", "bad", "busy", "quiet")
    }
    DEFAULT_CSS = """
    ListTable { height: 1fr; min-height: 2; background: $background; color: $foreground; }
    ListTable > .list-table--heading { color: $text-muted; text-style: bold; }
    ListTable > .list-table--plain { color: $foreground; }
    ListTable > .list-table--cursor { color: $block-cursor-foreground; background: $block-cursor-background; text-style: bold; }
    ListTable > .list-table--resting { color: $foreground; background: $panel; }
    ListTable > .list-table--good { color: $success; }
    ListTable > .list-table--bad { color: $error; text-style: bold; }
    ListTable > .list-table--busy { color: $accent; text-style: bold; }
    ListTable > .list-table--quiet { color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "table.key.up", show=False),
        Binding("down,j", "move(1)", "table.key.down", show=False),
        Binding("pageup", "page(-1)", "table.key.page_up", show=False),
        Binding("pagedown", "page(1)", "table.key.page_down", show=False),
        Binding("home", "move(-1000000)", "table.key.first", show=False),
        Binding("end", "move(1000000)", "table.key.last", show=False),
        Binding("enter", "choose", "table.key.choose"),
    ]

    class Moved(Message):
        """The cursor stands on another row, `row` (None: there are no rows)."""

        def __init__(self, table: ListTable, row: str | None) -> None:
            super().__init__()
            self.table, self.row = table, row

        @property
        def control(self) -> ListTable:
            """The table, for `on` selectors."""
            return self.table

    class Chosen(Message):
        """Enter was pressed on `row`, or it was clicked while the cursor stood there."""

        def __init__(self, table: ListTable, row: str) -> None:
            super().__init__()
            self.table, self.row = table, row

        @property
        def control(self) -> ListTable:
            """The table, for `on` selectors."""
            return self.table

    def __init__(self, columns: Sequence[Column], *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._columns = tuple(columns)
        self._items: tuple[TableRow, ...] = ()
        self._cursor = 0
        self._first = 0

    @property
    def current(self) -> str | None:
        """The id of the row under the cursor."""
        return self._items[self._cursor].id if self._items else None

    def set_rows(self, rows: Sequence[TableRow]) -> None:
        """Show these rows; the cursor stays on the row it was on, or near its place if that is gone."""
        before = self.current
        self._items = tuple(rows)
        place = next((number for number, row in enumerate(self._items) if row.id == before), self._cursor)
        self._cursor = max(0, min(place, len(self._items) - 1))
        if self.current != before:
            self.post_message(self.Moved(self, self.current))
        self.schedule()

    def go_to(self, row: str) -> None:
        """Put the cursor on `row`, if it is there."""
        for number, item in enumerate(self._items):
            if item.id == row:
                self._put_cursor(number)

    def action_move(self, rows: int) -> None:
        """Move the cursor."""
        self._put_cursor(self._cursor + rows)

    def action_page(self, pages: int) -> None:
        """Move the cursor by a screenful."""
        self._put_cursor(self._cursor + pages * max(1, self.size.height - 2))

    def action_choose(self) -> None:
        """Choose the row under the cursor."""
        if self.current is not None:
            self.post_message(self.Chosen(self, self.current))

    def on_click(self, event: events.Click) -> None:
        """Go to the clicked row, or choose it if the cursor is there."""
        number = self._first + event.y - 1
        if event.y < 1 or number >= len(self._items):
            return
        if number == self._cursor:
            self.action_choose()
        else:
            self._put_cursor(number)

    def on_mouse_scroll_down(self) -> None:
        """Down a row."""
        self.action_move(1)

    def on_mouse_scroll_up(self) -> None:
        """Up a row."""
        self.action_move(-1)

    def on_focus(self) -> None:
        """Show the cursor as live."""
        self.schedule()

    def on_blur(self) -> None:
        """Show the cursor as resting."""
        self.schedule()

    def _put_cursor(self, number: int) -> None:
        number = max(0, min(number, len(self._items) - 1))
        if number != self._cursor:
            self._cursor = number
            self.post_message(self.Moved(self, self.current))
            self.schedule()

    # --- drawing --------------------------------------------------------------------------------------------------

    def paint(self, width: int, height: int) -> list[Row]:
        """The heading and as many rows as fit, the cursor among them."""
        shown = [number for number, column in enumerate(self._columns) if width >= column.appears_at]
        widths = self._widths(shown, width)
        room = max(1, height - 1)
        self._first = max(0, min(self._first, self._cursor, len(self._items) - room))
        self._first = max(self._first, self._cursor - room + 1)
        heads = [self.t(column.key) for column in self._columns]
        if len(self._items) > room and shown:
            heads[shown[0] if widths[0] > 12 else shown[min(1, len(shown) - 1)]] += (
                f" {self._cursor + 1}/{len(self._items)}"
            )
        heading = self._line(heads, shown, widths)
        rows: list[Row] = [[(heading, "heading")]]
        for number in range(self._first, min(len(self._items), self._first + room)):
            rows.append(self._row(number, shown, widths, width))
        return (rows + [[] for _ in range(height)])[:height]

    def style_of(self, key: StyleKey) -> Style:
        """The style of a part."""
        return self.get_component_rich_style(f"list-table--{key}", partial=True)

    def _row(self, number: int, shown: list[int], widths: list[int], width: int) -> Row:
        item = self._items[number]
        line = fit(self._line(item.cells, shown, widths), width)
        if number == self._cursor:
            signs = "#>" if self.ascii_only else "◆›"  # seen without colours, too
            return [(signs[not item.marked] + line[1:], "cursor" if self.has_focus else "resting")]
        head = self._line(item.cells, shown[:1], widths[:1])
        rest = line[len(head) :]
        if item.marked:
            head = ("*" if self.ascii_only else "◆") + head[1:]
        return [(head, item.tone), (rest, "plain")]

    def _line(self, cells: Sequence[str], shown: list[int], widths: list[int]) -> str:
        parts = []
        for number, width in zip(shown, widths, strict=True):
            text = cells[number] if number < len(cells) else ""
            parts.append(fit_right(text, width) if self._columns[number].right else fit(text, width))
        return " " + _GAP.join(parts)

    def _widths(self, shown: list[int], width: int) -> list[int]:
        fixed = sum(self._columns[number].width for number in shown)
        left = max(8, width - 2 - fixed - len(_GAP) * (len(shown) - 1))
        return [self._columns[number].width or left for number in shown]
