"""Follow a growing file of JSON lines without ever taking half a line for a whole one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from minimind.training.recorder import LINE_LIMIT
from minimind.training.run_files import open_to_read

SLICE = 4 << 20
"""Bytes read at most by one call: what keeps a screen responsive while it opens a long run."""


class Tail:
    """Reads the records that were appended since the last call.

    `bad` counts the lines that are not JSON objects. `replaced` counts how often the file was cut or exchanged, after
    which reading begins again at its start. `behind` tells whether there was more than one call may read.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor = -1
        self.path = path
        self.bad = 0
        self.replaced = 0
        self.behind = False
        self._position = 0
        self._rest = b""
        self._skipping = False

    def read(self, limit: int = SLICE) -> list[dict[str, Any]]:
        """The whole records among the next `limit` bytes. Raises OSError (not for a file that is not there yet)."""
        if self._descriptor < 0 and not self._open():
            return []
        size = os.fstat(self._descriptor).st_size
        if size < self._position or (size == self._position and self._exchanged()):
            self._start_again()
            if self._descriptor < 0:
                return []
            size = os.fstat(self._descriptor).st_size
        data = os.pread(self._descriptor, min(limit, size - self._position), self._position)
        self._position += len(data)
        self.behind = self._position < size
        return self._records(data)

    def close(self) -> None:
        """Let go of the file; the next read begins at its start."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor, self._position, self._rest, self._skipping = -1, 0, b"", False

    def __del__(self) -> None:
        self.close()

    def _open(self) -> bool:
        try:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        return True

    def _exchanged(self) -> bool:
        """Whether the name now belongs to another file."""
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return False
        held = os.fstat(self._descriptor)
        return (named.st_dev, named.st_ino) != (held.st_dev, held.st_ino)

    def _start_again(self) -> None:
        self.close()
        self.replaced += 1
        self._open()

    def _records(self, data: bytes) -> list[dict[str, Any]]:
        """The records that end in `data`; its last, unfinished line is kept for the next call."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        if self._skipping and lines:
            del lines[0]
            self._skipping = False
        if len(self._rest) > LINE_LIMIT:
            self.bad += not self._skipping
            self._rest, self._skipping = b"", True
        records = []
        for line in lines:
            if line:
                record = parse_line(line)
                if record is None:
                    self.bad += 1
                else:
                    records.append(record)
        return records


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The JSON object in `line`, or None where it does not hold one."""
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def last_records(path: Path, size: int, containing: bytes = b"") -> list[dict[str, Any]]:
    """The whole records within the last `size` bytes of the file, oldest first; none where it cannot be read.

    With `containing` only the lines that have these bytes in them are looked at.
    """
    try:
        with open_to_read(path) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - size))
            lines = file.read(size).split(b"\n")
    except OSError:
        return []
    whole = lines[:-1] if end <= size else lines[1:-1]
    records = (parse_line(line) for line in whole if containing in line)
    return [record for record in records if record is not None]
