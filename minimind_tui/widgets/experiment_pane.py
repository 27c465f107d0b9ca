"""An experiment in a lesson: a prediction first, then budget and parameters, a run that obeys, and what it showed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Button, Static

from lessons.budgets import budgets_of, expected_seconds, values_of
from lessons.catalogue import load_experiment
from lessons.kept_runs import find
from lessons.predictions import Judged, judge, keep_outcome, keep_prediction, prediction_of
from lessons.recorded import Recording
from lessons.report import said_seconds
from lessons.results import Results
from minimind.errors import UserError
from minimind.events import Text
from minimind.experiment import BUDGETS, Budget, Experiment, Value
from minimind.safe_text import clean, clean_line
from minimind_tui.experiment_files import ExperimentFiles
from minimind_tui.experiment_run import ExperimentRun
from minimind_tui.garbage import settle_with_torch
from minimind_tui.inbox import DRAIN_SECONDS
from minimind_tui.lesson_record import LessonRecord
from minimind_tui.speech import Speaker
from minimind_tui.widgets.budget_line import BudgetLine
from minimind_tui.widgets.parameter_line import ParameterLine
from minimind_tui.widgets.prediction_box import PredictionBox
from minimind_tui.widgets.results_view import ResultsView
from minimind_tui.widgets.spoken_button import SpokenButton

_LOOKS = 3


class ExperimentPane(Speaker, Vertical, can_focus=False):
    """The experiment `name`, with `values` in place of some defaults.

    With `predict` it cannot run before a prediction was made, now or in an earlier session.
    """

    DEFAULT_CSS = """
    ExperimentPane { height: auto; border: round $rule; padding: 0 1; margin: 0 0 1 0; }
    ExperimentPane:focus-within { border: round $primary; }
    ExperimentPane .title { text-style: bold; color: $accent; height: auto; }
    ExperimentPane .question { color: $foreground; height: auto; margin: 0 0 1 0; }
    ExperimentPane .parameters { height: auto; }
    ExperimentPane .actions { height: 1; margin: 1 0 0 0; }
    ExperimentPane .state { width: 1fr; color: $text-muted; height: auto; }
    ExperimentPane .state.-wrong { color: $error; }
    ExperimentPane .-hidden { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "run", "lesson.key.run"),
        Binding("space,z", "pause", "lesson.key.pause", key_display="z"),
        Binding("full_stop", "step", "lesson.key.step"),
        Binding("s", "stop", "lesson.key.stop"),
        Binding("a", "anew", "lesson.key.anew"),
        Binding("b", "budget", "lesson.key.budget"),
        Binding("x", "export", "lesson.key.export"),
        Binding("w", "note", "lesson.key.note"),
        Binding("o", "overlay", "lesson.key.overlay", show=False),
        Binding("0", "defaults", "lesson.key.defaults", show=False),
    ]

    def __init__(
        self, name: str, values: Mapping[str, str], record: LessonRecord, *, predict: bool, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.experiment_name = name
        self._given: dict[str, Value] = dict(values)
        self._record = record
        self._predict = predict
        self.experiment: Experiment | None = None
        self.run: ExperimentRun | None = None
        self.results: Results | None = None
        """What is drawn: of a run that ended, or was kept."""
        self._is_looking = False
        self._picked: Budget = "standard"
        self._looks_left = 0
        self._state: tuple[str, dict[str, object]] = ("lesson.experiment.loading", {})
        self._problem: Text | None = None
        self._timer: Timer | None = None
        self._files = ExperimentFiles(self, record.lesson.slug)

    def compose(self) -> ComposeResult:
        """Title, question, prediction, parameters, budget, buttons; results come with the first run."""
        yield Static(markup=False, classes="title")
        yield Static(markup=False, classes="question")
        yield PredictionBox()
        yield Vertical(classes="parameters -hidden")
        yield BudgetLine()
        with Horizontal(classes="actions"):
            for name in ("run", "pause", "step", "stop", "anew"):
                yield SpokenButton(f"lesson.experiment.{name}", id=name)
        yield Static(markup=False, classes="state")

    def on_mount(self) -> None:
        """Load the experiment aside: the first one brings torch, which takes seconds."""
        self._timer = self.set_interval(DRAIN_SECONDS, self._drain, pause=True)
        self._load()
        self.relabel()

    def on_unmount(self) -> None:
        """The page is turned: stop."""
        if self.run is not None:
            self.run.lab.stop()

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
        settle_with_torch()
        kept = await asyncio.to_thread(find, experiment, values)
        if not self.display:  # the page was turned meanwhile
            return
        lines = [ParameterLine(setting, values[setting.name]) for setting in experiment.settings]
        await self.query_one(".parameters", Vertical).mount(*lines)
        self.query_one(".parameters").set_class(not lines, "-hidden")
        await self.mount(ResultsView(experiment))
        if not self.display:
            return
        self.query_one(ResultsView).display = False
        self.experiment = experiment
        if self._needs_prediction:
            await self.query_one(PredictionBox).ask(experiment)
            self._say(f"lesson.experiment.{'predict_first' if experiment.number is None else 'predict_number'}")
        elif kept is not None:
            self._show_kept(kept)
        else:
            self._say("lesson.experiment.ready")
        self.relabel()

    # --- state --------------------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether a run is under way, paused or not."""
        return self.run is not None and self.run.is_running

    @property
    def is_paused(self) -> bool:
        """Whether a run waits to be told to go on."""
        return self.run is not None and self.run.is_running and self.run.lab.is_paused

    @property
    def prediction(self) -> float | None:
        """The choice made before the first run, by its place, or the number."""
        return None if self.experiment is None else prediction_of(self.experiment, self._record.now)

    @property
    def judged(self) -> Judged | None:
        """The prediction beside what the results shown say."""
        prediction = self.prediction
        if self.experiment is None or prediction is None:
            return None
        return judge(self.experiment, prediction, self.results.claims if self.results else ())

    @property
    def _needs_prediction(self) -> bool:
        asks = self._predict and self.experiment is not None and self.experiment.predict is not None
        return asks and self.prediction is None

    @property
    def _can_run(self) -> bool:
        return self.experiment is not None and not (self._needs_prediction or self.is_running or self._is_looking)

    def _parameters(self) -> Iterator[ParameterLine]:
        """The lines of the parameters; the one of a number prediction is none of them."""
        return self.query(".parameters ParameterLine").results(ParameterLine)

    def _values(self) -> dict[str, Value] | None:
        """The parameters as set, or None while one of them is wrong."""
        lines = list(self._parameters())
        if any(line.problem for line in lines):
            return None
        return {line.setting.name: line.value for line in lines}

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Each when it makes sense."""
        has_results = self.results is not None and not self.is_running
        match action:
            case "run":
                return True if self._can_run else None
            case "pause" | "stop":
                return self.is_running
            case "step":
                return self.is_paused
            case "anew":
                return has_results and self._can_run
            case "budget":
                return self.experiment is not None
            case "export" | "note":
                return has_results
            case "overlay":
                return any(view.has_other_run for view in self.query(ResultsView))
            case _:
                return True

    # --- words --------------------------------------------------------------------------------------------------------

    def _say(self, key: str, **values: object) -> None:
        self._state, self._problem = (key, values), None
        self._show_state()

    def _fail(self, problem: Text) -> None:
        self._problem = problem
        self._show_state()

    def _show_state(self) -> None:
        if not self.display:  # the page is being turned
            return
        state = self.query_one(".state", Static)
        key, values = self._state
        words = self.t(key, **values) if self._problem is None else clean(self.say(self._problem))
        state.set_class(self._problem is not None, "-wrong")
        state.update(Content(words))
        for name in ("pause", "step", "stop", "anew"):
            self.query_one(f"#{name}", Button).display = self.check_action(name, ()) is True
        self.query_one("#run", Button).disabled = not self._can_run
        self.query_one("#run", Button).display = not self.is_running
        self.query_one("#pause", SpokenButton).name_by(f"lesson.experiment.{'resume' if self.is_paused else 'pause'}")
        self._show_cost()
        self.refresh_bindings()

    def _show_cost(self) -> None:
        """Which budget the parameters are, and what it costs."""
        line, values = self.query_one(BudgetLine), self._values()
        line.display = self.experiment is not None
        if self.experiment is None or values is None:
            return
        names = budgets_of(self.experiment, values, self._given)
        current = self._picked if self._picked in names else names[-1] if names else None
        seconds = expected_seconds(self.experiment, values, self._record.lesson.recordings.get(self.experiment_name))
        said = "" if seconds is None else self.t("lesson.budget.cost", time=said_seconds(seconds, self.language))
        line.tell(current, said)

    def relabel(self) -> None:
        """Speak again."""
        if not self.display:
            return
        experiment = self.experiment
        mark = ">" if self.ascii_only else "▶"
        title = self.say(experiment.title) if experiment else "…"
        self.query_one(".title", Static).update(Content(f"{mark} {clean_line(title)}"))
        self.query_one(".question", Static).update(Content(clean(self.say(experiment.question)) if experiment else ""))
        self._show_state()
        self._tell_outcome()

    def _tell_outcome(self) -> None:
        """The prediction, once made, stands above the results, beside what came out."""
        if self.prediction is not None:
            box = self.query_one(PredictionBox)
            box.tell(self.judged)
            self.move_child(box, after=self.query_one(".state"))

    # --- setting ------------------------------------------------------------------------------------------------------

    @on(PredictionBox.Predicted)
    def _predicted(self, event: PredictionBox.Predicted) -> None:
        """Keep the prediction; now it may run."""
        event.stop()
        experiment = self.experiment
        if experiment is not None:
            self._record.change(lambda now: keep_prediction(experiment, now, event.prediction))
            self._say("lesson.experiment.ready")
            self._tell_outcome()
            self.query_one("#run", Button).focus()

    @on(ParameterLine.Changed)
    def _set(self, event: ParameterLine.Changed) -> None:
        event.stop()
        problem = event.line.problem
        if problem is not None:
            self._fail(problem.text)
        elif self._can_run:
            self._say("lesson.experiment.ready")
        else:
            self._show_cost()

    @on(BudgetLine.Picked)
    def _pick_budget(self, event: BudgetLine.Picked) -> None:
        event.stop()
        self._set_budget(event.budget)

    def _set_budget(self, budget: Budget) -> None:
        """Set the parameters to those of `budget`, but for what the page sets."""
        if self.experiment is None:
            return
        self._picked = budget
        values = values_of(self.experiment, budget, self._given)
        for line in self._parameters():
            line.set_value(values[line.setting.name])
        self._show_cost()

    def action_budget(self) -> None:
        """The next budget."""
        names = tuple(BUDGETS)
        current = self.query_one(BudgetLine).current
        self._set_budget(names[(names.index(current) + 1) % len(names)] if current else "standard")

    def action_defaults(self) -> None:
        """Set every parameter as it was when the page was opened."""
        self._set_budget("standard")

    @on(Button.Pressed)
    async def _pressed(self, event: Button.Pressed) -> None:
        event.stop()
        await self.run_action(str(event.button.id))

    # --- running ------------------------------------------------------------------------------------------------------

    def action_run(self) -> None:
        """Show what was kept of a run with these parameters, or run."""
        self._look_and_run(anew=False)

    def action_anew(self) -> None:
        """Run, whatever was kept."""
        self._look_and_run(anew=True)

    def _look_and_run(self, *, anew: bool) -> None:
        values = self._values()
        if not self._can_run:
            return
        if values is None:
            self._say("lesson.experiment.wrong_parameter")
            return
        self._is_looking = True
        self._find_or_start(values, anew)

    @work(exclusive=True, group="find")
    async def _find_or_start(self, values: dict[str, Value], anew: bool) -> None:
        experiment = self.experiment
        assert experiment is not None
        kept = None if anew else await asyncio.to_thread(find, experiment, values)
        self._is_looking = False
        self._looks_left = _LOOKS
        if kept is not None:
            self._show_kept(kept)
            self._look_at_results()
            return
        before, self.results = self.results, None
        self._draw(Results(experiment.name, values, ()), before)
        self.run = ExperimentRun(experiment, values)
        self._say("lesson.experiment.running")
        self._go_on_drawing()
        self.query_one("#stop", Button).focus()

    def _look_at_results(self) -> None:
        """Bring what a run draws into view, while it grows to its size; later the learner scrolls as they like."""
        if self._looks_left:
            self._looks_left -= 1
            place = self.query_one(".actions")
            self.call_after_refresh(place.scroll_visible, top=True, animate=False)

    def _draw(self, results: Results, before: Results | None) -> None:
        """Begin to draw `results`, over those of the run before."""
        view = self.query_one(ResultsView)
        view.display = True
        view.begin(results, before)
        self._tell_outcome()

    def _show_kept(self, kept: Results) -> None:
        before = self.results if self.results is None or dict(self.results.values) != dict(kept.values) else None
        self.results = kept
        self._remember(kept)
        self._draw(kept, before)
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.made))
        self._say("lesson.experiment.kept", when=when)

    def action_pause(self) -> None:
        """Hold the run back, or let it go on."""
        if self.run is None or not self.is_running:
            return
        if self.is_paused:
            self.run.lab.resume()
            self._say("lesson.experiment.running")
        else:
            self.run.lab.pause()
            self._say("lesson.experiment.paused")
        self._go_on_drawing()

    def action_step(self) -> None:
        """Let a paused run go on to the next thing it draws."""
        if self.run is not None and self.is_paused:
            self.run.lab.step()
            self._go_on_drawing()

    def action_stop(self) -> None:
        """Stop; what was drawn stays."""
        if self.run is not None and self.is_running:
            self.run.lab.stop()
            self._say("lesson.experiment.stopping")
            self._go_on_drawing()

    def _go_on_drawing(self) -> None:
        if self._timer is not None:
            self._timer.resume()

    def _drain(self) -> None:
        """Draw what came since the last time; rest while nothing will come; at the end, keep what was found."""
        run = self.run
        if run is None:
            return
        at_rest = run.is_at_rest
        events = run.drain()
        self.query_one(ResultsView).feed(events)
        if events:
            self._look_at_results()
        if at_rest and self._timer is not None:
            self._timer.pause()
            if not run.is_running:
                self._finish(run)

    def _finish(self, run: ExperimentRun) -> None:
        problem = run.problem()
        self.run = None
        self.results = run.results()
        if problem is not None:
            self._fail(problem)
        elif run.lab.state == "stopped":
            self._say("lesson.experiment.stopped")
        else:
            self._say("lesson.experiment.finished")
            self._keep(self.results)
        self._tell_outcome()
        if self.screen.focused is None or self.screen.focused in self.query(".actions Button"):
            self.query_one("#run", Button).focus()

    def _keep(self, results: Results) -> None:
        self._remember(results)
        experiment = self.experiment
        if experiment is not None:
            self._record.change(lambda now: keep_outcome(experiment, now, results.claims))
        self._files.keep(results)

    def _remember(self, results: Results) -> None:
        """The numbers in the prose are those of the run that is shown."""
        name, recording = self.experiment_name, Recording(results.values, results.claims)
        if results.claims and self._record.now.runs.get(name) != recording:
            self._record.change(lambda now: now.runs.__setitem__(name, recording))

    # --- what is left of it -------------------------------------------------------------------------------------------

    def action_overlay(self) -> None:
        """Show the run before under this one, or hide it."""
        self.query_one(ResultsView).toggle_other_run()

    def action_export(self) -> None:
        """Save the results as files."""
        self._files.export()

    def action_note(self) -> None:
        """Write a note into the lab notebook."""
        self._files.note()
