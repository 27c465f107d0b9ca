"""How the model is run and how text is drawn from it: weights, temperature and the rest."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widgets import Button, Input

from minimind.config import EngineConfig, SampleConfig
from minimind_tui.screens.dialog import Dialog
from minimind_tui.widgets.config_form import ConfigForm
from minimind_tui.widgets.phrase import Phrase
from minimind_tui.widgets.spoken_button import SpokenButton


class SampleDialog(Dialog[tuple[SampleConfig, EngineConfig] | None]):
    """The forms of a SampleConfig and an EngineConfig. Enter takes them, Esc leaves things as they were."""

    DEFAULT_CSS = """
    SampleDialog > .box { width: 90; }
    SampleDialog ConfigForm { height: auto; max-height: 14; }
    SampleDialog SettingRow Input { width: 10; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "take", "chat.key.take", key_display="⏎")]

    def __init__(self, config: SampleConfig, running: EngineConfig) -> None:
        super().__init__()
        self._config = config
        self._engine = running

    def compose_box(self) -> ComposeResult:
        """The forms and two buttons."""
        yield Phrase("chat.sample_title", classes="dialog-title")
        yield ConfigForm(self._config, id="sample")
        yield ConfigForm(self._engine, id="engine")
        with Horizontal(classes="buttons"):
            yield SpokenButton("chat.key.take", id="take")
            yield SpokenButton("chat.key.defaults", id="defaults")

    def on_mount(self) -> None:
        """The first field first."""
        self._sample_form.row("temperature").editor.focus()

    @property
    def _sample_form(self) -> ConfigForm:
        return self.query_one("#sample", ConfigForm)

    @property
    def _engine_form(self) -> ConfigForm:
        return self.query_one("#engine", ConfigForm)

    @on(Input.Submitted)
    def action_take(self) -> None:
        """Use what is typed, if it is right."""
        config, running = self._sample_form.read(), self._engine_form.read()
        if isinstance(config, SampleConfig) and isinstance(running, EngineConfig):
            self.dismiss((config, running))
        else:
            self._sample_form.focus_problem()

    def action_defaults(self) -> None:
        """Back to the values it comes with."""
        self._sample_form.put(SampleConfig())
        self._engine_form.put(EngineConfig())

    @on(Button.Pressed)
    async def _pressed(self, event: Button.Pressed) -> None:
        await self.run_action(str(event.button.id))
