"""What a person says of a run: its name, tags and a note."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Button, Input

from minimind_tui.screens.dialog import Dialog
from minimind_tui.screens.note import NoteBox
from minimind_tui.widgets.phrase import Phrase
from minimind_tui.widgets.spoken_button import SpokenButton


@dataclass(frozen=True, slots=True)
class Words:
    """A name, tags, and a note."""

    name: str
    tags: tuple[str, ...]
    note: str


class AboutDialog(Dialog[Words | None]):
    """Answers with the words, or None where they are to stay."""

    DEFAULT_CSS = """
    AboutDialog Input { background: $panel; margin: 0 0 1 0; }
    AboutDialog > .box { padding: 0 2; }
    AboutDialog NoteBox { height: 4; }
    AboutDialog .label { color: $text-muted; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r,ctrl+s", "save", "notebook.key.save", key_display="^r"),
    ]

    def __init__(self, run: str, words: Words) -> None:
        super().__init__()
        self._run, self._words = run, words

    def compose_box(self) -> ComposeResult:
        """Three fields and two buttons."""
        yield Phrase("runs.about.title", values={"run": self._run}, classes="dialog-title")
        yield Phrase("runs.about.name", classes="label")
        yield Input(self._words.name, id="name", compact=True, select_on_focus=False)
        yield Phrase("runs.about.tags", classes="label")
        yield Input(" ".join(self._words.tags), id="tags", compact=True, select_on_focus=False)
        yield Phrase("runs.about.note", classes="label")
        yield NoteBox()
        with Horizontal(classes="buttons"):
            yield SpokenButton("notebook.save", id="save")
            yield SpokenButton("notebook.cancel", id="cancel")

    def on_mount(self) -> None:
        """The name first."""
        for box in self.query(Input):
            box.cursor_blink = False
        self.query_one(NoteBox).text = self._words.note
        self.query_one("#name").focus()

    def action_save(self) -> None:
        """Answer."""
        name, tags = (self.query_one(f"#{field}", Input).value for field in ("name", "tags"))
        self.dismiss(Words(name.strip(), tuple(tags.split()), self.query_one(NoteBox).text.strip()))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_save()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "save":
            self.action_save()
        else:
            self.action_cancel()
