"""THE loop: update, record, evaluate, save; obey a person's wishes; end in good order whatever happens."""

from __future__ import annotations

import contextlib
import math
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from minimind.errors import UserError
from minimind.events import Alert, Event, Mark, Note, Progress, Scalars, Text
from minimind.hardware import memory_in_use
from minimind.training import checkpoint
from minimind.training.acceleration import COMPILING
from minimind.training.control import Control
from minimind.training.evaluate import samples
from minimind.training.job import Job
from minimind.training.state import State, checkpoint_files, restore
from minimind.training.update import Update, Updater

MOST_NOT_FINITE = 3
"""Updates in a row that may be left out because a loss or a gradient is no number."""

_PAUSE_SECONDS = 0.05
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
        self._checkpoints = checkpoints
        validation = job.objective.validation(job.data.validation, job.config)
        self._held_out = [batch.to(job.precision.device) for batch in validation]
        self._stop = False
        self._saves_seen = 0
        self._saved_step = -1
        self._unsaved: tuple[int, str] | None = None
        self._recent: deque[Update] = deque(maxlen=_WINDOW)
        self._began = self._progress_at = time.monotonic()
        self._first_step = 0
        self._earlier_seconds = 0.0

    def resume(self, directory: Path) -> None:
        """Go on from the checkpoint in `directory`. Raises UserError where it is damaged or another model's."""
        self.state, about = restore(directory, self.updater.optimizer, self.job.objective)
        self.updater.seek(self.state.position)
        if self.state.learning_rate is not None:
            self.updater.optimizer.peak = self.state.learning_rate
        self._saved_step = self._first_step = self.state.step
        self._earlier_seconds = self.state.seconds
        differences = self.job.surroundings.differences(about.get("surroundings", {}))
        if differences is not None:
            self._record.record(Alert("warning", "other-conditions", differences, self.state.step))

    def stop(self) -> None:
        """Save and leave after the present step."""
        self._stop = True

    def run(self) -> Verdict:
        """Train until all steps are done or a wish to stop comes. Whatever the end, the last good checkpoint stays."""
        state = self.state
        details = {"steps": state.steps, "parameters": self.job.model.parameter_count()}
        self._record.record(Mark("started", state.step, details | asdict(self.job.surroundings)))
        if self.updater.compile(state.steps - state.step):
            self._record.record(Progress(state.step, state.steps, COMPILING))
        self._began = time.monotonic()
        try:
            if state.step == 0:
                self._evaluate()
                self._sample()
            while state.step < state.steps:
                if not self._obey():
                    return self._leave("stopped")
                self._advance()
                if self.config.patience is not None and state.no_better >= self.config.patience:
                    break
            return self._leave("finished")
        except _Diverged as error:
            self._record.record(Alert("error", "not-finite", error.text, state.step))
            return self._end(Verdict("failed", error.text, state.step))

    def _advance(self) -> None:
        """One update, and what is due after it."""
        state = self.state
        update = self.updater.update(state.step, state.steps)
        state.step += 1
        state.tokens += update.tokens
        state.position = update.position
        state.seconds = self._earlier_seconds + time.monotonic() - self._began
        self._recent.append(update)
        self._record_update(update)
        for event in self.job.objective.events(state.step):
            self._record.record(event)
        if not update.overflowed:
            self._guard(update)
        if self._due(self.config.evaluate_every):
            self._evaluate()
        if self._due(self.config.sample_every):
            self._sample()
        if state.step % self.config.save_every == 0 and state.step < state.steps:
            self._save()

    def _due(self, every: int) -> bool:
        return self.state.step % every == 0 or self.state.step == self.state.steps

    def _record_update(self, update: Update) -> None:
        state, now = self.state, time.monotonic()
        spent = sum(recent.seconds for recent in self._recent)
        a_step = (now - self._began) / (state.step - self._first_step)
        values = {
            **update.scalars,
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

    def _guard(self, update: Update) -> None:
        """Count updates that were left out; give up after a few in a row."""
        state = self.state
        state.not_finite = 0 if update.applied else state.not_finite + 1
        if update.applied:
            return
        loss, norm = update.scalars.get("loss", math.nan), update.gradient_norm
        where = f"step {state.step}, loss {loss:g}, gradient norm {norm:g}, learning rate {update.learning_rate:g}"
        place = f"epoch {update.position.epoch}, window {update.position.window}, row {update.position.row}"
        if state.not_finite >= MOST_NOT_FINITE:
            raise _Diverged(
                Text(
                    f"{state.not_finite} updates in a row were not finite ({where}; data up to {place}): the last good "
                    "checkpoint is kept; try a lower learning_rate, a smaller clip or dtype float32",
                    f"连续 {state.not_finite} 次更新出现非有限数（{where}；数据读到 {place}）：最后一个正常的检查点还在；"
                    "请调低 learning_rate、减小 clip，或改用 dtype float32",
                )
            )
        text = Text(f"an update was not finite and is left out ({where})", f"有一次更新出现非有限数，已跳过（{where}）")
        self._record.record(Alert("warning", "not-finite", text, state.step))

    def _evaluate(self) -> None:
        """Measure the held-out loss."""
        state = self.state
        with self.updater.optimizer.averaged():
            values = self.group.by_first(lambda: self.job.objective.evaluate(self.updater.working, self._held_out))
        self._record.record(Scalars(state.step, values))
        state.evaluated(values["validation_loss"])
        if self.config.patience is not None and state.no_better == 0 and state.step > 0:
            self._save()  # training may end long after its best

    def _sample(self) -> None:
        """Let the model write, so that a person can see what the loss means."""
        if not self.group.first:
            return
        model, objective = self.updater.optimizer.model, self.job.objective
        with self.updater.optimizer.averaged():
            for sample in samples(model, self.job.tokenizer, objective, self.state.step, length=SAMPLE_TOKENS):
                self._record.record(sample)

    def _obey(self) -> bool:
        """Do what is wished between two steps; returns whether to go on."""
        control = self._heed()
        if control.want == "pause":
            self._record.record(Mark("paused", self.state.step))
            paused = time.monotonic()
            while control.want == "pause":
                time.sleep(_PAUSE_SECONDS)
                control = self._heed()
            self._began += time.monotonic() - paused
            self._record.record(Mark("resumed", self.state.step))
        return control.want != "stop"

    def _heed(self) -> Control:
        """Read the wishes (also to `stop`); save and change the learning rate where that is wished."""
        control = self.group.agree(self._record.control(), self._stop)
        if control.save > self._saves_seen:
            self._saves_seen = control.save
            self._save()
        if control.learning_rate is not None and control.learning_rate != self.state.learning_rate:
            self.state.learning_rate = self.updater.optimizer.peak = control.learning_rate
            self._record.record(Mark("control", self.state.step, {"learning_rate": control.learning_rate}))
        return control

    def _save(self) -> UserError | None:
        """Write a checkpoint; where that fails the run goes on, and the reason is recorded and returned.

        Raises _Diverged rather than save weights that are no numbers.
        """
        state = self.state
        root = self._checkpoints
        if root is None or self._saved_step == state.step:
            return None
        if not self.updater.optimizer.finite():
            raise _Diverged(
                Text(
                    f"the weights are no longer finite at step {state.step}: they are not saved, the last good checkpoint "
                    "is kept; try a lower learning_rate",
                    f"第 {state.step} 步的权重已出现非有限数：不予保存，最后一个正常的检查点还在；请调低 learning_rate",
                )
            )
        began = time.monotonic()
        if state.validation_step == state.step and (state.validation_loss or math.inf) < (state.best_loss or math.inf):
            state.best_loss, state.best_step = state.validation_loss, state.step
        try:
            name = self.group.by_first(lambda: self._write(root))
        except checkpoint.CheckpointError as error:
            code = "disk-full" if isinstance(error, checkpoint.NoRoomError) else "save-failed"
            if self._unsaved != (state.step, code):  # once, however often it is tried
                self._unsaved = (state.step, code)
                self._record.record(Alert("error", code, error.text, state.step))
            return error
        self._saved_step = state.step
        detail = {"path": name, "seconds": round(time.monotonic() - began, 3)}
        self._record.record(Mark("saved", state.step, detail))
        with contextlib.suppress(OSError):  # only a power cut would lose the records
            self._record.sync()
        return None

    def _write(self, root: Path) -> str:
        """Write a checkpoint of this moment under `root`; returns its name."""
        keep, protect = self.config.keep_checkpoints, (self.state.best_step,)
        return checkpoint.write(root, self.state.step, self._files(), keep=keep, protect=protect).name

    def _files(self) -> dict[str, bytes]:
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
        step, deadline = self.state.step, time.monotonic() + PATIENCE_SECONDS
        error = self._save()
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
            text = self.state.how_it_ended()
        return self._end(Verdict(outcome, text, step))

    def _end(self, verdict: Verdict) -> Verdict:
        self._record.record(Mark("ended", verdict.step, {"outcome": verdict.outcome}))
        return verdict
