"""A small editor for a note in the lab notebook."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Button, TextArea

from lessons.notebook import LONGEST_NOTE
from minimind_tui.screens.dialog import Dialog
from minimind_tui.widgets.phrase import Phrase
from minimind_tui.widgets.spoken_button import SpokenButton


class NoteBox(TextArea):
    """A few lines of text; Tab goes on to the buttons."""

    DEFAULT_CSS = """
    NoteBox { height: 4; background: $panel; border: none; padding: 0 1; }
    NoteBox:focus { border: none; }
    """

    def __init__(self) -> None:
        super().__init__(soft_wrap=True, compact=True, highlight_cursor_line=False)
        self.cursor_blink = False

    async def _on_paste(self, event: events.Paste) -> None:
        """No longer than a note may be."""
        event.prevent_default()
        event.stop()
        self.insert(event.text[: max(0, LONGEST_NOTE - len(self.text))])


class NoteDialog(Dialog[str]):
    """Answers with what was written; nothing for an empty note."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+r,ctrl+s", "save", "notebook.key.save", key_display="^r")]

    def compose_box(self) -> ComposeResult:
        """A heading, the editor, two buttons."""
        yield Phrase("notebook.note", classes="dialog-title")
        yield NoteBox()
        with Horizontal(classes="buttons"):
            yield SpokenButton("notebook.save", id="save")
            yield SpokenButton("notebook.cancel", id="cancel")

    def on_mount(self) -> None:
        """Write at once."""
        self.query_one(NoteBox).focus()

    def action_save(self) -> None:
        """Answer."""
        self.dismiss(self.query_one(NoteBox).text.strip())

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer, or not."""
        if event.button.id == "save":
            self.action_save()
        else:
            self.action_cancel()
