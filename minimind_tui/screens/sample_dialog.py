"""How text is drawn from the model: temperature and the rest."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Button, Input

from minimind.config import SampleConfig
from minimind_tui.screens.dialog import Dialog
from minimind_tui.widgets.config_form import ConfigForm
from minimind_tui.widgets.phrase import Phrase
from minimind_tui.widgets.spoken_button import SpokenButton


class SampleDialog(Dialog[SampleConfig | None]):
    """The form of a SampleConfig. Enter takes it, Esc leaves things as they were."""

    DEFAULT_CSS = """
    SampleDialog > .box { width: 90; }
    SampleDialog ConfigForm { height: auto; max-height: 14; }
    SampleDialog SettingRow Input { width: 10; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "take", "chat.key.take", key_display="⏎")]

    def __init__(self, config: SampleConfig) -> None:
        super().__init__()
        self._config = config

    def compose_box(self) -> ComposeResult:
        """The form and two buttons."""
        yield Phrase("chat.sample_title", classes="dialog-title")
        yield ConfigForm(self._config)
        with Horizontal(classes="buttons"):
            yield SpokenButton("chat.key.take", id="take")
            yield SpokenButton("chat.key.defaults", id="defaults")

    def on_mount(self) -> None:
        """The first field first."""
        self.query_one(ConfigForm).row("temperature").editor.focus()

    @on(Input.Submitted)
    def action_take(self) -> None:
        """Use what is typed, if it is right."""
        form = self.query_one(ConfigForm)
        config = form.read()
        if isinstance(config, SampleConfig):
            self.dismiss(config)
        else:
            form.focus_problem()

    def action_defaults(self) -> None:
        """Back to the values it comes with."""
        self.query_one(ConfigForm).put(SampleConfig())

    @on(Button.Pressed)
    async def _pressed(self, event: Button.Pressed) -> None:
        await self.run_action(str(event.button.id))
