"""THE loop: update, record, evaluate, save; obey a person's wishes; end in good order whatever happens."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from minimind.errors import UserError
from minimind.events import Alert, Event, Mark, Note, Progress, Scalars, Text
from minimind.hardware import memory_in_use
from minimind.reinforcement_config import REINFORCEMENT
from minimind.training import checkpoint, guards
from minimind.training.acceleration import COMPILING
from minimind.training.control import Control
from minimind.training.evaluate import samples
from minimind.training.job import Job
from minimind.training.saving import Saver
from minimind.training.state import State, checkpoint_files, restore
from minimind.training.update import Update, Updater

_PAUSE_SECONDS = 0.05
_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 2.0, 30.0
"""How long a run that could not save waits before it tries again: twice as long each time, up to the second."""
_WINDOW = 20
"""Updates over which tokens a second are averaged."""
SAMPLE_TOKENS = 48
_PROGRESS_SECONDS = 1.0
PATIENCE_SECONDS = 60.0
"""How long the last save waits for room on the disk."""
_WAITING = Text(
    f"the last save is tried again for {PATIENCE_SECONDS:.0f} seconds: what was trained since the one before is kept "
    "only if it succeeds",
    f"最后一次保存会在 {PATIENCE_SECONDS:.0f} 秒内反复重试：成功了，上次保存之后训练的内容才会留下",
)


class Record(Protocol):
    """Where events go and wishes come from: a `Recorder`, or a stand-in."""

    def record(self, event: Event) -> None: ...
    def control(self) -> Control: ...
    def sync(self) -> None: ...


class Verdict(NamedTuple):
    """How a run ended, as it stands in final.json."""

    outcome: Literal["finished", "stopped", "failed", "out-of-memory"]
    text: Text
    step: int


def _code(error: UserError) -> str:
    """The name of the reason why a checkpoint could not be saved."""
    return "disk-full" if isinstance(error, checkpoint.NoRoomError) else "save-failed"


class _Diverged(Exception):
    """The numbers went astray; `text` says where."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


class Trainer:
    """Trains one `Job` to its end; `run` says how that was.

    `stop` may be called from a signal handler: the loop saves and leaves after the step it is in.
    """

    def __init__(self, job: Job, record: Record, checkpoints: Path | None, *, steps: int) -> None:
        """`checkpoints` is the directory they are kept in (None: nowhere). `steps` are planned, unless `resume` knows."""
        self.job = job
        self.config = job.config
        self.state = State(steps=steps)
        self.updater = Updater(job)
        self.group = job.group
        self._record = record
        self._saver = Saver(checkpoints, job.config) if checkpoints is not None else None
        validation = job.objective.validation(job.data.validation, job.config)
        self._held_out = [batch.to(job.precision.device) for batch in validation]
        self._stop = False
        self._saves_seen = 0
        self._saved_step = -1
        self._unsaved: tuple[int, str] | None = None
        self._recent: deque[Update] = deque(maxlen=_WINDOW)
        self._began = self._progress_at = time.monotonic()
        self._updates = 0
        self._earlier_seconds = 0.0

    def resume(self, directory: Path) -> None:
        """Go on from the checkpoint in `directory`. Raises UserError where it is damaged or another model's."""
        about = self._restore(directory)
        self._seek()
        self._earlier_seconds = self.state.seconds
        differences = self.job.surroundings.differences(about.get("surroundings", {}))
        if differences is not None:
            self._record.record(Alert("warning", "other-conditions", differences, self.state.step))

    def _restore(self, directory: Path) -> Mapping[str, Any]:
        """Take weights, optimiser, generators and state from a checkpoint; returns what was kept beside them."""
        self.state, about = restore(directory, self.updater.optimizer, self.job.objective)
        self._saved_step = self.state.step
        return about

    def _seek(self) -> None:
        """Let data and learning rate be those of the state."""
        state, optimizer = self.state, self.updater.optimizer
        self.updater.seek(state.position)
        peak = self.config.learning_rate if state.learning_rate is None else state.learning_rate
        optimizer.peak = peak * state.guards.rate_share
        self.updater.parts = state.guards.parts

    def stop(self) -> None:
        """Save and leave after the present step."""
        self._stop = True

    def run(self) -> Verdict:
        """Train until all steps are done or a wish to stop comes. Whatever the end, the last good checkpoint stays."""
        details = {"steps": self.state.steps, "parameters": self.job.model.parameter_count()}
        self._record.record(Mark("started", self.state.step, details | asdict(self.job.surroundings)))
        if self.updater.compile(self.state.steps - self.state.step):
            self._record.record(Progress(self.state.step, self.state.steps, COMPILING))
        self._began = time.monotonic()
        try:
            if self.state.step == 0:
                self._keep()
                self._evaluate()
                self._sample()
            while self.state.step < self.state.steps:
                if not self._obey():
                    return self._leave("stopped")
                self._advance()
                if self.config.patience is not None and self.state.no_better >= self.config.patience:
                    break
            return self._leave("finished")
        except _Diverged as error:
            self._record.record(Alert("error", "diverged", error.text, self.state.step))
            return self._end(Verdict("failed", error.text, self.state.step))

    def _advance(self) -> None:
        """One update, and what is due after it."""
        state = self.state
        update = self.updater.update(state.step, state.steps)
        self._updates += 1
        state.step += 1
        state.tokens += update.tokens
        state.position = update.position
        state.seconds = self._earlier_seconds + time.monotonic() - self._began
        self._recent.append(update)
        told = list(self.job.objective.events(state.step))
        self._record_update(update, [event for event in told if isinstance(event, Scalars)])
        for event in told:
            if not isinstance(event, Scalars):
                self._record.record(event)
        self._tell_of_memory()
        if not update.overflowed and not self._guard(update):
            return
        if self._due(self.config.evaluate_every):
            self._evaluate()
        if self._due(self.config.sample_every):
            self._sample()
        if self._due(self.config.save_every):
            self._keep()

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.step == self.state.steps

    def _record_update(self, update: Update, told: Sequence[Scalars] = ()) -> None:
        """Record the figures of a step, with those that the method has `told` of."""
        state, now = self.state, time.monotonic()
        spent = sum(recent.seconds for recent in self._recent)
        a_step = (now - self._began) / max(self._updates, 1)
        values = {
            **update.scalars,
            **{name: value for scalars in told for name, value in scalars.values.items()},
            "learning_rate": update.learning_rate,
            "gradient_norm": update.gradient_norm,
            "tokens_per_second": sum(recent.tokens for recent in self._recent) / max(spent, 1e-9),
            "data_wait": sum(recent.waited for recent in self._recent) / max(spent, 1e-9),
            "trained_share": update.trained / max(update.tokens, 1),
            "memory_bytes": float(memory_in_use(self.job.precision.device)),
            "tokens": float(state.tokens),
            "eta_seconds": a_step * (state.steps - state.step),
            "epoch": self.job.objective.epochs(self.job.data.train, state.tokens, state.position),
        }
        self._record.record(Scalars(state.step, values))
        if now - self._progress_at >= _PROGRESS_SECONDS or state.step == state.steps:
            self._progress_at = now
            self._record.record(Progress(state.step, state.steps, Text("training", "训练")))

    def _tell_of_memory(self) -> None:
        """Keep, and say once, that micro-batches had to be cut smaller."""
        before, parts = self.state.guards.parts, self.updater.parts
        if parts != before:
            self.state.guards.parts = parts
            text = guards.smaller_pieces(self.config.batch_size, self.config.accumulation_steps, before, parts)
            self._record.record(Alert("warning", "less-at-a-time", text, self.state.step))

    def _guard(self, update: Update) -> bool:
        """Judge an update, say what is not as it should be, and go back where it must be; returns whether to go on."""
        state = self.state
        judgement = state.guards.judge(state.step, update)
        if state.guards.must_go_back:
            self._go_back(guards.why_back(state.guards, state.step, update))
            return False
        if judgement == "not-finite":
            self._record.record(Alert("warning", judgement, guards.left_out(state.step, update), state.step))
        elif judgement == "empty" and state.guards.empty == 1:
            self._record.record(Alert("warning", "nothing-counts", guards.nothing_counts(state.step), state.step))
        return True

    def _go_back(self, why: Text) -> None:
        """Return to the last good checkpoint with half the learning rate; the data go on from here.

        Raises _Diverged where there is none, or no more patience.
        """
        astray, saver, name = self.state, self._saver, None
        if saver is not None and astray.guards.rollbacks < guards.MOST_ROLLBACKS:
            name = self.group.by_first(lambda: saver.go_back(astray.guards.healthy_step))
        if saver is None or name is None:
            raise _Diverged(guards.gives_up(why, astray.guards))
        self._restore(saver.root / name)
        state = self.state
        state.guards = astray.guards.go_back(state.guards)
        state.position, state.learning_rate, state.seconds = astray.position, astray.learning_rate, astray.seconds
        self._seek()
        text = guards.went_back(why, state.guards, state.step, self.updater.optimizer.peak)
        self._record.record(Alert("warning", "rolled-back", text, astray.step))
        self._record.record(Mark("rolled-back", state.step, {"from": astray.step}))

    def _evaluate(self) -> None:
        """Measure the held-out loss."""
        state = self.state
        with self.updater.optimizer.averaged():
            values = self._measured()
        self._record.record(Scalars(state.step, values))
        state.evaluated(values["validation_loss"])
        if self.config.patience is not None and state.no_better == 0 and state.step > 0:
            self._save()  # training may end long after its best

    def _measured(self) -> dict[str, float]:
        """The figures on held-out data, which one process finds; a model in shards needs all of them."""

        def measure() -> dict[str, float]:
            return self.job.objective.evaluate(self.updater.working, self._held_out)

        return self.group.of_first(measure()) if self.updater.sharded else self.group.by_first(measure)

    def _sample(self) -> None:
        """Let the model write, so that a person can see what the loss means."""
        self.updater.optimizer.gather()
        if not self.group.first:
            return
        model, objective = self.updater.optimizer.whole, self.job.objective
        with self.updater.optimizer.averaged():
            for sample in samples(model, self.job.tokenizer, objective, self.state.step, length=SAMPLE_TOKENS):
                self._record.record(sample)

    def _obey(self) -> bool:
        """Do what is wished between two steps; returns whether to go on."""
        control = self._heed()
        if control.want == "pause":
            with self._pause({}):
                while control.want == "pause":
                    time.sleep(_PAUSE_SECONDS)
                    control = self._heed()
        return control.want != "stop"

    @contextlib.contextmanager
    def _pause(self, why: Mapping[str, str]) -> Iterator[None]:
        """Tell that nothing is trained within the block; its time does not count."""
        self._record.record(Mark("paused", self.state.step, why))
        paused = time.monotonic()
        yield
        self._began += time.monotonic() - paused
        self._record.record(Mark("resumed", self.state.step))

    def _heed(self) -> Control:
        """Read the wishes (also to `stop`); save and change the learning rate where that is wished."""
        control = self.group.agree(self._record.control(), self._stop)
        if control.save > self._saves_seen:
            self._saves_seen = control.save
            self._save()
        if control.learning_rate is not None and control.learning_rate != self.state.learning_rate:
            self.state.learning_rate = self.updater.optimizer.peak = control.learning_rate
            self.state.guards.rate_share = 1.0
            self._record.record(Mark("control", self.state.step, {"learning_rate": control.learning_rate}))
        return control

    def _keep(self) -> None:
        """Save; where that fails, pause until it works, or until a person wants the run to go on without, or to stop."""
        error = self._save()
        if error is None:
            return
        control, asked = self._heed(), None
        patience, tried = _FIRST_RETRY_SECONDS, time.monotonic()
        with self._pause({"reason": _code(error)}):
            while self._saved_step != self.state.step and control.want != "stop" and asked in (None, control.go_on):
                asked = control.go_on
                time.sleep(_PAUSE_SECONDS)
                if self.group.of_first(time.monotonic() - tried >= patience):
                    self._save()
                    patience, tried = min(2 * patience, _LAST_RETRY_SECONDS), time.monotonic()
                control = self._heed()

    def _save(self) -> UserError | None:
        """Write a checkpoint; where that fails the reason is recorded and returned.

        Weights that are no numbers are not saved: the run goes back.
        """
        state = self.state
        saver = self._saver
        if saver is None or self._saved_step == state.step:
            return None
        if not self.updater.optimizer.finite():
            self._go_back(guards.weights_astray(state.step))
            return None
        began = time.monotonic()
        if state.validation_step == state.step and (state.validation_loss or math.inf) < (state.best_loss or math.inf):
            state.best_loss, state.best_step = state.validation_loss, state.step
        try:
            self.updater.optimizer.gather(saver.root)
            name = self.group.by_first(lambda: saver.write(state, self._files()).name)
        except checkpoint.CheckpointError as error:
            told = (state.step, _code(error))
            if self._unsaved != told:  # once, however often it is tried
                self._unsaved = told
                self._record.record(Alert("error", told[1], error.text, state.step))
            return error
        self._saved_step = state.step
        detail = {"path": name, "seconds": round(time.monotonic() - began, 3)}
        self._record.record(Mark("saved", state.step, detail))
        with contextlib.suppress(OSError):  # only a power cut would lose the records
            self._record.sync()
        return None

    def _files(self) -> dict[str, checkpoint.Content]:
        """The contents of a checkpoint of this moment."""
        state, job = self.state, self.job
        metadata = {
            **job.metadata,
            "objective": self.config.objective,
            "step": state.step,
            "steps": state.steps,
            "tokens": state.tokens,
            "validation_loss": state.validation_loss,
        }
        about = {"surroundings": asdict(job.surroundings), "config": self.config.to_dict()}
        return checkpoint_files(self.updater.optimizer, job.objective, state, about, metadata) | dict(
            job.tokenizer_files
        )

    def _leave(self, outcome: Literal["finished", "stopped"]) -> Verdict:
        """Save what was trained, waiting a while for room on the disk, and tell the end."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        error = self._save()
        step = self.state.step
        if error is not None:
            self._record.record(Note(_WAITING))
        while error is not None and self.group.of_first(time.monotonic() < deadline and not self._stop):
            time.sleep(1.0)
            error = self._save()
        if error is not None:
            return self._end(Verdict("failed", error.text, step))
        if outcome == "stopped":
            text = Text(f"stopped as asked after step {step}, and saved", f"已按要求在第 {step} 步后停止并保存")
        else:
            text = self.state.how_it_ended(by_reward=self.config.objective in REINFORCEMENT)
        return self._end(Verdict(outcome, text, step))

    def _end(self, verdict: Verdict) -> Verdict:
        self._record.record(Mark("ended", verdict.step, {"outcome": verdict.outcome}))
        return verdict
