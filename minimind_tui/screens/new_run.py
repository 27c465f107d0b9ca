"""A new run: what it will take on this machine, its settings, and one key to start it."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.css.query import NoMatches
from textual.widgets import Button, Input

from minimind import paths
from minimind.config import MODEL_PRESETS, TrainConfig
from minimind.devices import Work, computing_in, devices
from minimind.errors import UserError
from minimind.events import Text
from minimind.figures import quantity, rough_duration, size
from minimind.safe_text import clean_line
from minimind.training.recommend import DEFAULT_MODEL, architecture_of, recommended_config
from minimind_tui import estimate_client, learning_rate_client, strings, supervisor
from minimind_tui.data_list import fitting_data
from minimind_tui.estimate_client import Estimated
from minimind_tui.model_list import list_models, starting_model
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.screens.data_picker import DataPicker
from minimind_tui.screens.model_picker import ModelPicker
from minimind_tui.screens.on_paper import OnPaperDialog
from minimind_tui.widgets.config_form import ConfigForm
from minimind_tui.widgets.line import Line
from minimind_tui.widgets.spoken_button import SpokenButton

MAIN_SETTINGS = (
    "objective",
    "model",
    "data",
    "data_megabytes",
    "steps",
    "minutes",
    "epochs",
    "batch_size",
    "learning_rate",
    "device",
    "tune",
    "recipe",
)
PATIENCE = 1.0
"""Seconds without a change after which the settings are measured."""


class NewRunScreen(MiniMindScreen):
    """The form of a run, filled in with `values` (fields of TrainConfig) over what is recommended.

    Raises UserError where `values` are refused.
    """

    TITLE_KEY = "new_run.title"
    DEFAULT_CSS = """
    NewRunScreen #what { height: auto; padding: 0 1; margin: 0 0 1 0; text-style: bold; }
    NewRunScreen #estimate { height: auto; min-height: 4; padding: 0 1; border-left: outer $primary; background: $surface; }
    NewRunScreen #buttons { height: 1; margin: 1 1; }
    NewRunScreen ConfigForm { border-top: solid $rule; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "new_run.key.start", key_display="⏎"),
        Binding("m,ctrl+t", "more", "new_run.key.more"),
        Binding("o,ctrl+o", "model", "new_run.key.model"),
        Binding("d,ctrl+n", "data", "new_run.key.data"),
        Binding("u", "queue", "new_run.key.queue", show=False),
        Binding("v,ctrl+y", "lens", "new_run.key.lens"),
        Binding("e,ctrl+r", "measure", "new_run.key.measure"),
        Binding("p,ctrl+g", "on_paper", "new_run.key.on_paper"),
        Binding("r", "find_rate", "new_run.key.find_rate", show=False),
    ]

    def __init__(self, values: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        given = dict(values or {})
        objective, model = str(given.pop("objective", "pretrain")), str(given.get("model", DEFAULT_MODEL))
        # A checkpoint is looked at on a thread: until then the form shows what was given, alone.
        self._given = None if model in MODEL_PRESETS else given
        self._config = (
            recommended_config(objective, given)
            if self._given is None
            else TrainConfig.from_dict(given | {"objective": objective})
        )
        self._advised = self._config
        self._found: Estimated | None = None
        self._problem: Text | None = None
        self._wrong = False
        self._measuring_since: float | None = None
        self._starting = False
        self._free_disk = self._free_memory = float("inf")

    def compose_body(self) -> ComposeResult:
        """What it is, what it takes, what can be done, and the settings."""
        yield Line(id="what")
        yield Line(id="estimate")
        with Horizontal(id="buttons"):
            yield SpokenButton("new_run.button.start", id="start")
            yield SpokenButton("new_run.button.more", id="more")
            yield SpokenButton("new_run.button.model", id="model")
            yield SpokenButton("new_run.button.data", id="data")
            yield SpokenButton("new_run.button.queue", id="queue")
        yield ConfigForm(
            self._config,
            main=MAIN_SETTINGS,
            suggestions={"model": tuple(MODEL_PRESETS)},
            exclusive=("steps", "minutes", "epochs"),
        )

    def on_mount(self) -> None:
        """Measure at once; Enter starts."""
        self.query_one("#start").focus()
        self.set_interval(1.0, self._tick)
        self.relabel()
        if self._given is None:
            self._measure(0.0)
        else:
            self._advise(self._given, 0.0)

    @property
    def _form(self) -> ConfigForm:
        return self.query_one(ConfigForm)

    # --- words ------------------------------------------------------------------------------------------------------

    def relabel(self) -> None:
        """Speak again."""
        self.query_one("#what", Line).show(self._what())
        self.query_one("#estimate", Line).show("\n".join(self._estimate_lines()))

    def _what(self) -> str:
        config = self._config
        model = supervisor.model_title(config.model)
        embedded = config.data == ("embedded",)
        data = self.t("new_run.embedded") if embedded else clean_line(", ".join(Path(d).name for d in config.data), 120)
        if config.objective == "pretrain" and embedded:
            return self.t("new_run.first", model=model, size=size(config.data_megabytes * 1e6))
        key = f"new_run.method.{config.objective}"
        key = key if strings.phrase(key) else "new_run.method.other"
        lines = [self.t(key, model=model, data=data, method=config.objective)]
        if config.objective != "pretrain" and config.model in MODEL_PRESETS:
            lines.append(self.t("new_run.untrained", model=model))
        return "\n".join(lines)

    def _estimate_lines(self) -> list[str]:
        if self._starting:
            return [self.t("new_run.starting")]
        if self._wrong:
            return [self.t("new_run.wrong")]
        if self._measuring_since is not None:
            seconds = int(time.monotonic() - self._measuring_since)
            return [self.t("new_run.measuring", seconds=seconds)]
        if self._problem is not None:
            return [self.say(self._problem)]
        found = self._found
        if found is None:
            return [self.t("new_run.waiting")]
        low, high = (rough_duration(seconds, self.language) for seconds in (found.seconds_low, found.seconds_high))
        lines = [
            self.t("new_run.time", low=low, high=high, steps=f"{found.steps:,.0f}"),
            self.t(
                "new_run.model",
                parameters=quantity(found.parameters),
                tokens=quantity(found.tokens),
                speed=quantity(found.tokens_per_second),
            ),
            self.t("new_run.room", memory=size(found.peak_memory_bytes), disk=size(found.disk_bytes)),
            self.t("new_run.measured", device=found.device, dtype=found.dtype),
        ]
        if found.cost is not None:
            lines[0] += self.t("new_run.cost", cost=f"{found.cost:.2f}", currency=found.currency)
        if found.disk_bytes > self._free_disk:
            lines.append(self.t("new_run.little_disk", free=size(self._free_disk)))
        elif found.device == "cpu" and found.peak_memory_bytes > self._free_memory:
            lines.append(self.t("new_run.little_memory", free=size(self._free_memory)))
        return lines

    def _tick(self) -> None:
        """Count the seconds of a measurement."""
        if self._measuring_since is not None:
            self.relabel()

    # --- measuring ----------------------------------------------------------------------------------------------------

    @work(group="measure", exclusive=True)
    async def _measure(self, patience: float) -> None:
        self._found, self._problem, self._measuring_since = None, None, None
        self._speak()
        await asyncio.sleep(patience)
        config = self._config
        self._measuring_since = time.monotonic()
        self._speak()
        try:
            self._free_disk, self._free_memory = await asyncio.to_thread(_free)
            self._found = await estimate_client.measure(config, self.language)
        except UserError as error:
            self._problem = error.text
        finally:
            self._measuring_since = None
        self._speak()

    def _speak(self) -> None:
        """Speak again after something was awaited."""
        with suppress(NoMatches):  # a screen that is being taken down has lost parts of itself
            self.relabel()

    @on(ConfigForm.Changed)
    def _edited(self) -> None:
        before, config = self._config, self._form.read()
        self._wrong = config is None
        if not isinstance(config, TrainConfig):
            self.workers.cancel_group(self, "measure")
            self.relabel()
            return
        self._config = config
        if all(getattr(config, name) == getattr(before, name) for name in ("objective", "tune", "model", "recipe")):
            self._measure(PATIENCE)
        else:
            self.workers.cancel_group(self, "measure")
            anew = config.objective != before.objective
            given = {name: getattr(config, name) for name in ("tune", "model", "data", "recipe")}
            self._advise(given, PATIENCE, anew=anew)

    @work(group="advise", exclusive=True)
    async def _advise(self, given: Mapping[str, Any], patience: float, *, anew: bool = False) -> None:
        """Fill in what is recommended for the objective and the model; what was set by hand stays.

        A method that was chosen `anew` and needs a trained model is given one, unless one was chosen.
        """
        self._found = self._problem = None
        self._speak()
        await asyncio.sleep(patience)
        if anew:
            found = await asyncio.to_thread(_offer, self._config.objective)
            with suppress(NoMatches):
                self._form.row("data").suggest(found.data)
            if found.model is not None and given["model"] in MODEL_PRESETS:
                given = dict(given) | {"model": found.model}
        try:
            advised = await asyncio.to_thread(recommended_config, self._config.objective, given)
        except UserError as error:
            self._wrong = True
            self._speak()
            with suppress(NoMatches):
                self._form.row("model").mark(error.text)
            return
        with suppress(NoMatches):
            self._take_advice(advised)

    def _take_advice(self, advised: TrainConfig) -> None:
        if self._form.read() is None:  # in the middle of typing
            return
        self._config = _merged(self._config, self._advised, advised)
        self._advised = advised
        self._form.put(self._config, advised)
        self._measure(0.0)

    # --- keys -------------------------------------------------------------------------------------------------------

    def action_measure(self) -> None:
        """Measure again."""
        if not self._wrong:
            self._measure(0.0)

    @work(group="find_rate", exclusive=True)
    async def action_find_rate(self) -> None:
        """Let a short run, in which the learning rate rises, say which one to take."""
        if self._wrong:
            return
        self.app.tell(self.t("new_run.finding_rate"))
        try:
            found = await learning_rate_client.find(self._config, self.language)
        except UserError as error:
            self.app.tell(error.text, severity="error")
            return
        self.app.tell(found.reason)
        with suppress(NoMatches):
            editor = self._form.row("learning_rate").editor
            if isinstance(editor, Input):
                editor.value = f"{found.rate:g}"

    @work(group="on_paper", exclusive=True)
    async def action_on_paper(self) -> None:
        """Calculate what these settings would take on other devices."""
        config = self._config
        tokens = None if self._found is None else self._found.tokens
        try:
            architecture = await asyncio.to_thread(architecture_of, config.model)
        except UserError as error:
            self.app.tell(error.text, severity="error")
            return
        if architecture is None:
            self.app.tell(self.t("new_run.unknown_size"), severity="warning")
            return
        task = Work(config.batch_size, config.sequence_length, tokens, config.sequence_length, config.dtype)
        places = computing_in(task.dtype, devices())
        self.app.push_screen(OnPaperDialog(supervisor.model_title(config.model), architecture, places, task))

    def action_more(self) -> None:
        """Show all settings, or the main ones."""
        self._form.toggle_all()
        key = "new_run.button.fewer" if self._form.shows_all else "new_run.button.more"
        self.query_one("#more", SpokenButton).name_by(key)

    @work(group="pick", exclusive=True)
    async def action_model(self) -> None:
        """Choose a checkpoint to start from."""
        model = await self.app.push_screen_wait(ModelPicker(self._config.model))
        editor = self._form.row("model").editor
        if model is not None and isinstance(editor, Input):
            editor.value = model.path

    @work(group="pick", exclusive=True)
    async def action_data(self) -> None:
        """Choose data that fit the method."""
        name = await self.app.push_screen_wait(DataPicker(self._config.objective, self._config.data[0]))
        editor = self._form.row("data").editor
        if name is not None and isinstance(editor, Input):
            editor.value = name

    async def action_lens(self) -> None:
        """Look at the data as the trainer would."""
        if not self._wrong:
            await self.app.show_lens(self._config)

    @on(Button.Pressed)
    async def _pressed(self, event: Button.Pressed) -> None:
        await self.run_action(str(event.button.id))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_start()

    def action_start(self) -> None:
        """Start the run and show it."""
        self._begin(queue=False)

    def action_queue(self) -> None:
        """Let the run wait until no other is running."""
        self._begin(queue=True)

    @work(group="start")
    async def _begin(self, queue: bool) -> None:
        config = self._form.read()
        if not isinstance(config, TrainConfig):
            self._form.focus_problem()
            return
        if self._starting:
            return
        self._starting = True
        for group in ("measure", "advise"):
            self.workers.cancel_group(self, group)
        self._speak()
        try:
            directory = await asyncio.to_thread(supervisor.start, config, queue=queue)
        except UserError as error:
            self._problem = error.text
            with suppress(NoMatches):
                self._form.blame(error.text)
        else:
            self.app.call_later(self.app.show_run, directory)
        finally:
            self._starting = False
            self._speak()


def _merged(typed: TrainConfig, before: TrainConfig, advised: TrainConfig) -> TrainConfig:
    """`advised`, with what in `typed` differs from the advice before."""
    old, new = before.to_dict(), typed.to_dict()
    kept = {name: value for name, value in new.items() if value != old[name] and name not in ("objective", "model")}
    try:
        return advised.replace(**kept)
    except UserError:  # two durations, one advised and one set: the advice wins
        return advised


@dataclass(frozen=True, slots=True)
class _Offer:
    """What can be named for a method: a model to start from (None: there is none), and data."""

    model: str | None
    data: tuple[str, ...]


def _offer(objective: str) -> _Offer:
    start = starting_model(list_models(), objective)
    return _Offer(None if start is None else start.path, tuple(data.entry.name for data in fitting_data(objective)))


def _free() -> tuple[float, float]:
    """Free bytes of disk (where runs go) and of memory; infinite where that cannot be known."""
    import psutil

    directory = paths.home()
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    try:
        disk = float(shutil.disk_usage(directory).free)
    except OSError:
        disk = float("inf")
    return disk, float(psutil.virtual_memory().available)
