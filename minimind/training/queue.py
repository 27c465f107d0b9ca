"""Runs that wait for their turn: one at a time on this machine, in order, without a daemon.

The queue is a file of run directories; whoever changes it holds its lock for that moment. As long as something waits a
*runner* (`queue_runner`) holds runner.lock, starts the first run once no run lives here, and leaves when nothing waits.
Nothing is lost and nothing started twice whatever is killed: an entry leaves the file only when its run has been
started (or can never be), a start is refused by the run's own lock where it lives, and a new runner is woken by the end
of any run, by ``minimind queue`` and ``minimind runs list``, and by whoever else calls `wake_runner` (an open window).

A paused run keeps its place on the device. No torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from minimind import paths
from minimind.errors import UserError
from minimind.training.companions import WAITING, module_command
from minimind.training.detach import start_detached
from minimind.training.launch import trainer_environment
from minimind.training.liveness import is_held, read_processes
from minimind.training.run_files import (
    PROCESSES,
    exists,
    finite_number,
    lock_is_held,
    read_json,
    take_lock,
    write_atomic,
)
from minimind.training.run_view import RunView

RUNNER_LOCK = "runner.lock"
_EDIT_LOCK = "waiting.lock"
_LOCK_PATIENCE = 5.0


class Waiting(NamedTuple):
    """A run that waits. `started` is the time of its last start when it was put here (0.0: never), so that a runner can
    tell whether another one has started it since.
    """

    directory: Path
    added: float
    started: float

    @property
    def was_started(self) -> bool:
        """Whether the run has been started since it was put here."""
        return _last_start(self.directory) != self.started


def waiting_runs() -> list[Waiting]:
    """The queue, first to be started first. What stands in a damaged file is left out."""
    listed = (read_json(paths.queue() / WAITING) or {}).get("runs")
    found = [_entry(item) for item in listed] if isinstance(listed, list) else []
    return [entry for entry in found if entry is not None]


def enqueue(run_directory: Path | str, *, first: bool = False) -> int:
    """Put a run at the end of the queue (or at its head) and see that a runner lives; returns its place, from 1.

    Raises UserError for what is no run, lives, is finished or waits already, and where the queue cannot be written.
    """
    view = RunView(run_directory)
    status = view.status()
    if not status.resumable:
        raise UserError(
            f"{view.id}: cannot wait for a start: {status.reason.en}", f"{view.id}：不能排队：{status.reason.zh}"
        )
    entry = Waiting(view.directory, time.time(), _last_start(view.directory))

    def add(entries: list[Waiting]) -> list[Waiting]:
        if any(one.directory == entry.directory for one in entries):
            raise UserError(f"{view.id}: waits already", f"{view.id}：已在队列中")
        return [entry, *entries] if first else [*entries, entry]

    entries = change_queue(add)
    wake_runner()
    return 1 + entries.index(entry)


def dequeue(run_directory: Path | str) -> bool:
    """Take a run out of the queue; False where it was not in it. The run itself stays as it is."""
    directory = Path(run_directory).absolute()
    before = len(waiting_runs())
    after = change_queue(lambda entries: [entry for entry in entries if entry.directory != directory])
    return len(after) < before


def clear_queue() -> int:
    """Take every run out of the queue; returns how many there were."""
    before = len(waiting_runs())
    change_queue(lambda _: [])
    return before


def change_queue(edit: Callable[[list[Waiting]], list[Waiting]]) -> list[Waiting]:
    """Replace the queue by `edit` of it, one writer at a time; returns what is now stored. Raises UserError."""
    folder = paths.queue()
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = take_lock(folder / _EDIT_LOCK, _LOCK_PATIENCE)
        if lock is None:
            raise TimeoutError(0, "another process keeps it locked")
        try:
            entries = edit(waiting_runs())
            _store(folder, entries)
            return entries
        finally:
            os.close(lock)
    except OSError as error:
        raise UserError(
            f"{folder}: the queue cannot be changed: {error.strerror}", f"{folder}：无法修改队列：{error.strerror}"
        ) from None


def _store(folder: Path, entries: list[Waiting]) -> None:
    """Write the queue; an empty one is no file, so that asking whether something waits is one stat(2)."""
    if entries:
        items = [entry._asdict() | {"directory": str(entry.directory)} for entry in entries]
        write_atomic(folder / WAITING, {"runs": items}, durable=True)
    else:
        (folder / WAITING).unlink(missing_ok=True)


def wake_runner() -> bool:
    """Start a runner where something waits and none lives; returns whether it did. Costs one stat(2) for an empty queue.

    Never raises: whoever calls it has something else to do.
    """
    folder = paths.queue()
    if not exists(folder / WAITING):
        return False
    try:
        if lock_is_held(folder / RUNNER_LOCK):
            return False
        start_detached(module_command("queue_runner"), trainer_environment(), folder / "log.txt")
    except OSError:
        return False
    return True


def busy_run() -> Path | None:
    """A run of this person that lives on this machine; None where there is none. Cheap: it only asks for locks."""
    try:
        entries = list(paths.runs().iterdir())
    except OSError:
        return None
    elsewhere = [entry.directory for entry in waiting_runs() if entry.directory.parent != paths.runs()]
    return next((entry for entry in (*entries, *elsewhere) if is_held(entry, read_processes(entry))), None)


def _last_start(directory: Path) -> float:
    return finite_number((read_json(directory / PROCESSES) or {}).get("started")) or 0.0


def _entry(item: Any) -> Waiting | None:
    if not isinstance(item, dict) or not isinstance(item.get("directory"), str):
        return None
    added, started = finite_number(item.get("added")), finite_number(item.get("started"))
    return Waiting(Path(item["directory"]), added or 0.0, started or 0.0)
