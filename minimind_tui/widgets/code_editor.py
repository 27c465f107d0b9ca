"""An editor for a short Python file, coloured as code is elsewhere, without a parser of its own."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style as RichStyle
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.content import Content
from textual.highlight import highlight
from textual.message import Message
from textual.style import Style
from textual.widgets import TextArea

_FAINT = 0.8
"""Text less opaque than this is meant to stand back."""


class CodeEditor(TextArea):
    """The editor. Esc posts `Left`, so that the owner can take the focus and its keys work again."""

    DEFAULT_CSS = """
    CodeEditor { height: auto; min-height: 12; max-height: 30; border: none; background: $surface; padding: 0; }
    CodeEditor:focus { border: none; background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "lesson.key.leave_editor")]
    """For the row of keys: Textual's own handler takes the key first, see `on_key`."""

    class Left(Message):
        """The person is done typing for now."""

    def __init__(self) -> None:
        super().__init__(tab_behavior="indent", show_line_numbers=True, soft_wrap=False)
        self.cursor_blink = False
        self._coloured = ""
        self._lines: list[Content] = []

    def on_key(self, event: events.Key) -> None:
        """Textual's editor would go on to the next widget at Esc."""
        if event.key == "escape":
            event.stop()
            event.prevent_default()
            self.action_leave()

    def action_leave(self) -> None:
        """Stop typing."""
        self.post_message(self.Left())

    def get_line(self, line_index: int) -> Text:
        """The line, coloured by the theme."""
        line = super().get_line(line_index)
        if self.text != self._coloured:
            self._coloured = self.text
            self._lines = list(highlight(self.text, language="python").split("\n", allow_blank=True))
        if line_index < len(self._lines) and self._lines[line_index].plain == line.plain:
            for start, end, style in self._lines[line_index].spans:
                line.stylize(self._rich_style(style), start, end)
        return line

    def _rich_style(self, style: str | Style) -> RichStyle:
        """`style` for Rich, where a colour cannot depend on what it stands on: that becomes the theme's muted text."""
        variables = self.app.theme_variables
        parsed = style if isinstance(style, Style) else Style.parse(style, variables)
        if parsed.foreground is None or not parsed.foreground.auto:
            return parsed.rich_style
        plain = parsed.without_color.rich_style
        if parsed.foreground.a >= _FAINT:
            return plain
        return plain + RichStyle(color=Color.parse(variables["text-muted"]).rich_color)
