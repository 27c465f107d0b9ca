"""Wishes: numbered, none lost between two writers, none taken from a damaged file, cheap to follow."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from minimind.errors import UserError
from minimind.training import control as control_module
from minimind.training.control import Control, ControlReader, parse_control, read_control
from minimind.training.runs import Recorder, request


def test_wishes_are_numbered_and_kept(run_directory: Path) -> None:
    assert read_control(run_directory) == Control()
    assert request(run_directory, want="pause") == 1
    assert request(run_directory, want="pause") == 1
    assert request(run_directory, save=True) == 2
    assert request(run_directory, learning_rate=1e-4) == 3
    assert request(run_directory, want="run") == 4
    assert read_control(run_directory) == Control(4, "run", 1, 1e-4)
    assert (run_directory / "control.json").stat().st_mode & 0o777 == 0o600


def test_to_go_on_is_counted_where_nobody_asked_for_a_pause(run_directory: Path) -> None:
    """It is meant for a run that paused by itself; to end a pause it need not be counted."""
    request(run_directory, want="pause")
    request(run_directory, want="run")
    assert read_control(run_directory).go_on == 0
    request(run_directory, want="run")
    assert read_control(run_directory) == Control(3, "run", go_on=1)


def test_a_stop_is_not_taken_back(run_directory: Path) -> None:
    request(run_directory, want="stop")
    for want in ("run", "pause"):
        with pytest.raises(UserError, match="already told to stop"):
            request(run_directory, want=want)
    assert request(run_directory, want="stop", force=True) == 2
    assert read_control(run_directory).force


@pytest.mark.parametrize(
    "wish",
    [
        {"want": "fly"},
        {"learning_rate": -1.0},
        {"learning_rate": 11.0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
    ],
)
def test_an_impossible_wish_is_refused(run_directory: Path, wish: dict[str, object]) -> None:
    with pytest.raises(UserError, match="not allowed"):
        request(run_directory, **wish)  # type: ignore[arg-type]
    assert not (run_directory / "control.json").exists()


def test_a_wish_that_cannot_be_written_is_told(run_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="cannot be written: No such file"):
        request(run_directory / "gone", want="stop")
    monkeypatch.setattr(control_module, "_LOCK_PATIENCE", 0.05)
    descriptor = os.open(run_directory / "control.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(UserError, match="held by another process"):
        request(run_directory, want="stop")
    os.close(descriptor)
    assert request(run_directory, want="stop") == 1


def test_two_writers_lose_no_wish(run_directory: Path) -> None:
    each = 150
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                for _ in range(each):
                    request(run_directory, save=True)
                os._exit(0)
            finally:
                os._exit(1)
        children.append(pid)
    reader = ControlReader(run_directory)
    seen = []
    while any(os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None for pid in children):
        seen.append(reader.poll())
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0]
    assert read_control(run_directory) == Control(2 * each, "run", 2 * each)
    assert reader.poll() == Control(2 * each, "run", 2 * each)
    assert seen == sorted(seen, key=lambda control: control.sequence)
    assert all(control.save == control.sequence for control in seen)
    assert not list(run_directory.glob(".*"))


@pytest.mark.parametrize(
    "damage",
    [
        "",
        "{",
        "[]",
        '{"sequence":1}',
        '{"sequence":"1","want":"stop","save":0}',
        '{"sequence":1,"want":"explode","save":0}',
        '{"sequence":1,"want":["stop"],"save":0}',
        '{"sequence":1,"want":"stop","save":1.5}',
        '{"sequence":true,"want":"stop","save":0}',
    ],
)
def test_a_damaged_wish_changes_nothing(run_directory: Path, damage: str) -> None:
    request(run_directory, want="pause")
    reader = ControlReader(run_directory)
    assert reader.poll().want == "pause"
    (run_directory / "control.json").write_text(damage)
    assert reader.poll().want == "pause"
    (run_directory / "control.json").unlink()
    assert reader.poll().want == "pause"


def test_a_foreign_learning_rate_is_ignored() -> None:
    for rate in ("high", True, 10**400, float("nan"), None):
        control = parse_control({"sequence": 1, "want": "run", "save": 0, "learning_rate": rate})
        assert control == Control(1, "run", 0, None)


def test_following_costs_one_stat(run_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request(run_directory, want="pause")
    path = run_directory / "control.json"
    os.utime(path, (1e9, 1e9))
    with Recorder(run_directory) as recorder:
        assert recorder.control().want == "pause"
        monkeypatch.setattr(control_module, "read_json", lambda _: pytest.fail("read although nothing changed"))
        assert recorder.control().want == "pause"


def test_two_changes_within_a_tick_of_the_clock_are_both_seen(run_directory: Path) -> None:
    path = run_directory / "control.json"
    reader = ControlReader(run_directory)
    request(run_directory, want="pause")
    assert reader.poll().want == "pause"
    before = path.stat()
    path.write_text(json.dumps(Control(2, "stop")._asdict() | {"pad": ""}).ljust(before.st_size)[: before.st_size])
    path.write_text(json.dumps(Control(2, "stop")._asdict(), indent=1).ljust(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (before.st_ino, before.st_mtime_ns, before.st_size)
    assert reader.poll().want == "stop"
