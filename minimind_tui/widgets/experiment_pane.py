"""An experiment in a lesson: a prediction first, then parameters, a run that can be stopped, and what it showed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Button, Static

from lessons.catalogue import claims_of, load_experiment, stream
from lessons.recorded import PREDICTION, Recording
from minimind.errors import UserError
from minimind.events import Claim, Event, Text
from minimind.experiment import Experiment, Value
from minimind.safe_text import clean, clean_line
from minimind_tui.inbox import DRAIN_SECONDS, Inbox
from minimind_tui.lab import Lab
from minimind_tui.lesson_record import LessonRecord
from minimind_tui.speech import Speaker
from minimind_tui.widgets.choice_list import ChoiceList
from minimind_tui.widgets.event_view import EventView
from minimind_tui.widgets.parameter_line import ParameterLine
from minimind_tui.widgets.spoken_button import SpokenButton


class ExperimentPane(Speaker, Vertical, can_focus=False):
    """The experiment `name`, with `values` in place of some defaults.

    With `predict` it cannot run before a prediction was made, now or in an earlier session.
    """

    DEFAULT_CSS = """
    ExperimentPane { height: auto; border: round $rule; padding: 0 1; margin: 0 0 1 0; }
    ExperimentPane:focus-within { border: round $primary; }
    ExperimentPane .title { text-style: bold; color: $accent; height: auto; }
    ExperimentPane .question { color: $foreground; height: auto; margin: 0 0 1 0; }
    ExperimentPane .predict { height: auto; margin: 0 0 1 0; }
    ExperimentPane .predict > .prompt { text-style: bold; height: auto; margin: 0 0 0 0; }
    ExperimentPane .parameters { height: auto; }
    ExperimentPane .actions { height: 1; margin: 1 0 0 0; }
    ExperimentPane .state { width: 1fr; color: $text-muted; height: auto; }
    ExperimentPane .state.-wrong { color: $error; }
    ExperimentPane .outcome { height: auto; }
    ExperimentPane .-hidden { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "run", "lesson.key.run"),
        Binding("s", "stop", "lesson.key.stop"),
        Binding("0", "defaults", "lesson.key.defaults", show=False),
    ]

    def __init__(
        self, name: str, values: Mapping[str, str], record: LessonRecord, *, predict: bool, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.experiment_name = name
        self._given = dict(values)
        self._record = record
        self._predict = predict
        self.experiment: Experiment | None = None
        self._lab: Lab | None = None
        self._running_values: dict[str, Value] = {}
        self._events: list[Event] = []
        self._state: tuple[str, dict[str, object]] = ("lesson.experiment.loading", {})
        self._problem: Text | None = None
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """Title, question, prediction, parameters, buttons, results."""
        yield Static(markup=False, classes="title")
        yield Static(markup=False, classes="question")
        yield Vertical(classes="predict -hidden")
        yield Vertical(classes="parameters -hidden")
        with Horizontal(classes="actions"):
            yield SpokenButton("lesson.experiment.run", id="run")
            yield SpokenButton("lesson.experiment.stop", id="stop")
        yield Static(markup=False, classes="state")
        yield Static(markup=False, classes="outcome -hidden")

    def on_mount(self) -> None:
        """Load the experiment aside: the first one brings torch, which takes seconds."""
        self._timer = self.set_interval(DRAIN_SECONDS, self._drain, pause=True)
        self._load()
        self.relabel()

    def on_unmount(self) -> None:
        """The page is turned: stop."""
        if self._lab is not None:
            self._lab.stop()

    @work(exclusive=True, group="load")
    async def _load(self) -> None:
        try:
            experiment = await asyncio.to_thread(load_experiment, self.experiment_name)
            values = experiment.resolve(self._given)
        except UserError as error:
            self._fail(error.text)
            return
        except ImportError as error:
            words = clean_line(str(error), 200)
            self._fail(Text(f"PyTorch cannot be loaded: {words}", f"PyTorch 载入失败：{words}"))
            return
        self.experiment = experiment
        lines = [ParameterLine(setting, values[setting.name]) for setting in experiment.settings]
        await self.query_one(".parameters", Vertical).mount(*lines)
        self.query_one(".parameters").set_class(not lines, "-hidden")
        await self.mount(EventView(names=experiment.names, classes="-hidden"))
        if self._needs_prediction and experiment.predict is not None:
            place = self.query_one(".predict", Vertical)
            await place.mount(Static(markup=False, classes="prompt"), ChoiceList(experiment.choices))
            place.remove_class("-hidden")
        self._say("lesson.experiment.predict_first" if self._needs_prediction else "lesson.experiment.ready")
        self.relabel()

    # --- state --------------------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether a run is under way."""
        return self._lab is not None and self._lab.state == "running"

    @property
    def prediction(self) -> int | None:
        """The choice made before the first run, by its place."""
        return self._record.now.predictions.get(self.experiment_name)

    @property
    def _needs_prediction(self) -> bool:
        asks = self._predict and self.experiment is not None and self.experiment.predict is not None
        return asks and self.prediction is None

    def _values(self) -> dict[str, Value] | None:
        """The parameters as set, or None while one of them is wrong."""
        lines = list(self.query(ParameterLine))
        if any(line.problem for line in lines):
            return None
        return {line.setting.name: line.value for line in lines}

    def _say(self, key: str, **values: object) -> None:
        self._state, self._problem = (key, values), None
        self._show_state()

    def _fail(self, problem: Text) -> None:
        self._problem = problem
        self._show_state()

    def _show_state(self) -> None:
        state = self.query_one(".state", Static)
        key, values = self._state
        words = self.t(key, **values) if self._problem is None else clean(self.say(self._problem))
        state.set_class(self._problem is not None, "-wrong")
        state.update(Content(words))
        self.query_one("#run", Button).disabled = self.experiment is None or self._needs_prediction or self.is_running
        self.query_one("#stop", Button).display = self.is_running
        self.refresh_bindings()

    def relabel(self) -> None:
        """Speak again."""
        experiment = self.experiment
        mark = ">" if self.ascii_only else "▶"
        title = self.say(experiment.title) if experiment else self.experiment_name
        self.query_one(".title", Static).update(Content(f"{mark} {clean_line(title)}"))
        self.query_one(".question", Static).update(Content(clean(self.say(experiment.question)) if experiment else ""))
        for prompt in self.query(".prompt").results(Static):
            if experiment is not None and experiment.predict is not None:
                prompt.update(Content(clean(self.say(experiment.predict))))
        self._show_outcome()
        self._show_state()

    def _show_outcome(self) -> None:
        """The prediction beside what came out."""
        place = self.query_one(".outcome", Static)
        claim = self._outcome()
        yours, experiment = self.prediction, self.experiment
        lines = []
        if experiment is not None and yours is not None and 0 <= yours < len(experiment.choices):
            lines.append(Content(self.t("lesson.experiment.predicted", choice=self.say(experiment.choices[yours]))))
            if claim is not None:
                true = int(claim.measured["choice"])
                right = true == yours
                words = self.t("lesson.experiment.came_out", choice=self.say(experiment.choices[true]))
                mark = ("+" if right else "x") if self.ascii_only else ("✓" if right else "✗")
                lines.append(Content.styled(f"{mark} {words}", "bold $success" if right else "bold $warning"))
        place.set_class(not lines, "-hidden")
        place.update(Content("\n").join(lines))

    def _outcome(self) -> Claim | None:
        return next((e for e in reversed(self._events) if isinstance(e, Claim) and e.id == PREDICTION), None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Run and stop, each when it makes sense."""
        if action == "run":
            return None if self.experiment is None or self._needs_prediction or self.is_running else True
        return self.is_running if action == "stop" else True

    # --- doing --------------------------------------------------------------------------------------------------------

    @on(ChoiceList.Chosen)
    def _predicted(self, event: ChoiceList.Chosen) -> None:
        """Keep the prediction; now it may run."""
        event.stop()
        choice = event.picked[0]
        self._record.change(lambda now: now.predictions.__setitem__(self.experiment_name, choice))
        self.query_one(".predict", Vertical).add_class("-hidden")
        self._say("lesson.experiment.ready")
        self._show_outcome()
        self.query_one("#run", Button).focus()

    @on(ParameterLine.Changed)
    def _set(self, event: ParameterLine.Changed) -> None:
        event.stop()
        problem = event.line.problem
        if problem is not None:
            self._fail(problem.text)
        elif not self.is_running and not self._needs_prediction:
            self._say("lesson.experiment.ready")

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        if event.button.id == "run":
            self.action_run()
        else:
            self.action_stop()

    def action_defaults(self) -> None:
        """Set every parameter to its default."""
        for line in self.query(ParameterLine):
            line.reset()

    def action_run(self) -> None:
        """Run with the parameters as set."""
        experiment, values = self.experiment, self._values()
        if experiment is None or self._needs_prediction or self.is_running:
            return
        if values is None:
            self._say("lesson.experiment.wrong_parameter")
            return

        def events() -> Iterator[Event]:
            return stream(experiment, values)

        view = self.query_one(EventView)
        view.clear()
        view.remove_class("-hidden")
        self._events = []
        self._show_outcome()
        self._running_values = values
        self._lab = Lab(events, Inbox())
        self._lab.start()
        self._say("lesson.experiment.running")
        if self._timer is not None:
            self._timer.resume()
        self.query_one("#stop", Button).focus()

    def action_stop(self) -> None:
        """Stop; what was drawn stays."""
        if self._lab is not None and self.is_running:
            self._lab.stop()
            self._say("lesson.experiment.stopping")

    def _drain(self) -> None:
        """Draw what came since the last time; at the end, keep the claims."""
        lab = self._lab
        if lab is None:
            return
        ended = lab.state != "running"
        events = lab.inbox.drain()
        self._events += [event for event in events if isinstance(event, Claim)]
        self.query_one(EventView).feed(e for e in events if not (isinstance(e, Claim) and e.id == PREDICTION))
        if ended and not len(lab.inbox):
            if self._timer is not None:
                self._timer.pause()
            self._finish(lab)

    def _finish(self, lab: Lab) -> None:
        if lab.state == "failed":
            error = lab.error
            words = clean_line(f"{type(error).__name__}: {error}", 200)
            self._fail(
                error.text if isinstance(error, UserError) else Text(f"it failed: {words}", f"运行出错：{words}")
            )
        elif lab.state == "stopped":
            self._say("lesson.experiment.stopped")
        else:
            self._say("lesson.experiment.finished")
            self._keep()
        self._show_outcome()
        if self.screen.focused is self.query_one("#stop", Button) or self.screen.focused is None:
            self.query_one("#run", Button).focus()

    def _keep(self) -> None:
        name, claims = self.experiment_name, claims_of(self._events)
        if claims:
            recording = Recording(self._running_values, claims)
            self._record.change(lambda now: now.runs.__setitem__(name, recording))
