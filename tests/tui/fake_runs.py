"""Run directories without a training: made by the real `create_run` and written by the real `Recorder`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minimind.config import TrainConfig
from minimind.events import Alert, Mark, Progress, Sample, Scalars, Text
from minimind.training.processes import identify
from minimind.training.run_files import LOCK, LOG, PROCESSES, take_lock, write_atomic
from minimind.training.runs import Recorder, create_run


def scalars(step: int, total: int = 100) -> Scalars:
    """What a trainer records at a step: the loss falls as 1 + 6 / step."""
    values: dict[str, float] = {
        "loss": 1.0 + 6.0 / step,
        "learning_rate": 3e-3 * step / total,
        "gradient_norm": 0.5,
        "tokens_per_second": 12_000.0,
        "memory_bytes": 310e6,
        "tokens": step * 4096.0,
        "eta_seconds": (total - step) * 0.5,
        "epoch": step / total,
    }
    if step % 10 == 0:
        values["validation_loss"] = 1.2 + 6.0 / step
    return Scalars(step, values)


def make_run(
    *,
    steps: int = 0,
    total: int = 100,
    root: Path | None = None,
    config: TrainConfig | None = None,
    verdict: dict[str, Any] | None = None,
    checkpoints: tuple[int, ...] = (),
    log: str = "",
    name: str | None = None,
) -> Path:
    """A run that has gone through `steps` steps; with `verdict` it has ended."""
    run = create_run(config or TrainConfig(steps=total), root=root, name=name, argv=("test",))
    recorder = Recorder(run.directory)
    if steps:
        recorder.record(Mark("started", 0))
    for step in range(1, steps + 1):
        recorder.record(scalars(step, total))
        if step % 50 == 0:
            recorder.record(Sample(step, "Once upon a time", f" there was a fox at step {step}.", "story"))
            recorder.record(Sample(step, "从前", f"，有一只狐狸，第 {step} 步。", "故事"))
    if steps:
        recorder.record(Progress(steps, total))
    (run.directory / LOG).write_text(log, encoding="utf-8")
    for step in checkpoints:
        make_checkpoint(run.directory, step)
    if verdict is None:
        recorder.close()
    else:
        recorder.finish(verdict)
    return run.directory


def make_checkpoint(run: Path, step: int) -> Path:
    """A folder that looks like a checkpoint to a list (nothing can be loaded from it)."""
    directory = run / "checkpoints" / f"step-{step:06d}"
    directory.mkdir(parents=True)
    (directory / "MANIFEST.json").write_text("{}", encoding="utf-8")
    (directory / "model.safetensors").write_bytes(b"x" * 1_000_000)
    return directory


def hostile_run(root: Path | None = None) -> Path:
    """A run whose samples, alerts, log and name try to drive the terminal and the markup parser."""
    evil = "\x1b]52;c;aGk=\x07\x9b31m[/][@click=app.bell]press[/]\u202e\x1b[2J"
    directory = make_run(
        steps=60, root=root, verdict={"outcome": "failed", "text": {"en": evil, "zh": evil}}, log=evil + "\n"
    )
    with Recorder(directory) as recorder:
        recorder.record(Sample(60, f"prompt{evil}", f"sample{evil}", f"name{evil}"))
        recorder.record(Alert("error", "evil", Text(f"alert{evil}", f"警告{evil}"), 60))
    return directory


@contextmanager
def alive(directory: Path) -> Iterator[None]:
    """Hold the run's lock and be named as its processes, as its shim and its trainer do and are."""
    lock = take_lock(directory / LOCK, 1.0)
    assert lock is not None
    me = identify(os.getpid())._asdict()
    write_atomic(directory / PROCESSES, {"shim": me, "trainer": me, "lock_reliable": True})
    try:
        yield
    finally:
        os.close(lock)
