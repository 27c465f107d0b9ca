"""Where one writes to a model: grows to a few lines, Enter sends, a pasted text keeps its line breaks."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

LONGEST_PASTE = 1_000_000


class PromptBox(TextArea):
    """A text area of one to five lines. Enter posts `Sent`; ctrl+j begins a new line."""

    DEFAULT_CSS = """
    PromptBox { height: auto; max-height: 5; min-height: 1; background: $panel; padding: 0 1; }
    PromptBox:focus { background: $panel; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "chat.key.send"),
        Binding("ctrl+j,shift+enter,alt+enter", "new_line", "chat.key.new_line", show=False),
        Binding("up", "up", "chat.key.up", show=False),
        Binding("pageup", "screen.scroll(-1)", "chat.key.page_up", show=False),
        Binding("pagedown", "screen.scroll(1)", "chat.key.page_down", show=False),
        Binding("f6", "app.show('settings')", "common.key.settings", show=False),
        Binding("f7", "app.show('doctor')", "common.key.doctor", show=False),
        Binding("ctrl+y", "screen.copy", "chat.key.copy", show=False),
        Binding("ctrl+z", "app.suspend_process", "common.key.suspend", show=False),
    ]

    class Sent(Message):
        """The person wants this said."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    class TooLong(Message):
        """A paste was refused."""

    class LeftUpwards(Message):
        """Up was pressed on the first line."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(soft_wrap=True, compact=True, highlight_cursor_line=False, id=id)
        self.cursor_blink = False

    def action_send(self) -> None:
        """Hand over what is written; it stays until it is taken."""
        if self.text.strip():
            self.post_message(self.Sent(self.text.strip("\n")))

    def action_new_line(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    def action_up(self) -> None:
        """Up a line, or out of the box."""
        if self.cursor_at_first_line:
            self.post_message(self.LeftUpwards())
        else:
            self.action_cursor_up()

    async def _on_key(self, event: events.Key) -> None:
        """Enter sends (it is no priority binding, which would overtake the letters typed before it)."""
        if event.key == "enter":
            event.prevent_default()
            event.stop()
            self.action_send()

    async def _on_paste(self, event: events.Paste) -> None:
        """Refuse what no model here could read."""
        if len(event.text) > LONGEST_PASTE:
            event.prevent_default()
            event.stop()
            self.post_message(self.TooLong())
