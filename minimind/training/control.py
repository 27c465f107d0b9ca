"""What a person wants of a run: one small file of desired state with a sequence number.

Desired state, not messages: writing it twice is harmless, and it may be written before the trainer listens.
Standard library only and light: the shim imports this without site-packages.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from minimind.training.run_files import (
    CONTROL,
    CONTROL_LOCK,
    finite_number,
    read_json,
    take_lock,
    whole_number,
    write_atomic,
)

Want = Literal["run", "pause", "stop"]
WANTS: tuple[Want, ...] = get_args(Want)

_LOCK_PATIENCE = 5.0
_RECENT_NANOSECONDS = 100_000_000


class Control(NamedTuple):
    """The desired state of a run.

    `sequence` grows with every change; `save` counts the requests to save since the run's last start;
    `learning_rate` replaces the configured peak; `force` (only with want = "stop") ends the trainer without grace;
    `go_on` counts the requests to go on that came while want was "run": they are for a run that paused by itself.
    """

    sequence: int = 0
    want: Want = "run"
    save: int = 0
    learning_rate: float | None = None
    force: bool = False
    go_on: int = 0


def parse_control(data: dict[str, Any] | None) -> Control | None:
    """The Control in the JSON object `data`, or None where it is not one."""
    if data is None:
        return None
    sequence, save = whole_number(data.get("sequence")), whole_number(data.get("save"))
    want = next((known for known in WANTS if known == data.get("want")), None)
    if sequence is None or save is None or want is None:
        return None
    force, go_on = data.get("force") is True, whole_number(data.get("go_on")) or 0
    return Control(sequence, want, save, finite_number(data.get("learning_rate")), force, go_on)


def read_control(directory: Path) -> Control:
    """The desired state of the run in `directory`; the default one where nothing valid is stored."""
    return parse_control(read_json(directory / CONTROL)) or Control()


def change_control(directory: Path, edit: Callable[[Control], Control]) -> Control:
    """Replace the desired state by `edit` of it, one writer at a time; returns what is now stored.

    The sequence number grows by one if `edit` changed anything. Raises OSError (TimeoutError when another writer
    keeps the lock).
    """
    lock = take_lock(directory / CONTROL_LOCK, _LOCK_PATIENCE)
    if lock is None:
        raise TimeoutError(f"{directory / CONTROL_LOCK} is held by another process")
    try:
        before = read_control(directory)
        after = edit(before)
        if after == before:
            return before
        after = after._replace(sequence=before.sequence + 1)
        write_atomic(directory / CONTROL, after._asdict())
        return after
    finally:
        os.close(lock)


class ControlReader:
    """Follows the desired state for one stat(2) a poll."""

    def __init__(self, directory: Path) -> None:
        self._path = str(directory / CONTROL)
        self._directory = directory
        self._seen: tuple[int, int, int] | None = None
        self._control = Control()

    def poll(self) -> Control:
        """The desired state now; the last valid one while the file is missing or damaged."""
        try:
            stat = os.stat(self._path)  # noqa: PTH116 (a Path costs more than the call itself)
        except OSError:
            return self._control
        key = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        if key == self._seen:
            return self._control
        control = parse_control(read_json(self._directory / CONTROL))
        if control is not None:
            self._control = control
        # Two replacements within a tick of the file system's clock may look alike: believe only an older one.
        if abs(time.time_ns() - stat.st_mtime_ns) > _RECENT_NANOSECONDS:
            self._seen = key
        return self._control
