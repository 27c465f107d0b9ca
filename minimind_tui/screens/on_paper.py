"""What the run of the form would take on other devices, calculated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from minimind.commands.on_paper import assumptions, table_text
from minimind.config import ModelConfig
from minimind.devices import Device, Work, forecast
from minimind_tui.screens.dialog import Dialog
from minimind_tui.widgets.phrase import Phrase


class OnPaperDialog(Dialog[None]):
    """A row for each of `places`: what training and writing with `config` would be like there. `name` is the model's."""

    DEFAULT_CSS = """
    OnPaperDialog > .box { width: 92; }
    OnPaperDialog VerticalScroll { height: auto; max-height: 100%; overflow-x: auto; }
    OnPaperDialog .table { width: auto; height: auto; text-wrap: nowrap; }
    OnPaperDialog .notes { height: auto; margin: 1 0 0 0; color: $text-muted; }
    """
    AUTO_FOCUS = "VerticalScroll"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("p,enter,q", "cancel", "common.key.back", show=False)]

    def __init__(self, name: str, config: ModelConfig, places: Sequence[Device], work: Work) -> None:
        super().__init__()
        self._model = name
        self._work = work
        self._found = [forecast(config, place, work) for place in places]

    def compose_box(self) -> ComposeResult:
        """A heading, the table, and what it is based on."""
        yield Phrase("new_run.on_paper", values={"model": self._model}, classes="dialog-title")
        with VerticalScroll():
            yield Static(markup=False, classes="table")
            yield Static(markup=False, classes="notes")

    def on_mount(self) -> None:
        """Write them."""
        self.relabel()

    def relabel(self) -> None:
        """Write them in the current language."""
        rows = [(self._model, found) for found in self._found]
        self.query_one(".table", Static).update(Content(table_text(rows, self.language)))
        self.query_one(".notes", Static).update(Content(self.say(assumptions(self._work, self._found))))
