"""Runs: made, listed, found, deleted, asked for things. The one module a screen needs besides `launch`.

A run is a directory (the contract is in CONTRIBUTING.md); nothing here knows torch, and nothing runs in between: what
a reader sees is always a function of the files and of the kernel's answer to "who holds the lock?".
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from minimind import __version__, paths
from minimind.config import MODEL_PRESETS, TrainConfig
from minimind.errors import UserError
from minimind.safe_text import clean_line
from minimind.training.about import About, change_tags, checked_name, rename_run, set_note
from minimind.training.control import WANTS, Control, Want, change_control, read_control
from minimind.training.prediction import Outcome, kept_prediction, outcomes
from minimind.training.processes import host_name
from minimind.training.recorder import Recorder
from minimind.training.run_events import TimedEvent
from minimind.training.run_files import EVENTS, LOCK, RUN, exists, open_to_read, read_json, take_lock, write_atomic
from minimind.training.run_filter import RunFilter, parse_filter
from minimind.training.run_status import LIVE_STATES, RESUMABLE_STATES, STATE_NAMES, RunStatus, State, status_of
from minimind.training.run_view import FORMAT, CheckpointFile, Glance, RunView
from minimind.training.series import Series

__all__ = [
    "LIVE_STATES",
    "RESUMABLE_STATES",
    "STATE_NAMES",
    "About",
    "CheckpointFile",
    "Control",
    "Glance",
    "NoSuchRun",
    "Outcome",
    "Recorder",
    "Run",
    "RunFilter",
    "RunStatus",
    "RunView",
    "Series",
    "State",
    "TimedEvent",
    "Want",
    "change_tags",
    "create_run",
    "delete_run",
    "find_run",
    "list_runs",
    "outcomes",
    "parse_filter",
    "read_control",
    "rename_run",
    "request",
    "set_note",
    "status_of",
]

_DELETED = ".deleted-"
_EDGE = 64 << 10


@dataclass(frozen=True, slots=True)
class Run:
    """The identity of a run."""

    id: str
    directory: Path
    config: TrainConfig


def create_run(
    config: TrainConfig,
    *,
    name: str | None = None,
    root: Path | None = None,
    parent: str | None = None,
    model: Mapping[str, Any] | None = None,
    argv: Sequence[str] | None = None,
) -> Run:
    """Make the directory of a new run under `root` (default: the person's runs) and write run.json once.

    `parent` names the run or checkpoint it starts from, `model` the architecture where `config.model` alone does not
    tell it, `argv` the command a person gave. Raises UserError where the directory cannot be made.
    """
    root = root or paths.runs()
    name = checked_name(name)
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory = new_directory(root, config.method)
        write_atomic(
            directory / RUN,
            {
                "format": FORMAT,
                "id": directory.name,
                "name": name,
                "created": time.time(),
                "parent": parent,
                "config": config.to_dict(),
                "model": dict(model) if model is not None else _model_of(config.model),
                "seed": config.seed,
                "prediction": kept_prediction(config),
                "data": [fingerprint(source) for source in config.data],
                "versions": _versions(),
                "host": host_name(),
                "working_directory": str(Path.cwd()),
                "argv": list(sys.argv if argv is None else argv),
            },
            durable=True,
        )
    except OSError as error:
        raise UserError(
            f"{root}: no run can be made there: {error.strerror}; free it, or set MINIMIND_HOME to a place you can write to",
            f"{root}：无法在此新建训练：{error.strerror}；请排除这个问题，或把 MINIMIND_HOME 设为可写的位置",
        ) from None
    return Run(directory.name, directory, config)


def request(
    run_directory: Path | str,
    *,
    want: Want | None = None,
    save: bool = False,
    learning_rate: float | None = None,
    force: bool = False,
) -> int:
    """Change what is wanted of a run; returns the sequence number. Repeating a wish is harmless.

    want="run" ends a pause, also one that the run made by itself because it could not save.

    `save` asks for one more checkpoint, `learning_rate` replaces the peak, `force` (with want="stop") ends the trainer
    without grace. Raises UserError for a wish that is not one, for a run that is already told to stop, and where it
    cannot be written.
    """
    directory = Path(run_directory)
    if want is not None and want not in WANTS:
        raise UserError(
            f"want = {want!r} is not allowed: use run, pause or stop",
            f"want = {want!r} 不可用：请用 run、pause 或 stop",
        )
    if learning_rate is not None and not 0.0 <= learning_rate <= 10.0:
        raise UserError(
            f"learning_rate = {learning_rate:g} is not allowed: use 0…10",
            f"learning_rate = {learning_rate:g} 不可用：请用 0…10",
        )

    def edit(control: Control) -> Control:
        if control.want == "stop" and want in ("run", "pause"):
            raise UserError(
                "it is already told to stop: wait for its end, then resume it",
                "它已被要求停止：请等它结束后再恢复",
            )
        return control._replace(
            want=want or control.want,
            save=control.save + save,
            learning_rate=control.learning_rate if learning_rate is None else learning_rate,
            force=control.force or (force and want == "stop"),
            go_on=control.go_on + (want == control.want == "run"),
        )

    try:
        return change_control(directory, edit).sequence
    except OSError as error:
        raise UserError(
            f"{directory}: the wish cannot be written: {error.strerror or error}",
            f"{directory}：无法写入请求：{error.strerror or error}",
        ) from None


def list_runs(root: Path | None = None) -> list[RunView]:
    """All runs under `root` (default: the person's runs), newest first. An unreadable one has a `problem`."""
    root = root or paths.runs()
    try:
        entries = list(root.iterdir())
    except OSError:
        return []
    views = [RunView(entry, strict=False) for entry in entries if not entry.name.startswith(".") and _is_run(entry)]
    return sorted(views, key=lambda view: (view.created, view.id), reverse=True)


class NoSuchRun(UserError):
    """No run is called that."""


def find_run(text: str, root: Path | None = None) -> Path:
    """The directory of the run meant by `text`: its id, its name, the beginning or the last part of its id, a path,
    or ``last``. Raises NoSuchRun when none fits, UserError when several do.
    """
    root = root or paths.runs()
    if text and (os.sep in text or text in (".", "..")):
        directory = Path(text).expanduser()
        RunView(directory)
        return directory.absolute()
    views = list_runs(root)
    shown = clean_line(text, 80)
    if not views:
        raise NoSuchRun(f"{shown}: there are no runs in {root} yet", f"{shown}：{root} 里还没有训练")
    if text == "last":
        return views[0].directory
    for fits in (
        [view for view in views if text in (view.id, view.name)],
        [view for view in views if view.id.startswith(text) or view.id.rpartition("-")[2] == text],
    ):
        if not text:
            break
        if len(fits) == 1:
            return fits[0].directory
        if fits:
            some = ", ".join(view.id for view in fits[:5]) + (", …" if len(fits) > 5 else "")
            raise UserError(
                f"{shown} fits {len(fits)} runs ({some}): write more of the id",
                f"{shown} 对应 {len(fits)} 个训练（{some}）：请把编号写完整些",
            )
    raise NoSuchRun(
        f"{shown}: no such run in {root} (minimind runs list shows them)",
        f"{shown}：{root} 里没有这个训练（minimind runs list 可列出）",
    )


def delete_run(run_directory: Path | str, *, take_over: bool = False) -> None:
    """Delete a run with its checkpoints, for good. Raises UserError for one that lives or that is not a run, and for
    one started on another machine unless `take_over`.
    """
    directory = Path(run_directory).absolute()
    if not (directory.parent == paths.runs() and _is_run(directory)):
        RunView(directory)  # outside the person's runs only what is certainly one is deleted
    status = status_of(directory)
    if status.state == "elsewhere" and not take_over:
        raise UserError(
            f"{directory.name}: not deleted, {status.reason.en}: take it over if that machine is gone",
            f"{directory.name}：没有删除，{status.reason.zh}：若那台机器已不在，可以接管",
        )
    if status.live:
        raise UserError(
            f"{directory.name}: not deleted, it is running ({status.reason.en}): stop it first",
            f"{directory.name}：没有删除，它正在运行（{status.reason.zh}）：请先停止它",
        )
    try:
        lock = take_lock(directory / LOCK, 0.5)
        if lock is None:
            raise UserError(
                f"{directory.name}: not deleted, it has just been started",
                f"{directory.name}：没有删除，它刚刚被启动",
            )
        try:
            # Renamed first: it disappears at once and as a whole, whatever interrupts the deleting.
            aside = directory.with_name(f"{_DELETED}{directory.name}")
            directory.rename(aside)
            shutil.rmtree(aside)
        finally:
            os.close(lock)
    except OSError as error:
        raise UserError(
            f"{directory}: cannot be deleted: {error.strerror}", f"{directory}：无法删除：{error.strerror}"
        ) from None


def _is_run(directory: Path) -> bool:
    """Whether `directory` is, or was meant to be, a run: one being made has none of these files yet."""
    return any(exists(directory / name) for name in (RUN, EVENTS, LOCK))


def new_directory(root: Path, method: str) -> Path:
    """Make a directory whose name nobody else has: who makes it owns the name. Raises OSError."""
    while True:
        directory = root / f"{date.today().isoformat()}-{method}-{secrets.token_hex(2)}"
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return directory


def _model_of(model: str) -> dict[str, Any] | None:
    """The architecture behind a preset's name or in a checkpoint's config.json; None where neither tells."""
    if model in MODEL_PRESETS:
        return MODEL_PRESETS[model].to_dict()
    return read_json(Path(model) / "config.json")


def _versions() -> dict[str, str]:
    versions = {"minimind-tui": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for package in ("torch", "numpy", "tokenizers", "safetensors"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def fingerprint(source: str) -> dict[str, Any]:
    """What tells later whether a data file is still the same: size, time, and a hash of its first and last 64 KiB."""
    path = Path(source).expanduser()
    try:
        with open_to_read(path) as file:
            digest = hashlib.sha256(file.read(_EDGE))
            stat = os.fstat(file.fileno())
            file.seek(max(0, stat.st_size - _EDGE))
            digest.update(file.read(_EDGE))
    except (OSError, ValueError):
        return {"source": source}
    return {
        "source": source,
        "path": str(path.absolute()),
        "size": stat.st_size,
        "modified": stat.st_mtime,
        "edges_sha256": digest.hexdigest(),
    }
