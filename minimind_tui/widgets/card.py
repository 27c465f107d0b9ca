"""A framed thing to press: a few lines whose look says whether it has the focus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.message import Message

from minimind_tui.widgets.painted import Painted, Row, StyleKey


class Card(Painted, can_focus=True):
    """Lines painted by `show_rows`; Enter or a click posts `Pressed`. Styles of pieces: title, text, quiet, bar, rest."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"card--{part}" for part in ("title", "text", "quiet", "bar", "rest")}
    DEFAULT_CSS = """
    Card { width: 1fr; height: 4; padding: 0 1; border: round $rule; background: $background; }
    Card:focus { border: round $primary; background: $surface; }
    Card.-prominent { border: round $accent; }
    Card.-prominent:focus { border: heavy $accent; }
    Card > .card--title { color: $foreground; text-style: bold; }
    Card:focus > .card--title { color: $primary; text-style: bold; }
    Card.-prominent > .card--title { color: $accent; text-style: bold; }
    Card > .card--text { color: $foreground; }
    Card > .card--quiet { color: $text-muted; }
    Card > .card--bar { color: $success; }
    Card > .card--rest { color: $rule; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "press", "home.key.open")]

    class Pressed(Message):
        """The card was chosen."""

        def __init__(self, card: Card) -> None:
            super().__init__()
            self.card = card

        @property
        def control(self) -> Card:
            """The card, for `on` selectors."""
            return self.card

    def __init__(self, *, id: str, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Row] = []

    def show_rows(self, rows: Sequence[Row]) -> None:
        """Show these lines."""
        self._lines = list(rows)
        self.schedule()

    def action_press(self) -> None:
        """Choose it."""
        self.post_message(self.Pressed(self))

    def on_click(self) -> None:
        """Choose it."""
        self.action_press()

    def paint(self, width: int, height: int) -> list[Row]:  # noqa: ARG002 (lines are cut to the width)
        """The lines there is room for."""
        return [list(row) for row in self._lines[:height]]

    def style_of(self, key: StyleKey) -> Style:
        """A part's component style."""
        return self.get_component_rich_style(f"card--{key}", partial=True)
