"""The files of a data set while they grow: appended in order, with a journal from which a killed process is followed.

Beside the files stands ``journal.json``: how far the sources have been read and how long each file was then. Whoever
goes on cuts the files to those lengths, so that the result is the same to the byte as without the interruption.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minimind.data.chunks import DataKind, Encoded

PARTS = ("train", "validation")
_JOURNAL, _LOCK = "journal.json", "lock"
_COMMIT_SECONDS = 1.0
"""How much work a kill costs at most, beside the parts under way."""


@dataclass(slots=True)
class Progress:
    """How far a data set has been built: `source` is the number of the one being read, `done` how much of it.

    `done` counts bytes of a JSON-lines file and documents of anything else; `documents` those it has given so far;
    `report` is what was found in it (see `report_data`), `notes` what a person should know about earlier sources.
    `lengths` are the tokens, and `counts` the documents, of each part.
    """

    source: int = 0
    done: int = 0
    documents: int = 0
    report: dict[str, Any] | None = None
    notes: list[dict[str, str]] = field(default_factory=list)
    lengths: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))


class Builder:
    """The growing files in `directory`, opened where the last commit left them. Close it, or use it as a context."""

    def __init__(self, directory: Path, kind: DataKind) -> None:
        """Raises OSError where they cannot be written."""
        self._directory = directory
        names = ("tokens", "offsets") if kind == "pretrain" else ("tokens", "offsets", "mask")
        self._files: dict[str, BinaryIO] = {}
        self.progress, sizes = self._read_journal([f"{part}/{name}.bin" for part in PARTS for name in names])
        with contextlib.ExitStack() as stack:
            for name, size in sizes.items():
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context((directory / name).open("ab"))
                file.truncate(size)
                self._files[name] = file
                if size == 0 and name.endswith("offsets.bin"):
                    file.write(np.int64(0).tobytes())
            self._open_files = stack.pop_all()
        self._committed = time.monotonic()

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, *_: object) -> None:
        self._open_files.close()

    def _read_journal(self, names: list[str]) -> tuple[Progress, dict[str, int]]:
        """What the last commit said; a beginning where there was none, or the files are shorter than it says."""
        try:
            journal = json.loads((self._directory / _JOURNAL).read_text(encoding="utf-8"))
            sizes = {name: int(journal["files"][name]) for name in names}
            if all((self._directory / name).stat().st_size >= size for name, size in sizes.items()):
                return Progress(**journal["progress"]), sizes
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return Progress(), dict.fromkeys(names, 0)

    def append(self, encoded: Encoded) -> None:
        """Add documents, each to its part, in their order."""
        in_validation = np.repeat(encoded.held_out, encoded.lengths)
        for part, documents, ids in (
            ("train", ~encoded.held_out, ~in_validation),
            ("validation", encoded.held_out, in_validation),
        ):
            lengths = encoded.lengths[documents]
            ends = self.progress.lengths[part] + np.cumsum(lengths)
            self._files[f"{part}/tokens.bin"].write(encoded.tokens[ids].tobytes())
            self._files[f"{part}/offsets.bin"].write(ends.astype(np.int64).tobytes())
            if encoded.mask is not None:
                self._files[f"{part}/mask.bin"].write(encoded.mask[ids].tobytes())
            self.progress.lengths[part] += int(lengths.sum())
            self.progress.counts[part] += len(lengths)

    def commit(self, *, now: bool = False) -> None:
        """Make what was appended, and `progress`, what a later start goes on from; at most once a second unless `now`."""
        if not now and time.monotonic() - self._committed < _COMMIT_SECONDS:
            return
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        sizes = {name: file.tell() for name, file in self._files.items()}
        write_json(self._directory / _JOURNAL, {"progress": asdict(self.progress), "files": sizes})
        self._committed = time.monotonic()

    def finish(self) -> dict[str, int]:
        """Flush, forget the journal; returns the size of each file by name."""
        self.commit(now=True)
        for path in self._directory.iterdir():
            if path.is_file() and path.name != _LOCK:
                path.unlink()
        return {name: file.tell() for name, file in self._files.items()}


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write `data` so that a reader finds all of it or what was there before."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    aside.replace(path)


@contextlib.contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Wait until no other process builds in `directory`, and keep others out; a killed one's hold ends with it."""
    while True:
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / _LOCK).open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if (directory / _LOCK).stat().st_ino == os.fstat(file.fileno()).st_ino:
                    yield
                    return
        # Whoever held the lock has moved or removed the directory since: there is another one to be alone in.


def unlock(directory: Path) -> None:
    """Remove the lock from a directory that is finished and stands in its final place."""
    (directory / _LOCK).unlink(missing_ok=True)
