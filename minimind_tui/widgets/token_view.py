"""A text as its tokens: which are trained, only read, cut off or markup; told by colour and by kind of print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content, Span
from textual.message import Message
from textual.widgets import Static

from minimind_tui.lens_client import Side, Token
from minimind_tui.rows import width_of
from minimind_tui.speech import Speaker

STYLES = {"t": "bold underline $success", "r": "$text-muted", "c": "strike dim $error"}
SPECIAL = " italic"
_STRIPES = ("", " on $surface")
"""Neighbours have different backgrounds: one sees where a token ends."""
_LINE_END = "⏎"


class TokenView(Speaker, VerticalScroll, can_focus=True):
    """The tokens of one document, or of a pair's two; a cursor goes from token to token."""

    DEFAULT_CSS = """
    TokenView { height: 1fr; padding: 0 1; }
    TokenView Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "lens.key.left", show=False),
        Binding("right", "move(1)", "lens.key.right", show=False),
        Binding("shift+left", "move(-10)", "lens.key.far_left", show=False),
        Binding("shift+right", "move(10)", "lens.key.far_right", show=False),
    ]

    class Moved(Message):
        """The cursor stands on token number `place` (from 0) of `side`; its `token`."""

        def __init__(self, side: Side, place: int, token: Token) -> None:
            super().__init__()
            self.side, self.place, self.token = side, place, token

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._sides: tuple[Side, ...] = ()
        self._cursor = 0
        self._text = Static("", markup=False)

    def compose(self) -> ComposeResult:
        """One text."""
        yield self._text

    def set_sides(self, sides: Sequence[Side]) -> None:
        """Show these, from the first token on."""
        self._sides, self._cursor = tuple(sides), 0
        self.scroll_home(animate=False)
        self._show()

    def relabel(self) -> None:
        """Speak again."""
        self._show()

    def action_move(self, tokens: int) -> None:
        """Move the cursor by so many tokens."""
        count = sum(len(side.tokens) for side in self._sides)
        self._cursor = max(0, min(self._cursor + tokens, count - 1))
        self._show()

    def _show(self) -> None:
        text, spans, line = "", [], 0
        number, cursor_line = 0, 0
        for side in self._sides:
            if side.name:
                heading = self.t(f"lens.side.{side.name}") if side.name in ("chosen", "rejected") else side.name
                gap = "\n\n" if text else ""
                spans.append(Span(len(text) + len(gap), len(text) + len(gap) + len(heading), "bold $primary"))
                text += f"{gap}{heading}\n"
            for place, token in enumerate(side.tokens):
                style = STYLES[token.state] + (SPECIAL if token.is_special else "") + _STRIPES[place % 2]
                if number == self._cursor:
                    style, cursor_line = "reverse bold", len(text)
                    self.post_message(self.Moved(side, place, token))
                spans.append(Span(len(text), len(text) + len(token.text), style))
                text += token.text + ("\n" if token.text.endswith(_LINE_END) else "")
                number += 1
        self._text.update(Content(text, spans))
        line = self._line_of(text, cursor_line)
        if not self.scroll_offset.y <= line < self.scroll_offset.y + self.size.height - 1:
            self.scroll_to(y=max(0, line - self.size.height // 2), animate=False)

    def _line_of(self, text: str, place: int) -> int:
        """About the row in which the character number `place` is shown."""
        width = max(1, self.size.width - 3)
        return sum(max(1, -(-width_of(line) // width)) for line in text[:place].split("\n")) - 1
