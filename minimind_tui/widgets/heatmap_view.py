"""A matrix as colours, or as shades where there are none, with labels of any script and a read-out."""

from __future__ import annotations

import math
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size

from minimind.events import Heatmap
from minimind.plot import figure
from minimind.safe_text import clean_line
from minimind_tui.palette import LEVELS, Depth, cell_style, color_depth
from minimind_tui.rows import cut, fit, width_of
from minimind_tui.widgets.painted import Painted, Row, StyleKey

_SHADES = " ░▒▓█"
_ASCII_SHADES = " .:-=+*#%@"
_LONGEST_ROW_LABEL = 10
_LONGEST_COLUMN_LABEL = 5
_WIDEST_CELL = 9
_UNKNOWN = -1
"""The level of a cell without a value."""


class HeatmapView(Painted, can_focus=True):
    """The latest heatmap given to `set_heatmap`; arrow keys move a cursor that names a cell and its value.

    A column is as wide as its label where all of them fit, else two cells, as wide as one Chinese character, with the
    labels written downwards. Where that does not fit, two rows share a line as half blocks; where that does not fit
    either, the view follows the cursor.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"heatmap-view--{part}" for part in ("title", "label", "text", "unknown", "cursor")
    }
    DEFAULT_CSS = """
    HeatmapView { width: 1fr; height: auto; min-height: 4; background: $background; color: $foreground; }
    HeatmapView > .heatmap-view--title { text-style: bold; }
    HeatmapView:focus > .heatmap-view--title { color: $primary; text-style: bold underline; }
    HeatmapView > .heatmap-view--label { color: $text-muted; }
    HeatmapView > .heatmap-view--text { color: $foreground; }
    HeatmapView > .heatmap-view--unknown { color: $text-muted; }
    HeatmapView > .heatmap-view--cursor { color: $accent; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1,0)", "heatmap.key.up", show=False),
        Binding("down", "move(1,0)", "heatmap.key.down", show=False),
        Binding("left", "move(0,-1)", "heatmap.key.left", show=False),
        Binding("right", "move(0,1)", "heatmap.key.right", show=False),
        Binding("escape", "drop_cursor", "heatmap.key.drop_cursor", show=False),
    ]

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._heatmap: Heatmap | None = None
        self._levels: list[list[int]] = []
        self._range = (0.0, 1.0)
        self._cursor: tuple[int, int] | None = None
        self._first = (0, 0)
        self._is_compact = False
        self._cell_width = 2
        self._depth: Depth = "truecolor"

    def set_heatmap(self, heatmap: Heatmap) -> None:
        """Show this matrix. Rows may differ in length; what a row lacks counts as without a value."""
        before = self._shape()
        self._heatmap = heatmap
        self._range = _scale(heatmap)
        width = max((len(row) for row in heatmap.rows), default=0)
        self._levels = [
            [_level(value, *self._range) for value in row] + [_UNKNOWN] * (width - len(row)) for row in heatmap.rows
        ]
        if self._shape() != before:
            self._cursor, self._first = None, (0, 0)
            self.refresh(layout=True)
        self.schedule()

    def _shape(self) -> tuple[int, int, int, int]:
        labels = (len(self._heatmap.row_labels), len(self._heatmap.column_labels)) if self._heatmap else (0, 0)
        return len(self._levels), len(self._levels[0]) if self._levels else 0, *labels

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 (Textual's signature)
        """Title, labels, every row, and the read-out."""
        cell = self._natural_width(width)
        is_compact = self._gutter() + cell * self._shape()[1] > width
        rows = len(self._levels)
        body = math.ceil(rows / 2) if is_compact and color_depth(self.app) in {"truecolor", "256"} else rows
        return 2 + (0 if is_compact else len(self._column_header(cell))) + body

    def _natural_width(self, width: int) -> int:
        """The cells of a column where the view is `width` wide and not compact."""
        labels = [_label(label) for label in (self._heatmap.column_labels if self._heatmap else ())]
        longest = max(map(width_of, labels), default=0)
        whole = longest + 1
        fits = longest > 2 and whole <= _WIDEST_CELL and self._gutter() + whole * self._shape()[1] <= width
        return whole if fits else 2

    # --- keys -------------------------------------------------------------------------------------------------------

    def action_move(self, down: int, right: int) -> None:
        """Move the cursor; it starts in the first cell."""
        rows, columns, *_ = self._shape()
        if rows and columns:
            y, x = self._cursor or (-down, -right)
            self._cursor = (min(rows - 1, max(0, y + down)), min(columns - 1, max(0, x + right)))
            self.schedule()

    def action_drop_cursor(self) -> None:
        """Put the cursor away."""
        self._cursor = None
        self.schedule()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's signature)
        """Escape is ours only while there is a cursor to put away."""
        return self._cursor is not None if action == "drop_cursor" else True

    def on_click(self, event: events.Click) -> None:
        """Put the cursor on the cell under the mouse."""
        top = 1 if self._is_compact else 1 + len(self._column_header(self._cell_width))
        cell_width, cell_height = self._cell_width, 2 if self._is_compact and self._has_halves() else 1
        y = self._first[0] + (event.y - top) * cell_height
        x = self._first[1] + (event.x - self._gutter()) // cell_width
        rows, columns, *_ = self._shape()
        if 0 <= y < rows and 0 <= x < columns:
            self._cursor = (y, x)
            self.schedule()

    # --- painting -----------------------------------------------------------------------------------------------------

    def paint(self, width: int, height: int) -> list[Row]:
        """Title, column labels, the matrix, and the scale or the read-out."""
        heatmap = self._heatmap
        if heatmap is None or not self._levels:
            return [[(self.t("heatmap.empty"), "label")]]
        self._depth = color_depth(self.app)
        rows, columns, *_ = self._shape()
        gutter = self._gutter()
        natural = self._natural_width(width)
        header = self._column_header(natural)
        self._is_compact = gutter + natural * columns > width or len(header) + rows + 2 > height
        header = [] if self._is_compact else header
        step = 2 if self._is_compact and self._has_halves() else 1
        self._cell_width = cell_width = 1 if self._is_compact else natural
        visible_rows = max(1, height - 2 - len(header)) * step
        visible_columns = max(1, (width - gutter) // cell_width)
        self._follow(rows, columns, visible_rows, visible_columns)
        top, left = self._first
        shown = range(left, min(columns, left + visible_columns))
        painted: list[Row] = [[(self._title(width), "title")]]
        painted += [[(" " * gutter, "label"), (self._header_line(line, shown), "label")] for line in header]
        for y in range(top, min(rows, top + visible_rows), step):
            painted.append([(self._row_label(y, gutter), "label"), *self._cells(y, shown, step)])
        painted.append(self._read_out() if self._cursor is not None else self._scale())
        return painted

    def _has_halves(self) -> bool:
        return self._depth in {"truecolor", "256"} and not self.ascii_only

    def _follow(self, rows: int, columns: int, visible_rows: int, visible_columns: int) -> None:
        """Scroll so that the cursor is in view."""
        y, x = self._cursor or self._first
        top, left = self._first
        top = min(max(top, y - visible_rows + 1), y, max(0, rows - visible_rows))
        left = min(max(left, x - visible_columns + 1), x, max(0, columns - visible_columns))
        self._first = (max(0, top - top % 2), max(0, left))

    def _title(self, width: int) -> str:
        assert self._heatmap is not None
        title = self._heatmap.title
        return cut(clean_line(self.say(title) if title else self._heatmap.name), width)

    def _gutter(self) -> int:
        labels = self._heatmap.row_labels if self._heatmap else ()
        return min(_LONGEST_ROW_LABEL, max((width_of(_label(label)) for label in labels), default=0)) + bool(labels)

    def _row_label(self, y: int, gutter: int) -> str:
        assert self._heatmap is not None
        labels = self._heatmap.row_labels
        return fit(_label(labels[y]), gutter - 1) + " " if y < len(labels) and gutter else " " * gutter

    def _column_header(self, cell: int) -> list[list[str]]:
        """The column labels as lines, of `cell` cells a column: whole, or written downwards where there are only two."""
        labels = [_label(label) for label in (self._heatmap.column_labels if self._heatmap else ())]
        if cell > 2:
            return [[fit(label, cell) for label in labels]]
        depth = min(_LONGEST_COLUMN_LABEL, max((len(label) for label in labels), default=0))
        return [[fit(label[line : line + 1], 2) for label in labels] for line in range(depth)]

    @staticmethod
    def _header_line(line: list[str], shown: range) -> str:
        blank = " " * len(line[0]) if line else "  "
        return "".join(line[x] if x < len(line) else blank for x in shown)

    def _cells(self, y: int, shown: range, step: int) -> Row:
        """One line of the matrix: pieces of equal style."""
        pieces: Row = []
        below_levels = self._levels[y + 1] if step == 2 and y + 1 < len(self._levels) else None
        for x in shown:
            text, key = self._cell(y, x, below_levels[x] if below_levels is not None else None, step)
            if pieces and pieces[-1][1] == key:
                pieces[-1] = (pieces[-1][0] + text, key)
            else:
                pieces.append((text, key))
        return pieces

    def _cell(self, y: int, x: int, below: int | None, step: int) -> tuple[str, StyleKey]:
        level = self._levels[y][x]
        here = self._cursor is not None and self._cursor[1] == x and y <= self._cursor[0] < y + step
        width = self._cell_width
        cursor = "[" if width == 1 else f"[{' ' * (width - 2)}]"
        if step == 2 and not here:
            return self._half_cell(level, below)
        if self.ascii_only or self._depth in {"16", "none"}:
            shades = _ASCII_SHADES if self.ascii_only else _SHADES
            unknown = "~" if self.ascii_only else "·"
            text = unknown if level == _UNKNOWN else shades[round(level / (LEVELS - 1) * (len(shades) - 1))]
            text *= width
            return (cursor, "cursor") if here else (text, "unknown" if level == _UNKNOWN else "text")
        if level == _UNKNOWN:
            return (cursor, "cursor") if here else ("·" * width, "unknown")
        return cursor if here else " " * width, (level, _UNKNOWN)

    def _half_cell(self, level: int, below: int | None) -> tuple[str, StyleKey]:
        """Two matrix rows in one character cell."""
        if level == _UNKNOWN:
            return "·", "unknown"
        return ("▀", (level, below)) if below is not None and below >= 0 else (" ", (level, _UNKNOWN))

    def _scale(self) -> Row:
        """The ramp with its ends."""
        low, high = self._range
        if self.ascii_only or self._depth in {"16", "none"}:
            ramp: Row = [(_ASCII_SHADES if self.ascii_only else "".join(shade * 2 for shade in _SHADES), "text")]
        else:
            ramp = [(" ", (level, _UNKNOWN)) for level in range(0, LEVELS, 2)]
        return [(f"{figure(low)} ", "label"), *ramp, (f" {figure(high)}", "label")]

    def _read_out(self) -> Row:
        """The labels of the cursor's cell and its value."""
        assert self._heatmap is not None
        assert self._cursor is not None
        y, x = self._cursor
        heatmap = self._heatmap
        row = _label(heatmap.row_labels[y]) if y < len(heatmap.row_labels) else str(y)
        column = _label(heatmap.column_labels[x]) if x < len(heatmap.column_labels) else str(x)
        value = heatmap.rows[y][x] if x < len(heatmap.rows[y]) else math.nan
        arrow = "->" if self.ascii_only else "→"
        words = self.t("heatmap.unknown") if math.isnan(value) else figure(value)
        return [(f"{row} {arrow} {column}: ", "text"), (words, "cursor")]

    def style_of(self, key: StyleKey) -> Style:
        """A part's component style, or the colour of a level."""
        if isinstance(key, tuple):
            return cell_style(self.app.current_theme.dark, self._depth, *key)
        return self.get_component_rich_style(f"heatmap-view--{key}", partial=True)


def _label(label: str) -> str:
    """A token as a label: harmless, on one line, its spaces visible."""
    return clean_line(label).replace(" ", "·")


def _scale(heatmap: Heatmap) -> tuple[float, float]:
    """The values at the two ends of the ramp."""
    finite = [value for row in heatmap.rows for value in row if math.isfinite(value)]
    low = min(finite, default=0.0) if heatmap.low is None else heatmap.low
    high = max(finite, default=1.0) if heatmap.high is None else heatmap.high
    return low, high


def _level(value: float, low: float, high: float) -> int:
    """The step of the ramp for `value`; infinities are its ends, NaN is no value."""
    if math.isnan(value):
        return _UNKNOWN
    if not high > low:
        return LEVELS // 2
    return round(min(1.0, max(0.0, (value - low) / (high - low))) * (LEVELS - 1))
