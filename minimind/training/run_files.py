"""The files of a run directory, and how they are written so that no reader ever sees half of one.

Standard library only and light: the shim imports this without site-packages.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

RUN = "run.json"
EVENTS = "events.jsonl"
LOCK = "run.lock"
CONTROL = "control.json"
CONTROL_LOCK = "control.lock"
PROCESSES = "proc.json"
LOG = "log.txt"
NOTIFY_LOG = "notify.log"
FINAL = "final.json"
EXIT = "exit.json"
CHECKPOINTS = "checkpoints"
ABOUT = "about.json"
ABOUT_LOCK = "about.lock"

RUN_VARIABLE = "MINIMIND_RUN_DIRECTORY"
"""The environment variable by which a trainer and all its descendants can be told: their run's resolved directory."""

OUT_OF_MEMORY_CODE = 12
"""Exit status of a trainer that ran out of memory and said so itself."""

JSON_LIMIT = 4 << 20
"""Largest JSON file read whole, in bytes; a bigger one is not ours."""


def write_atomic(path: Path, data: Mapping[str, Any], *, durable: bool = False) -> None:
    """Replace `path` by `data` as JSON: a reader sees the old file or the new one. Raises OSError.

    `durable` also waits until it would survive a power cut; the file's owner alone may read it.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    encoded = json.dumps(data, ensure_ascii=False, indent=1).encode("utf-8", "replace")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(encoded)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Wait until the names in `directory` would survive a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_to_read(path: Path) -> BinaryIO:
    """Open a file that may be anything: a named pipe in a copied directory must not hang its reader. Raises OSError."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")


def exists(path: Path) -> bool:
    """Whether there is something at `path`; False where that cannot be told (no permission, an impossible name)."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`; None where there is no such file or it does not hold one."""
    try:
        with open_to_read(path) as file:
            raw = file.read(JSON_LIMIT + 1)
        data = json.loads(raw) if len(raw) <= JSON_LIMIT else None
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def whole_number(value: Any) -> int | None:
    """`value` where it is an integer, else None: what stands in a file is not to be trusted."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def finite_number(value: Any) -> float | None:
    """`value` as a float where it is a finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def take_lock(path: Path, patience: float) -> int | None:
    """An open descriptor that holds `path` exclusively, or None if somebody else kept it for `patience` seconds.

    Readers who ask whether the lock is held hold it themselves for microseconds, hence the patience.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                return None
            time.sleep(0.02)
        except OSError:
            os.close(descriptor)
            raise


def lock_is_held(path: Path) -> bool:
    """Whether a process holds `path` exclusively. Raises OSError where the file system knows no locks."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
