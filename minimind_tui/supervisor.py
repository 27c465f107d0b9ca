"""The window's only door to training runs: it lists, starts, asks and deletes, through run directories alone.

Everything here may wait for a disk, so screens call it off the event loop (`asyncio.to_thread`). No torch.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from minimind import paths
from minimind.config import MODEL_PRESETS, TrainConfig
from minimind.errors import UserError
from minimind.events import Mark
from minimind.safe_text import clean_line
from minimind.training import launch
from minimind.training.about import change_about, change_tags, checked_name, read_about, set_note
from minimind.training.queue import Waiting, change_queue, dequeue, enqueue, waiting_runs
from minimind.training.recommend import recommended_config
from minimind.training.run_files import EVENTS
from minimind.training.run_filter import RunFilter
from minimind.training.runs import Glance, RunStatus, RunView, create_run, delete_run, list_runs, read_control, request
from minimind.training.tail import Tail

_SLICE = 256 << 10
_SCAN_BYTES = 1 << 20
"""Bytes of event files one poll looks through for best losses: about 60 ms of work, so that a window stays quick."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run as a row of a list: losses in nats per token, `share` of the work done in 0…1, `size` in bytes."""

    directory: Path
    name: str
    objective: str
    model: str
    status: RunStatus
    created: float
    step: int | None
    share: float | None
    eta_seconds: float | None
    loss: float | None
    best_loss: float | None
    reward: float | None
    size: int
    checkpoints: int
    newest: Path | None
    device: str
    tags: tuple[str, ...]
    note: str
    place: int | None
    """Its place in the queue, from 1; None where it does not wait."""
    fits: bool
    """Whether it fulfils the condition it was asked for with."""

    @property
    def id(self) -> str:
        """The run's id."""
        return self.directory.name


@dataclass(slots=True)
class _Best:
    """The lowest held-out loss in an event file and the device of the last start, found a slice at a time."""

    tail: Tail
    value: float | None = None
    device: str = ""

    def scan(self, limit: int) -> int:
        """Look through at most `limit` bytes more; returns how many bytes it may have read."""
        read = 0
        while read < limit:
            for record in self.tail.read(_SLICE):
                if record.get("kind") == Mark.kind:
                    self._take_mark(record.get("detail"))
                else:
                    self._take(record.get("values"))
            read += _SLICE
            if not self.tail.behind:
                break
        return read

    def _take_mark(self, detail: Any) -> None:
        device = detail.get("device") if isinstance(detail, dict) else None
        if isinstance(device, str):
            self.device = clean_line(device, 20)

    def _take(self, values: Any) -> None:
        value = values.get("validation_loss") if isinstance(values, dict) else None
        if isinstance(value, float) and math.isfinite(value) and (self.value is None or value < self.value):
            self.value = value


@dataclass(slots=True)
class _Followed:
    """What is remembered of a run between two polls, so that one at rest costs a stat."""

    view: RunView
    best: _Best
    stamp: tuple[int, int] = (-1, -1)
    glance: Glance = field(default_factory=lambda: Glance(None, None, {}))
    scanned: bool = False


class RunList:
    """All runs under a directory, polled from any thread."""

    def __init__(self, root: Path | None = None) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._names: frozenset[str] = frozenset()
        self._followed: dict[Path, _Followed] = {}

    @property
    def root(self) -> Path:
        """Where the runs are."""
        return self._root or paths.runs()

    def poll(self, condition: RunFilter | None = None) -> list[RunSummary]:
        """The runs as they are now, newest first; each knows whether it fulfils `condition`."""
        with self._lock:
            self._look_for_runs()
            budget = _SCAN_BYTES
            places = {waiting.directory: place for place, waiting in enumerate(waiting_runs(), 1)}
            summaries = []
            for directory, followed in self._followed.items():
                budget -= self._follow(directory, followed, budget)
                summaries.append(_summary(followed, condition or RunFilter(), places.get(directory)))
            return summaries

    def close(self) -> None:
        """Let go of the files, once a poll that is under way has ended."""
        with self._lock:
            for followed in self._followed.values():
                followed.best.tail.close()

    def _look_for_runs(self) -> None:
        try:
            names = frozenset(entry.name for entry in self.root.iterdir())
        except OSError:
            names = frozenset()
        unreadable = any(followed.view.problem for followed in self._followed.values())
        if names == self._names and not unreadable:
            return
        self._names = names
        before, self._followed = self._followed, {}
        for view in list_runs(self.root):
            known = before.pop(view.directory, None)
            if known is None or known.view.problem:
                known = _Followed(view, _Best(Tail(view.directory / EVENTS)))
            self._followed[view.directory] = known
        for gone in before.values():
            gone.best.tail.close()

    def _follow(self, directory: Path, followed: _Followed, budget: int) -> int:
        """Take in what changed; returns the bytes it looked through."""
        try:
            stat = (directory / EVENTS).stat()
            stamp = (stat.st_size, stat.st_mtime_ns)
        except OSError:
            return 0
        if stamp != followed.stamp:
            followed.stamp = stamp
            followed.glance = followed.view.glance()
            followed.scanned = False
        if followed.scanned or budget <= 0:
            return 0
        try:
            read = followed.best.scan(budget)
        except OSError:
            return 0
        followed.scanned = not followed.best.tail.behind
        return read


def _summary(followed: _Followed, condition: RunFilter, place: int | None) -> RunSummary:
    view, glance = followed.view, followed.glance
    status = view.status()
    config = None if view.problem else view.config
    checkpoints = view.checkpoints()
    about = view.about
    progress = glance.progress
    share = progress.done / progress.total if progress and progress.total else None
    return RunSummary(
        directory=view.directory,
        name=view.name,
        objective=config.method if config else "",
        model=model_title(config.model) if config else "",
        status=status,
        created=view.created,
        step=glance.step,
        share=1.0 if status.state == "finished" else None if share is None else min(1.0, max(0.0, share)),
        eta_seconds=glance.latest.get("eta_seconds") if status.state == "running" else None,
        loss=glance.latest.get("loss"),
        best_loss=followed.best.value,
        reward=glance.latest.get("reward"),
        size=max(0, followed.stamp[0]) + sum(checkpoint.size for checkpoint in checkpoints),
        checkpoints=len(checkpoints),
        newest=checkpoints[-1].path if checkpoints else None,
        device=followed.best.device or (config.device if config else ""),
        tags=about.tags,
        note=about.note,
        place=place,
        fits=condition.fits(view),
    )


def model_title(model: str) -> str:
    """A model as a person names it: a preset, ``<run> · step 100`` for a run's checkpoint, else the folder's name."""
    path = Path(model)
    if path.name.startswith("step-") and path.parent.name == "checkpoints":
        return f"{path.parent.parent.name} · step {path.name.removeprefix('step-').lstrip('0') or '0'}"
    return path.name or model


def start(config: TrainConfig, *, queue: bool = False) -> Path:
    """Make a run and start its trainer, or let it wait for its turn; returns the directory.

    Raises UserError; then no run is left behind.
    """
    parent = None if config.model in MODEL_PRESETS else config.model
    run = create_run(config, parent=parent, argv=("minimind-tui",))
    try:
        if queue:
            enqueue(run.directory)
        else:
            launch.launch(run.directory)
    except UserError:
        discard(run.directory)
        raise
    return run.directory


def fine_tune(model: Path) -> Path:
    """Start supervised fine-tuning of the checkpoint `model` on the embedded dialogues, with the settings recommended
    for it; returns the directory of the new run. Raises UserError.
    """
    return start(recommended_config("sft", {"model": str(model)}))


def discard(directory: Path) -> None:
    """Delete a run that never began; what refuses to go stays."""
    with contextlib.suppress(UserError):
        delete(directory)


def resume(directory: Path) -> None:
    """Start a run again from its newest checkpoint. Raises UserError."""
    launch.resume(directory)


def pause(directory: Path) -> None:
    """Ask a run to wait between two steps, its memory kept. Raises UserError."""
    request(directory, want="pause")


def unpause(directory: Path) -> None:
    """Ask a waiting run to go on. Raises UserError."""
    request(directory, want="run")


def save(directory: Path) -> None:
    """Ask a run for a checkpoint now. Raises UserError."""
    request(directory, save=True)


def learning_rate(directory: Path) -> float | None:
    """The peak of the learning rate that a run was asked to go on with; None where nobody asked."""
    return read_control(directory).learning_rate


def set_learning_rate(directory: Path, rate: float) -> None:
    """Ask a run to go on with another peak of its learning rate. Raises UserError."""
    request(directory, learning_rate=rate)


def stop(directory: Path, *, force: bool = False) -> None:
    """Ask a run to save and leave; with `force` end it at once. Raises UserError."""
    launch.stop(directory, force=force)


def toggle_queue(directory: Path, *, first: bool = False) -> int | None:
    """Let a run wait for its turn (with `first` as the next one), or no longer; returns its place. Raises UserError."""
    if dequeue(directory) and not first:
        return None
    return enqueue(directory, first=first)


def move_in_queue(directory: Path, places: int) -> None:
    """Move a waiting run by so many places towards the end of the queue (negative: its head). Raises UserError."""

    def move(entries: list[Waiting]) -> list[Waiting]:
        found = next((place for place, entry in enumerate(entries) if entry.directory == directory), None)
        if found is None:
            return entries
        rest = [entry for entry in entries if entry.directory != directory]
        rest.insert(max(0, found + places), entries[found])
        return rest

    change_queue(move)


def describe(directory: Path, name: str, tags: Sequence[str], note: str) -> None:
    """Give a run a name, tags and a note in place of those it has. Raises UserError; then what came before holds."""
    name = checked_name(name)
    before = read_about(directory)
    change_tags(directory, tags, set(before.tags) - set(tags))
    set_note(directory, note)
    change_about(directory, lambda about: replace(about, name=name))


def delete(directory: Path) -> None:
    """Delete a run with its checkpoints, for good. Raises UserError."""
    delete_run(directory)
