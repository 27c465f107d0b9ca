"""The writer's side of a run: events out, wishes in."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from minimind.events import Alert, Event, Text, to_json
from minimind.training.control import Control, ControlReader
from minimind.training.run_files import EVENTS, FINAL, write_atomic

LINE_LIMIT = 8 << 20
"""Longest record in bytes; a longer one is refused by the writer and skipped by the reader."""

_PENDING_LIMIT = 1000


class Bystander:
    """What stands in for the `Recorder` in the processes of a run after the first: it records nothing, and no wishes."""

    def __init__(self, run_directory: Path | str) -> None:
        self.directory = Path(run_directory)

    def record(self, event: Event) -> None:
        """Leave it to the first process."""

    def control(self) -> Control:
        """No wishes: the first process tells them."""
        return Control()

    def sync(self) -> None:
        """Nothing was written."""

    def finish(self, verdict: Mapping[str, Any]) -> None:
        """Write a failure that nobody else has told: the first process may not know of it. Raises OSError."""
        if verdict["outcome"] not in ("finished", "stopped") and not (self.directory / FINAL).exists():
            write_atomic(self.directory / FINAL, {**verdict, "time": time.time()}, durable=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


class Recorder:
    """Appends Events to a run's events.jsonl and reads what is wanted of the run. One a run, in the trainer.

    Every record is one write(2), so that whatever kills the process cannot tear more than the line being written.
    A full disk does not end the training: up to 1,000 records wait in memory for room, older ones are counted in
    `lost`, and an Alert says so once there is room again.
    """

    def __init__(self, run_directory: Path | str) -> None:
        self.directory = Path(run_directory)
        self.lost = 0
        self._reported = 0
        self._pending: deque[bytes] = deque()
        self._began = time.monotonic()
        self._control = ControlReader(self.directory)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self.directory / EVENTS, flags, 0o600)
        size = os.fstat(self._descriptor).st_size
        # A writer that was killed on a full disk may have left half a line: it is ended before ours begins.
        self._torn = size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def record(self, event: Event) -> None:
        """Append `event` with the seconds since this start (`t`) and the Unix time; never raises OSError."""
        line = self._line(event)
        if len(line) > LINE_LIMIT:
            self.lost += 1
        else:
            self._pending.append(line)
        self._flush()
        while len(self._pending) > _PENDING_LIMIT:
            self._pending.popleft()
            self.lost += 1

    def control(self) -> Control:
        """What is wanted of the run now; one stat(2) when nothing changed."""
        return self._control.poll()

    def finish(self, verdict: Mapping[str, Any]) -> None:
        """Write the trainer's own verdict, durably, and close. Raises OSError when even that has no room.

        `verdict` holds ``outcome`` ("finished", "stopped", "failed" or "out-of-memory"), and may hold ``text``
        ({"en": …, "zh": …}: why), ``step`` and whatever else is worth keeping.
        """
        self._flush()
        lost = {"lost_records": self.lost + len(self._pending)} if self.lost or self._pending else {}
        self.close()
        write_atomic(self.directory / FINAL, {**verdict, **lost, "time": time.time()}, durable=True)

    def sync(self) -> None:
        """Wait until the records written so far would survive a power cut (done with every checkpoint)."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close the file; nothing can be recorded afterwards."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _line(self, event: Event) -> bytes:
        seconds = round(time.monotonic() - self._began, 3)
        return to_json(event, t=seconds, time=round(time.time(), 3)).encode("utf-8", "replace") + b"\n"

    def _append(self, line: bytes) -> bool:
        """Write `line`; False if it is to be tried again."""
        whole = b"\n" + line if self._torn else line
        try:
            written = os.write(self._descriptor, whole)
        except OSError:
            return False
        missing = len(whole) - written
        if missing:
            # A disk that fills up takes part of a line. The part is ended later, and the line then written again,
            # unless nothing but its newline is missing (or nothing but the earlier part's newline was written).
            self._torn = not (self._torn and written == 1)
            return missing == 1
        self._torn = False
        return True

    def _flush(self) -> None:
        """Write what waits, in order, as far as there is room."""
        while self._pending:
            if not self._append(self._pending[0]):
                return
            self._pending.popleft()
        if self.lost > self._reported:
            text = Text(
                f"{self.lost} records were lost while they could not be written (disk full?)",
                f"有 {self.lost} 条记录因写不进磁盘（空间已满？）而丢失",
            )
            if self._append(self._line(Alert("warning", "records-lost", text))):
                self._reported = self.lost
