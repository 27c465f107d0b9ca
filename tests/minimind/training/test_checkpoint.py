"""Checkpoint directories: what a crash, a failing call, a full disk or a damaged file leaves behind."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minimind.errors import UserError
from minimind.training import checkpoint

FILES = {"model.safetensors": bytes(range(256)) * 40, "state.json": b'{"step": 1}', "config.json": b"{}" * 100}
CALLS = ("mkdir", "open", "write", "fsync", "rename")


def save(root: Path, step: int, keep: int = 2, **options: Any) -> Path:
    content = {name: data + str(step).encode() for name, data in FILES.items()}
    return checkpoint.write(root, step, content, keep=keep, **options)


def holds(directory: Path | None, step: int) -> bool:
    assert directory is not None
    checkpoint.validate(directory)
    return all((directory / name).read_bytes() == data + str(step).encode() for name, data in FILES.items())


class Calls:
    """Stands in for the file-system calls of `os`: logs each, and does something before the n-th."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, before: Callable[[int, str], None]) -> None:
        self.log: list[tuple[str, str]] = []
        self._names: dict[int, str] = {}
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name), before))

    def _wrap(self, name: str, real: Callable[..., Any], before: Callable[[int, str], None]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            target = arguments[0]
            path = self._names.get(target, "") if isinstance(target, int) else str(target)
            self.log.append((name, Path(path).name))
            before(len(self.log), name)
            result = real(*arguments, **options)
            if name == "open":
                self._names[result] = path
            return result

        return call


def test_round_trip_and_names(tmp_path: Path) -> None:
    directory = save(tmp_path, 100)
    assert directory.name == "step-000100"
    assert holds(checkpoint.latest(tmp_path), 100)
    assert checkpoint.step_of(directory) == 100
    assert checkpoint.step_of(tmp_path / "step-1") is None
    assert checkpoint.directory_for(tmp_path, 12_345_678).name == "step-12345678"
    assert {entry.name for entry in directory.iterdir()} == {*FILES, "MANIFEST.json"}
    assert directory.stat().st_mode & 0o777 == 0o700


def test_nothing_there(tmp_path: Path) -> None:
    assert checkpoint.steps(tmp_path / "none") == []
    assert checkpoint.latest(tmp_path / "none") is None


def test_prune_keeps_the_newest_and_the_protected(tmp_path: Path) -> None:
    for step in range(1, 7):
        save(tmp_path, step, keep=2, protect=(2,))
    assert checkpoint.steps(tmp_path) == [2, 5, 6]


def test_a_step_saved_again_is_left_alone_when_valid_and_replaced_when_not(tmp_path: Path) -> None:
    before = save(tmp_path, 5).stat().st_ino
    assert save(tmp_path, 5).stat().st_ino == before
    (tmp_path / "step-000005" / "state.json").write_bytes(b"x")
    save(tmp_path, 5)
    assert holds(checkpoint.latest(tmp_path), 5)


def test_going_back_drops_the_damaged_future(tmp_path: Path) -> None:
    save(tmp_path, 1)
    (save(tmp_path, 9) / "state.json").unlink()
    save(tmp_path, 2, keep=1)
    assert checkpoint.steps(tmp_path) == [2]


def test_killed_before_any_call_the_newest_valid_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory is copied before each call of a save: what a kill -9 there would leave."""
    root, copies = tmp_path / "root", tmp_path / "copies"
    save(root, 1)
    save(root, 2)
    copies.mkdir()
    busy = False

    def copy(number: int, _name: str) -> None:
        nonlocal busy
        if not busy:
            busy = True
            shutil.copytree(root, copies / str(number))
            busy = False

    with monkeypatch.context() as patch:
        calls = Calls(patch, copy)
        save(root, 3)
    states = sorted(copies.iterdir(), key=lambda path: int(path.name))
    assert len(states) >= 15
    found = []
    for state in states:
        newest = checkpoint.latest(state)
        assert newest is not None
        step = checkpoint.step_of(newest)
        assert step is not None
        assert holds(newest, step)
        found.append(step)
        save(state, 4)
        assert checkpoint.steps(state)[-1] == 4
        assert not list(state.glob(".tmp-*"))
    assert set(found) == {2, 3}
    assert found == sorted(found)
    assert ("rename", f".tmp-{os.getpid()}-3") in calls.log


def test_everything_is_synced_before_the_rename_and_the_parent_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        log = Calls(patch, lambda number, name: None).log
        save(tmp_path / "root", 1)
    rename = next(index for index, call in enumerate(log) if call[0] == "rename")
    temporary = log[rename][1]
    synced = [name for call, name in log[:rename] if call == "fsync"]
    assert synced == [*FILES, "MANIFEST.json", temporary]
    assert ("fsync", "root") in log[rename:]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_every_call_failing_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The n-th call fails, n = 1, 2, … until a save no longer reaches it; the checkpoints before are never touched."""
    nth, failures = 0, 0
    while True:
        nth += 1
        root = tmp_path / str(nth)
        save(root, 1)

        def fail(count: int, name: str, nth: int = nth) -> None:
            if count == nth:
                raise OSError(number, os.strerror(number))

        error: checkpoint.CheckpointError | None = None
        with monkeypatch.context() as patch:
            log = Calls(patch, fail).log
            try:
                save(root, 2)
            except checkpoint.CheckpointError as raised:
                error = raised
        if len(log) < nth:
            break
        if error is None:  # making a root that is there already
            assert holds(checkpoint.latest(root), 2)
            continue
        failures += 1
        assert os.strerror(number) in error.text.en
        assert isinstance(error, checkpoint.NoRoomError) == (number in {errno.ENOSPC, errno.EDQUOT})
        newest = checkpoint.latest(root)
        assert holds(checkpoint.directory_for(root, 1), 1)
        assert newest is not None
        assert not list(root.glob(".tmp-*"))
        save(root, 3)
        assert holds(checkpoint.latest(root), 3)
    assert failures >= 14


SAVER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from minimind.training import checkpoint
step = (checkpoint.steps(Path(sys.argv[1])) or [0])[-1]
print("ready", flush=True)
while True:
    step += 1
    checkpoint.write(Path(sys.argv[1]), step, {"model": bytes([step % 256]) * 300_000, "state": b"{}"}, keep=2)
"""


def test_random_kills_while_saving(tmp_path: Path) -> None:
    chance = random.Random(7)
    before = 0
    for _ in range(10):
        child = subprocess.Popen(
            [sys.executable, "-c", SAVER, str(tmp_path), str(Path(checkpoint.__file__).parents[2])],
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        child.stdout.readline()
        while checkpoint.steps(tmp_path)[-1:] <= [before]:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.05)
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        newest = checkpoint.latest(tmp_path)
        assert newest is not None
        after = checkpoint.step_of(newest)
        assert after is not None
        assert after > before
        before = after


def damages() -> Iterator[tuple[str, Callable[[Path], object]]]:
    chance = random.Random(3)

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)

    def cut(path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: chance.randrange(len(data))])

    yield from ((f"flip{number}", flip) for number in range(12))
    yield from ((f"cut{number}", cut) for number in range(12))
    yield "missing", lambda path: path.unlink()
    yield "empty", lambda path: path.write_bytes(b"")
    yield "longer", lambda path: path.write_bytes(path.read_bytes() + b"x")
    yield "LFS", lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    yield "directory", lambda path: (path.unlink(), path.mkdir())
    yield "loop", lambda path: (path.unlink(), path.symlink_to(path))


@pytest.mark.parametrize("name", [*FILES, "MANIFEST.json"])
def test_a_damaged_one_is_passed_over(tmp_path: Path, name: str) -> None:
    save(tmp_path, 1)
    for label, damage in damages():
        damage(save(tmp_path, 2) / name)
        problems: list[UserError] = []
        newest = checkpoint.latest(tmp_path, problems)
        harmless = name == "MANIFEST.json" and newest == checkpoint.directory_for(tmp_path, 2)
        if not harmless:  # a flipped bit in a manifest's white space changes nothing
            assert holds(newest, 1), label
            accused = name if name != "MANIFEST.json" else "step-000002"  # a wrong manifest accuses any file
            assert accused in problems[0].text.en, label
            assert accused in problems[0].text.zh, label
        if label == "LFS" and name != "MANIFEST.json":
            assert "git lfs pull" in problems[0].text.en
        shutil.rmtree(tmp_path / "step-000002")


@pytest.mark.parametrize(
    "files", [None, [], {"../state.json": {"size": 1, "sha256": ""}}, {"a": {"size": "1"}}, {"a": 3}]
)
def test_a_manifest_that_is_none(tmp_path: Path, files: object) -> None:
    directory = save(tmp_path, 1)
    (directory / "MANIFEST.json").write_text(json.dumps({"files": files}))
    with pytest.raises(checkpoint.CheckpointError, match="not a manifest"):
        checkpoint.validate(directory)


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)
    free = shutil._ntuple_diskusage(10**6, 10**6 - 5000, 5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(checkpoint.NoRoomError, match=r"needs 0\.1 MB.*has 0\.0 MB free"):
        save(tmp_path, 2)
    assert checkpoint.steps(tmp_path) == [1]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB, where the system lets us mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    big = {"model": os.urandom(600_000)}
    checkpoint.write(small_disk, 1, big, keep=2)
    with pytest.raises(checkpoint.NoRoomError, match="no room"):
        checkpoint.write(small_disk, 2, big, keep=2)
    monkeypatch.setattr(checkpoint, "_demand_room", lambda root, need: None)
    with pytest.raises(checkpoint.NoRoomError, match="No space left"):
        checkpoint.write(small_disk, 2, big, keep=2)
    assert checkpoint.latest(small_disk) == checkpoint.directory_for(small_disk, 1)
    assert [entry.name for entry in small_disk.iterdir()] == ["step-000001"]


def test_a_directory_to_hand_on_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    final = tmp_path / "new" / "model"
    checkpoint.write_directory(final, FILES, step=7)
    assert checkpoint.validate(final)["step"] == 7
    with pytest.raises(checkpoint.CheckpointError, match="exists already"):
        checkpoint.write_directory(final, FILES, step=7)

    def fail(count: int, name: str) -> None:
        if name == "fsync":
            raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        Calls(patch, fail)
        with pytest.raises(checkpoint.CheckpointError, match="broken"):
            checkpoint.write_directory(tmp_path / "new" / "other", FILES, step=7)
    assert [entry.name for entry in (tmp_path / "new").iterdir()] == ["model"]
