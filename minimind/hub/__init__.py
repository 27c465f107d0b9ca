"""Released models and data sets by their short names: found, fetched in a child process, kept, and found again.

Nothing here needs torch or opens a connection by itself. `download` runs `minimind.hub.child`, because the clients of
the hubs read their settings when they are imported and touch the terminal; what happens comes back as Events.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from minimind import paths
from minimind.errors import UserError
from minimind.events import Event, from_dict
from minimind.hub.names import MODELS, Wanted, find

AUTOMATIC = "auto"


def folder_of(wanted: Wanted) -> Path:
    """Where a model's files, or the files of the data sets, are kept."""
    return paths.models() / wanted.name if wanted.kind == "model" else paths.datasets()


def downloaded_model(name: str) -> Path | None:
    """The folder of a model that was downloaded, by any of its names; None where it is not here."""
    try:
        wanted = find(name)
    except UserError:
        return None
    folder = folder_of(wanted)
    return folder if wanted.kind == "model" and _has_weights(folder) else None


def is_released(name: str) -> bool:
    """Whether `name` is one of a released model, which could be downloaded."""
    try:
        return find(name).name in MODELS
    except UserError:
        return False


def downloaded_models() -> tuple[str, ...]:
    """Names of the models that were downloaded."""
    root = paths.models()
    found = [entry.name for entry in root.iterdir() if _has_weights(entry)] if root.is_dir() else []
    return tuple(sorted(found))


def downloaded_dataset(name: str) -> Path | None:
    """The file of a data set that was downloaded, by any of its names; None where it is not here."""
    try:
        wanted = find(name)
    except UserError:
        return None
    path = folder_of(wanted) / wanted.files[0] if wanted.kind == "dataset" else None
    return path if path is not None and path.is_file() else None


def _has_weights(folder: Path) -> bool:
    return folder.is_dir() and any(entry.suffix in {".safetensors", ".pth", ".bin"} for entry in folder.iterdir())


def download(name: str, files: Sequence[str] = (), *, source: str = AUTOMATIC) -> Iterator[Event]:
    """Fetch `name` (or only `files` of its repository) and tell what happens: Progress in bytes, Notes.

    `source` is huggingface, modelscope, or auto: the first that answers. Closing the iterator stops the child; what has
    arrived is kept, and the next call goes on from there. Raises UserError for whatever goes wrong.
    """
    find(name)
    command = [sys.executable, "-m", "minimind.hub.child", "--from", source, "--", name, *files]
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8"
    )
    try:
        for line in child.stdout or ():
            record = _record(line)
            if "error" in record:
                raise UserError(record["error"]["en"], record["error"]["zh"])
            event = from_dict(record)
            if event is not None:
                yield event
        if child.wait() != 0:
            raise UserError(
                f"the download of {name} was ended from outside; what has arrived is kept: run it again",
                f"{name} 的下载被外部终止；已下载的部分保留，再次运行即可继续",
            )
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


def _record(line: str) -> dict[str, dict[str, str]]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


__all__ = [
    "AUTOMATIC",
    "MODELS",
    "download",
    "downloaded_dataset",
    "downloaded_model",
    "downloaded_models",
    "find",
    "folder_of",
    "is_released",
]
