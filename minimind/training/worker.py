"""The process that trains a run: ``python -m minimind.training.worker RUNDIR``, or one of several under torchrun.

Reads run.json, goes on from the run's newest valid checkpoint if it has one, records Events, obeys control.json, and
leaves a verdict in final.json whatever happens. SIGTERM and SIGINT mean: save and leave.

Exit status: 0 finished or stopped, 2 something the person can put right, 12 out of memory, 1 a fault of ours, 13
another process of the run was lost. One of several leaves with 0 wherever it has told its verdict, unless torchrun
should let all of them begin again.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from minimind import paths
from minimind.errors import UserError
from minimind.events import Alert, Note, Progress, Text
from minimind.hardware import is_out_of_memory, keep_freed_memory, wait_without_spinning
from minimind.safe_text import clean_line
from minimind.training import checkpoint
from minimind.training.changes import (
    FIXED,
    Difference,
    approved,
    binding,
    data_differences,
    described,
    differences,
    refuse,
)
from minimind.training.group import Group, StoppedEarly
from minimind.training.recorder import Bystander, Recorder
from minimind.training.run_files import CHECKPOINTS, FINAL, OUT_OF_MEMORY_CODE, read_json
from minimind.training.run_view import RunView

if TYPE_CHECKING:  # torch takes seconds: signals must find their handler before it is loaded
    from minimind.training.job import Job
    from minimind.training.loop import Trainer, Verdict

_ALLOW_CHANGES = "--allow-changes"
_PROGRESS_SECONDS = 0.2
_FAULT_OF_OURS, _FAILED, _LOST = 1, 2, 13


class Worker:
    """One start of one run."""

    def __init__(self, directory: Path, recorder: Recorder | Bystander, *, allow_changes: bool = False) -> None:
        self._allow_changes = allow_changes
        self.group = Group()
        self._directory = directory
        self._recorder = recorder
        self._told_to_stop = False
        self._reported = 0.0
        self._trainer: Trainer | None = None

    @property
    def step(self) -> int:
        """Optimiser steps done."""
        return self._trainer.state.step if self._trainer is not None else 0

    @property
    def parts(self) -> int:
        """Into how many pieces each micro-batch was cut to fit into memory."""
        return self._trainer.updater.parts if self._trainer is not None else 1

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Save and leave at the next step."""
        self._told_to_stop = True
        if self._trainer is not None:
            self._trainer.stop()

    def train(self) -> Verdict:
        """Prepare, resume if there is something to resume, and train."""
        self._tell(Text("loading torch", "正在加载 torch"))
        from minimind.training.distributed import join
        from minimind.training.estimate import planned_steps
        from minimind.training.loop import Trainer
        from minimind.training.prepare import build_job

        view = RunView(self._directory)
        config = view.config
        group = self.group = join(config.device, config.process_timeout)
        self._tell_of_restart(config.restarts)
        found = group.by_first(self._newest_checkpoint)
        start = Path(found) if found is not None else None
        job, notes = group.in_turn(
            lambda: build_job(
                config,
                cache=paths.cache() / "tokens",
                start=start,
                progress=self._on_progress,
                tell=self._tell,
                group=group,
            )
        )
        for note in notes:
            self._recorder.record(Note(note))
        changes = self._changes(view, job, start) if start is not None else []
        steps = 1 if start is not None else planned_steps(job)
        trainer = Trainer(job, self._recorder, self._directory / CHECKPOINTS, steps=steps)
        if start is not None:
            trainer.resume(start)
            adopt(changes, trainer)
        self._trainer = trainer
        if self._told_to_stop:
            trainer.stop()
        group.begin()
        verdict = trainer.run()
        group.leave()
        return verdict

    def _changes(self, view: RunView, job: Job, start: Path) -> list[Difference]:
        """What differs from the settings and data of the checkpoint in `start`; told where it is allowed.

        Raises UserError where it is not.
        """
        from minimind.training.state import STATE

        about = checkpoint.read_json(start / STATE)
        config, now = job.config.to_dict(), job.surroundings.data
        changes = differences(about.get("config", config), config)
        changes += data_differences(view.request, about.get("surroundings", {}).get("data", now), now)
        asked_for = [change for change in changes if not approved(view.request, change)]
        refuse([*asked_for, *(change for change in changes if change.name in FIXED)], allowed=self._allow_changes)
        listed = described(binding(changes))
        if listed.en:
            text = Text(f"goes on with changes: {listed.en}", f"带着改动继续：{listed.zh}")
            self._recorder.record(Alert("warning", "changed", text))
        return changes

    def _tell_of_restart(self, most: int) -> None:
        """Where torchrun has let the processes begin again, say so and forget how the time before ended."""
        count = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
        if count and self.group.first:
            (self._directory / FINAL).unlink(missing_ok=True)
            text = Text(
                f"a process was lost: all of them begin again from the last checkpoint ({count} of at most {most} times)",
                f"有进程丢失：全部进程从最近的检查点重新开始（第 {count} 次，最多 {most} 次）",
            )
            self._recorder.record(Alert("warning", "started-again", text))

    def actual(self) -> dict[str, float]:
        """What the run took, all its starts together, to be compared with what was predicted."""
        if self._trainer is None:
            return {}
        from minimind.hardware import peak_memory

        state = self._trainer.state
        return {
            "seconds": state.seconds,
            "tokens": state.tokens,
            "peak_memory_bytes": peak_memory(self._trainer.job.precision.device),
        }

    def _newest_checkpoint(self) -> str | None:
        """The newest valid checkpoint of the run; damaged ones are reported."""
        problems: list[UserError] = []
        found = checkpoint.latest(self._directory / CHECKPOINTS, problems)
        for problem in problems:
            self._recorder.record(Alert("warning", "damaged-checkpoint", problem.text))
        return None if found is None else str(found)

    def _tell(self, text: Text) -> None:
        """Report work whose end cannot be foreseen."""
        self._recorder.record(Progress(0, None, text))

    def _on_progress(self, done: int, total: int | None) -> None:
        """Report the tokenising, now and then. Raises StoppedEarly where a wish to stop has come."""
        if self._told_to_stop or self._recorder.control().want == "stop":
            raise StoppedEarly
        now = time.monotonic()
        if now - self._reported >= _PROGRESS_SECONDS or done == total:
            self._reported = now
            self._recorder.record(Progress(done, total, Text("tokenising the data", "正在分词")))


def adopt(changes: list[Difference], trainer: Trainer) -> None:
    """Let what was changed take the place of what the checkpoint says of it: how many steps, the learning rate."""
    from minimind.training.estimate import planned_steps

    names = {change.name for change in changes}
    if names & {"steps", "minutes", "epochs"}:
        trainer.state.steps = planned_steps(trainer.job)
    if "learning_rate" in names:
        trainer.state.learning_rate, trainer.state.guards.rate_share = None, 1.0
        trainer.updater.optimizer.peak = trainer.config.learning_rate


def run(directory: Path, *, allow_changes: bool = False) -> int:
    """Train the run in `directory` and return the exit status; the verdict is in its final.json then."""
    first = os.environ.get("RANK", "0") == "0"
    with Recorder(directory) if first else Bystander(directory) as recorder:
        worker = Worker(directory, recorder, allow_changes=allow_changes)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, worker.on_signal)
        verdict, code = _verdict_of(worker, directory)
        said = read_json(directory / FINAL) if code == _LOST else None
        if said is not None:  # the process that is gone has said why: that stands
            return _LOST if said.get("lost") else 0
        if verdict.outcome in ("failed", "out-of-memory"):
            recorder.record(Alert("error", verdict.outcome, verdict.text, verdict.step))
            sys.stderr.write(verdict.text.en + "\n")
        recorder.finish(
            {
                "outcome": verdict.outcome,
                "text": {"en": verdict.text.en, "zh": verdict.text.zh},
                "step": verdict.step,
                "actual": worker.actual(),
                **({"lost": True} if code == _LOST else {}),
            }
        )
    return 0 if worker.group.size > 1 and code in (_FAILED, OUT_OF_MEMORY_CODE) else code


def _verdict_of(worker: Worker, directory: Path) -> tuple[Verdict, int]:
    """Train; returns the verdict and the exit status, whatever was raised."""
    from minimind.training.distributed import LostProcess
    from minimind.training.loop import Verdict

    try:
        verdict = worker.train()
        return verdict, 0 if verdict.outcome in ("finished", "stopped") else _FAILED
    except StoppedEarly:
        text = Text("stopped as asked before the first step", "已按要求在第一步之前停止")
        return Verdict("stopped", text, 0), 0
    except LostProcess as error:
        return Verdict("failed", error.text, worker.step), _LOST
    except UserError as error:
        return Verdict("failed", error.text, worker.step), _FAILED
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            advice = _memory_advice(directory, error, worker.parts)
            return Verdict("out-of-memory", advice, worker.step), OUT_OF_MEMORY_CODE
        return _fault(error, worker.step), _FAULT_OF_OURS
    except Exception as error:
        return _fault(error, worker.step), _FAULT_OF_OURS


def _fault(error: Exception, step: int) -> Verdict:
    """The verdict on an error nobody foresaw; its traceback goes into the log."""
    from minimind.training.loop import Verdict

    traceback.print_exception(error)
    what = clean_line(f"{type(error).__name__}: {error}", 300)
    text = Text(f"a fault of ours: {what} (the traceback is in log.txt)", f"程序自身出错：{what}（完整信息见 log.txt）")
    return Verdict("failed", text, step)


def _memory_advice(directory: Path, error: BaseException, parts: int) -> Text:
    """What did not fit, and settings with the same global batch that need less at a time.

    `parts` is into how many pieces the micro-batches had been cut by then.
    """
    said = clean_line(str(error).partition("\n")[0], 200)
    config = RunView(directory).config
    batch, accumulation = config.batch_size, config.accumulation_steps
    if batch > parts:
        halves = batch // 2
        more = -(-batch * accumulation // halves)
        change = f"batch_size {batch} → {halves}, accumulation_steps {accumulation} → {more}"
    else:
        change = f"sequence_length {config.sequence_length} → {max(config.sequence_length // 2, 2)}"
    return Text(
        f"not enough memory ({said}): start a new run with {change}",
        f"内存（显存）不足（{said}）：请新建一次训练并改为 {change}",
    )


def main(arguments: list[str]) -> int:
    """The command line: one run directory."""
    directories = [argument for argument in arguments if argument != _ALLOW_CHANGES]
    if len(directories) != 1:
        sys.stderr.write(f"usage: python -m minimind.training.worker RUNDIR [{_ALLOW_CHANGES}]\n")
        return _FAILED
    keep_freed_memory()
    wait_without_spinning()
    try:
        return run(Path(directories[0]), allow_changes=_ALLOW_CHANGES in arguments)
    except OSError as error:
        sys.stderr.write(f"{clean_line(str(error), 300)}\n")
        return _FAULT_OF_OURS


def leave(code: int) -> NoReturn:
    """End this process. One of several leaves at once: a group that lost a process may keep it waiting at its end."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
