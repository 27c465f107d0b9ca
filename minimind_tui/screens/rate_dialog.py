"""Another learning rate for a run that is under way."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Button, Input

from minimind.config import TrainConfig
from minimind.declaration import parse_value
from minimind.errors import UserError
from minimind_tui.screens.dialog import Dialog
from minimind_tui.widgets.line import Line
from minimind_tui.widgets.phrase import Phrase
from minimind_tui.widgets.spoken_button import SpokenButton

_DECLARED = next(declared for declared in TrainConfig.declared() if declared.name == "learning_rate")


class RateDialog(Dialog[float | None]):
    """Asks for the peak of the schedule; answers None where it is to stay as it is."""

    DEFAULT_CSS = """
    RateDialog Input { background: $panel; }
    RateDialog .problem { color: $error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "multiply(2.0)", "run.key.rate_up", key_display="↑", priority=True),
        Binding("down", "multiply(0.5)", "run.key.rate_down", key_display="↓", priority=True),
    ]

    def __init__(self, rate: float) -> None:
        super().__init__()
        self._rate = rate

    def compose_box(self) -> ComposeResult:
        """What it means, the number, two buttons."""
        yield Phrase("run.rate_title", values={"rate": f"{self._rate:g}"}, classes="dialog-title")
        yield Phrase("run.rate_about")
        box = Input(f"{self._rate:g}", compact=True)
        box.cursor_blink = False
        yield box
        yield Line(classes="problem")
        with Horizontal(classes="buttons"):
            yield SpokenButton("run.rate_set", id="set")
            yield SpokenButton("run.rate_keep", id="keep")

    def on_mount(self) -> None:
        """Type at once."""
        self.query_one(Input).focus()

    def action_multiply(self, factor: float) -> None:
        """Twice or half of what stands there."""
        rate = self._typed()
        if rate is not None:
            self.query_one(Input).value = f"{rate * factor:g}"

    def _typed(self) -> float | None:
        try:
            rate: float = parse_value(_DECLARED, self.query_one(Input).value)
        except UserError as error:
            self.query_one(".problem", Line).show(self.say(error.text))
            return None
        self.query_one(".problem", Line).show("")
        return rate

    @on(Input.Changed)
    def _changed(self) -> None:
        self._typed()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        rate = self._typed()
        if rate is not None:
            self.dismiss(rate)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "set":
            self._submitted()
        else:
            self.action_cancel()
