"""Training on a real file system that is full, read-only, or limited to small files; where the system lets us make one."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from minimind.events import Alert, Mark
from minimind.training import checkpoint, loop
from minimind.training.control import Control
from tests.minimind.training.listening import Listener, MakeTrainer, assert_same, weights

MEGABYTE = 1 << 20


def mount(*arguments: str) -> bool:
    if shutil.which("mount") is None:
        return False
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mount("-t", "tmpfs", "-o", "size=12m", "tmpfs", str(place)):
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(loop, "_FIRST_RETRY_SECONDS", 0.0)
    monkeypatch.setattr(loop, "_LAST_RETRY_SECONDS", 0.0)


def paused(listener: Listener) -> list[tuple[str, int]]:
    return [
        (event.detail["reason"], event.step)
        for event in listener.events
        if isinstance(event, Mark) and event.what == "paused"
    ]


def test_a_full_disk_pauses_the_run_until_somebody_makes_room(make_trainer: MakeTrainer, disk: Path) -> None:
    """And what comes out is what comes out on a disk with room, bit for bit."""
    trainer, listener = make_trainer(disk / "checkpoints", keep_checkpoints=2)
    ballast, looks = disk / "ballast", 0

    def wish(step: int) -> Control:
        nonlocal looks
        if step == 5 and not ballast.exists() and looks == 0:
            free = shutil.disk_usage(disk).free
            ballast.write_bytes(bytes(free - MEGABYTE // 2))
        if paused(listener):
            looks += 1
            if looks == 4:
                ballast.unlink()
        return Control()

    listener.wish = wish
    assert trainer.run().outcome == "finished"
    assert paused(listener) == [("disk-full", 10)]
    assert listener.marks("saved") == [0, 5, 10, 12]
    assert [event.code for event in listener.events if isinstance(event, Alert)] == ["disk-full"]
    assert checkpoint.steps(disk / "checkpoints") == [10, 12]
    undisturbed, _ = make_trainer()
    undisturbed.run()
    assert_same(weights(trainer), weights(undisturbed))


def test_a_disk_that_becomes_read_only(make_trainer: MakeTrainer, disk: Path) -> None:
    trainer, listener = make_trainer(disk / "checkpoints")
    looks = 0

    def wish(step: int) -> Control:
        nonlocal looks
        if step == 6 and not looks:
            looks = 1
            assert mount("-o", "remount,ro", str(disk))
        if paused(listener):
            looks += 1
            if looks == 4:
                assert checkpoint.latest(disk / "checkpoints") == disk / "checkpoints" / "step-000005"
                assert mount("-o", "remount,rw", str(disk))
        return Control()

    listener.wish = wish
    assert trainer.run().outcome == "finished"
    assert paused(listener) == [("save-failed", 10)]
    (alert,) = (event for event in listener.events if isinstance(event, Alert))
    assert "Read-only" in alert.text.en
    assert listener.marks("saved") == [0, 5, 10, 12]


def test_a_limit_on_the_size_of_files(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Nothing half-written stays, the run pauses, and goes on without saving when a person wants that."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    trainer, listener = make_trainer(tmp_path, save_every=4)

    def wish(step: int) -> Control:
        limited = 3 <= step < 9
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000 if limited else before[0], before[1]))
        return Control(go_on=len(paused(listener)))

    listener.wish = wish
    try:
        assert trainer.run().outcome == "finished"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert paused(listener) == [("save-failed", 4), ("save-failed", 8)]
    assert listener.marks("saved") == [0, 12]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["step-000000", "step-000012"]
