"""Checkpoint directories that survive a crash at any moment. No torch here and no pickle anywhere.

A run keeps ``checkpoints/step-000100/`` directories. Each holds plain files and a ``MANIFEST.json`` with the size and
sha256 of every one of them. A save writes aside and renames:

    free-space check → ``.tmp-PID-STEP/`` → each file written and fsynced → MANIFEST → fsync of the directory
    → rename → fsync of the parent → prune

so a directory with its final name is complete, and a reader trusts it only when the manifest matches. `latest` walks
from the newest to the first valid one; there is no pointer file that could tear. A failed fsync is never retried on
the same file (the kernel may have dropped the data): the whole save fails, the checkpoint before it stays.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from minimind.errors import UserError
from minimind.training.run_files import sync_directory

MANIFEST = "MANIFEST.json"
FORMAT = 1
_NAME = re.compile(r"step-(\d{6,})")
_TEMPORARY = ".tmp-"
_CHUNK = 1 << 20
_OVERHEAD = 1 << 16
"""Bytes reckoned for the manifest, directory entries and rounding to blocks."""

_LFS = b"version https://git-lfs"


Content = bytes | Path
"""What a file of a checkpoint holds: its bytes, or a file on the same disk that is moved there."""


class CheckpointError(UserError):
    """A checkpoint cannot be written or read; names the file and the reason."""


class NoRoomError(CheckpointError):
    """The disk, or the person's share of it, is too full for a checkpoint."""


def directory_for(root: Path, step: int) -> Path:
    """Where the checkpoint of `step` is under `root`."""
    return root / f"step-{step:06d}"


def step_of(directory: Path) -> int | None:
    """The step in a checkpoint directory's name; None for any other name."""
    match = _NAME.fullmatch(directory.name)
    return int(match[1]) if match else None


def steps(root: Path) -> list[int]:
    """The steps that have a checkpoint directory under `root`, valid or not, in ascending order."""
    try:
        found = [step_of(entry) for entry in root.iterdir()]
    except FileNotFoundError:
        return []
    return sorted(step for step in found if step is not None)


def write(root: Path, step: int, files: Mapping[str, Content], *, keep: int, protect: Collection[int] = ()) -> Path:
    """Save `files` (name → content) as the checkpoint of `step`; returns its directory.

    Afterwards the `keep` newest checkpoints and those of the steps in `protect` remain; later steps than `step` are
    dropped (a run that writes an earlier one went back because they were damaged). A valid checkpoint of the same step
    is left as it is. Raises CheckpointError (NoRoomError where space is the reason); the earlier checkpoints are
    intact then and nothing half-written is left.
    """
    final = directory_for(root, step)
    with _refusals(final):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(root)
        if final.exists():
            with contextlib.suppress(CheckpointError):
                validate(final)
                return final
            _remove(final)
        _place(root / f"{_TEMPORARY}{os.getpid()}-{step}", final, step, files)
    _prune(root, step, keep, protect)
    return final


def write_directory(final: Path, files: Mapping[str, Content], *, step: int) -> None:
    """Write `files` and a manifest into the new directory `final`, all or nothing: a model to be handed on.

    Raises CheckpointError where it exists already or cannot be written.
    """
    if final.exists():
        raise CheckpointError(
            f"{final}: exists already: remove it or name another directory", f"{final}：已存在：请先删除，或换一个目录"
        )
    with _refusals(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        _place(final.with_name(f".{final.name}.{os.getpid()}"), final, step, files)


def _place(temporary: Path, final: Path, step: int, files: Mapping[str, Content]) -> None:
    """Write a directory under a temporary name, durably, and give it its final name. Raises OSError, NoRoomError."""
    _demand_room(
        final.parent, sum(len(content) for content in files.values() if isinstance(content, bytes)) + _OVERHEAD
    )
    temporary.mkdir(0o700)
    try:
        _fill(temporary, step, files)
        temporary.rename(final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    sync_directory(final.parent)


def validate(directory: Path) -> dict[str, Any]:
    """Compare every file of a checkpoint with its manifest; returns the manifest.

    Raises CheckpointError that names the first file that is missing, cut, damaged or not what it should be.
    """
    manifest = _read_manifest(directory)
    for name, about in manifest["files"].items():
        path = directory / name
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                head = file.read(len(_LFS))
                file.seek(0)
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise _unreadable(path, error) from None
        if head == _LFS:
            raise CheckpointError(
                f"{path}: a Git LFS pointer, not the file itself: run `git lfs pull`",
                f"{path}：这是 Git LFS 指针，不是文件本身：请运行 `git lfs pull`",
            )
        if size != about["size"]:
            raise CheckpointError(
                f"{path}: {size} bytes, its manifest says {about['size']} (cut short?)",
                f"{path}：有 {size} 字节，清单记录为 {about['size']} 字节（文件不完整？）",
            )
        if digest != about["sha256"]:
            raise CheckpointError(
                f"{path}: the checksum differs: the file is damaged", f"{path}：校验和不符：文件已损坏"
            )
    return manifest


def latest(root: Path, problems: list[UserError] | None = None, *, up_to: int | None = None) -> Path | None:
    """The newest valid checkpoint under `root` (of at most step `up_to`), or None.

    What was wrong with newer ones is added to `problems`.
    """
    for step in reversed(steps(root)):
        if up_to is not None and step > up_to:
            continue
        directory = directory_for(root, step)
        try:
            validate(directory)
        except CheckpointError as error:
            if problems is not None:
                problems.append(error)
        else:
            return directory
    return None


def drop_after(directory: Path) -> None:
    """Remove the checkpoints of later steps than that of `directory`, the newest first.

    One that cannot be removed is dropped by the next `write`.
    """
    newest = step_of(directory)
    for step in reversed(steps(directory.parent)):
        if newest is not None and step > newest:
            _remove(directory_for(directory.parent, step))


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises CheckpointError for a missing, unreadable or malformed file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: not a JSON object: the file is damaged", f"{path}：不是 JSON 对象：文件已损坏")
    return data


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / MANIFEST
    manifest = read_json(path)
    files = manifest.get("files")
    well_formed = isinstance(files, dict) and all(
        isinstance(about, dict) and isinstance(about.get("size"), int) and isinstance(about.get("sha256"), str)
        for about in files.values()
    )
    if not isinstance(files, dict) or not well_formed or not all(Path(name).name == name for name in files):
        raise CheckpointError(f"{path}: not a manifest of ours", f"{path}：不是本项目的清单文件")
    return manifest


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    reason = error.strerror or type(error).__name__
    return CheckpointError(f"{path}: cannot be read: {reason}", f"{path}：无法读取：{reason}")


@contextlib.contextmanager
def _refusals(final: Path) -> Iterator[None]:
    """Turn what the operating system refuses into a CheckpointError that says the earlier ones are kept."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        raise (NoRoomError if full else CheckpointError)(
            f"{final}: the checkpoint could not be saved: {reason}; the earlier ones are kept"
            + (": free some space" if full else ""),
            f"{final}：检查点没有存成：{reason}；之前的检查点都还在" + ("：请腾出磁盘空间" if full else ""),
        ) from error


def _demand_room(root: Path, need: int) -> None:
    free = shutil.disk_usage(root).free
    if free < need:
        raise NoRoomError(
            f"no room for the checkpoint: it needs {need / 1e6:.1f} MB, {root} has {free / 1e6:.1f} MB free; "
            "the earlier ones are kept: free some space",
            f"磁盘空间不够存检查点：需要 {need / 1e6:.1f} MB，{root} 只剩 {free / 1e6:.1f} MB；"
            "之前的检查点都还在：请腾出磁盘空间",
        )


def _fill(directory: Path, step: int, files: Mapping[str, Content]) -> None:
    """Write `files` and their manifest into `directory`, durably; then look whether they arrived."""
    listed: dict[str, dict[str, Any]] = {}
    for name, content in files.items():
        path = directory / name
        if isinstance(content, bytes):
            _write_file(path, content)
            listed[name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        else:
            content.rename(path)
            listed[name] = _sync_file(path)
    manifest = {"format": FORMAT, "step": step, "files": listed}
    _write_file(directory / MANIFEST, json.dumps(manifest, indent=1).encode())
    sync_directory(directory)
    for name, about in listed.items():
        if (directory / name).stat().st_size != about["size"]:
            raise OSError(errno.EIO, "a file is shorter than what was written")


def _sync_file(path: Path) -> dict[str, Any]:
    """Wait until a file that another has written would survive a power cut; returns its line in the manifest."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"size": file.tell(), "sha256": digest}


def _write_file(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view[:_CHUNK]) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(root: Path) -> None:
    """Remove what killed saves left: the run's lock makes us the only writer."""
    for entry in root.iterdir():
        if entry.name.startswith(_TEMPORARY):
            shutil.rmtree(entry, ignore_errors=True)


def _prune(root: Path, newest: int, keep: int, protect: Collection[int]) -> None:
    """Drop the oldest beyond `keep`; one that cannot be removed is tried again at the next save."""
    found = steps(root)
    kept = {step for step in found if step <= newest}
    kept = set(sorted(kept)[-keep:]) | (kept & set(protect))
    for step in found:
        if step not in kept:
            _remove(directory_for(root, step))


def _remove(directory: Path) -> None:
    """Remove a checkpoint, as far as the system lets us; killed in between, nothing that looks like one remains."""
    aside = directory.with_name(f"{_TEMPORARY}gone-{directory.name}")
    with contextlib.suppress(OSError):
        directory.rename(aside)
        shutil.rmtree(aside)
