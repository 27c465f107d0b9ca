"""Small questions above a screen. The screen below keeps its state; Esc always means no."""

from __future__ import annotations

from typing import Any, ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button

from minimind_tui.speech import Speaker
from minimind_tui.widgets.key_bar import KeyBar
from minimind_tui.widgets.phrase import Phrase
from minimind_tui.widgets.spoken_button import SpokenButton

Answer = TypeVar("Answer")


class Dialog(Speaker, ModalScreen[Answer]):
    """A framed box in the middle of the screen and a row of keys; subclasses yield from `compose_box`."""

    DEFAULT_CSS = """
    Dialog { align: center middle; background: $background 60%; }
    Dialog > .box {
        width: 72; max-width: 100%; height: auto; max-height: 90%;
        padding: 1 2; background: $surface; border: round $primary;
    }
    Dialog .dialog-title { text-style: bold; margin: 0 0 1 0; height: auto; }
    Dialog .buttons { height: 1; margin: 1 0 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "common.key.back"),
        Binding("f1", "app.help", "common.key.help", show=False),
        Binding("f8", "app.next_language", "common.key.language", show=False),
    ]

    def compose(self) -> ComposeResult:
        """The box and the keys."""
        with Vertical(classes="box"):
            yield from self.compose_box()
        yield KeyBar()

    def compose_box(self) -> ComposeResult:
        """What stands in the box."""
        yield from ()

    def action_cancel(self) -> None:
        """Leave without an answer."""
        self.dismiss(None)


class ConfirmDialog(Dialog[bool]):
    """A yes/no question; the safe answer has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "yes", "dialog.yes"),
        Binding("n", "cancel", "dialog.no"),
        Binding("left,right,up,down", "other", show=False),
    ]

    def __init__(self, question: str, *, yes: str = "dialog.yes", **values: Any) -> None:
        super().__init__()
        self._question, self._yes, self._values = question, yes, values

    def compose_box(self) -> ComposeResult:
        """The question and two buttons."""
        yield Phrase(self._question, values=self._values, classes="dialog-title")
        with Horizontal(classes="buttons"):
            yield SpokenButton("dialog.no", id="no")
            yield SpokenButton(self._yes, id="yes", danger=True)

    def on_mount(self) -> None:
        """The safe answer first."""
        self.query_one("#no").focus()

    def action_other(self) -> None:
        """Go to the other button."""
        self.focus_next()

    def action_yes(self) -> None:
        """Answer yes."""
        self.dismiss(True)

    def action_cancel(self) -> None:
        """Answer no."""
        self.dismiss(False)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Answer by button."""
        self.dismiss(event.button.id == "yes")
