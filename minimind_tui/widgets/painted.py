"""What charts and heatmaps share: rows painted by the widget itself, of which only the changed ones are sent.

Textual re-sends whatever region is refreshed, and for several regions in one row it starts from the widget's left
edge each time: so one region a changed row, from the left edge to the last cell that differs.
"""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from minimind_tui.rows import width_of
from minimind_tui.speech import Speaker

StyleKey = str | int | tuple[int, ...]
Row = list[tuple[str, StyleKey]]
"""A painted row: pieces of text, each with the key of its style."""


class Painted(Speaker, Widget):
    """A widget that paints whole rows: subclasses give `paint` and `style_of`, and call `schedule` after a change."""

    _rows: list[Row]
    _strips: list[Strip]
    _is_pending = False

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._rows, self._strips = [], []

    def paint(self, width: int, height: int) -> list[Row]:  # noqa: ARG002 (for subclasses)
        """The rows for a size of at least one cell."""
        return []

    def style_of(self, key: StyleKey) -> Style:  # noqa: ARG002 (for subclasses)
        """The style that `key` stands for."""
        return Style.null()

    def schedule(self) -> None:
        """Paint soon, once however many ask."""
        if self.is_attached and not self._is_pending:
            self._is_pending = True
            self.call_later(self.repaint)

    def relabel(self) -> None:
        """Speak again."""
        self.schedule()

    def on_resize(self) -> None:
        """Paint for the new size at once."""
        self.repaint(everything=True)

    def notify_style_update(self) -> None:
        """Take the new colours."""
        super().notify_style_update()
        if self.is_attached and self._rows:
            self.repaint(everything=True)

    def repaint(self, everything: bool = False) -> None:
        """Paint now and send the rows that changed (all of them, if `everything`)."""
        self._is_pending = False
        width, height = self.size
        if width < 1 or height < 1:
            return
        old, self._rows = self._rows, self.paint(width, height)
        if everything or len(old) != len(self._rows) or len(self._strips) != len(old):
            self._strips = [self._strip(row, width) for row in self._rows]
            self.refresh()
            return
        regions = []
        for y, (before, after) in enumerate(zip(old, self._rows, strict=True)):
            if before != after:
                self._strips[y] = self._strip(after, width)
                regions.append(Region(0, y, last_change(before, after, width), 1))
        if regions:
            self.refresh(*regions)

    def render_line(self, y: int) -> Strip:
        """The row `y`."""
        return self._strips[y] if y < len(self._strips) else Strip.blank(self.size.width, self.rich_style)

    def _strip(self, row: Row, width: int) -> Strip:
        base = self.rich_style
        segments = [Segment(text, base + self.style_of(key)) for text, key in row if text]
        return Strip(segments).adjust_cell_length(width, base)


def last_change(before: Row, after: Row, width: int) -> int:
    """How many cells from the left have to be sent again to turn the row `before` into `after`."""
    old = [(character, key) for text, key in before for character in text]
    new = [(character, key) for text, key in after for character in text]
    total = sum(width_of(text) for text, _ in after)
    if total != sum(width_of(text) for text, _ in before):
        return width
    same = 0
    while same < min(len(old), len(new)) and old[-1 - same] == new[-1 - same]:
        same += 1
    tail = sum(width_of(character) for character, _ in new[len(new) - same :])
    return max(1, min(width, total - tail))
