"""The status is a function of the files and the lock: every combination, none guessed, none fatal."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest

from minimind.events import Mark, Text
from minimind.training import run_status
from minimind.training.processes import identify
from minimind.training.runs import LIVE_STATES, RESUMABLE_STATES, STATE_NAMES, Recorder, State, request, status_of

MY_DEAD_SELF = {**identify(os.getpid())._asdict(), "start": "1"}
FULL_EXIT = {"signal": None, "stop_requested": False, "terminated": False, "escalated": False, "oom_kill": None}


def put(directory: Path, name: str, data: object) -> None:
    (directory / name).write_text(json.dumps(data), encoding="utf-8")


def put_processes(directory: Path, **change: object) -> None:
    identity = MY_DEAD_SELF | change
    put(directory, "proc.json", {"shim": identity, "trainer": identity, "lock_reliable": True})


@contextmanager
def held(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory / "run.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def ended(directory: Path, left: dict[str, Any] | None, verdict: dict[str, Any] | None) -> run_status.RunStatus:
    put_processes(directory)
    if left is not None:
        put(directory, "exit.json", FULL_EXIT | left)
    if verdict is not None:
        put(directory, "final.json", verdict)
    return status_of(directory)


NAN = {"outcome": "failed", "text": {"en": "the loss is NaN", "zh": "损失为 NaN"}}
ASKED = {"stop_requested": True}


@pytest.mark.parametrize(
    ("left", "verdict", "state", "reason"),
    [
        ({"code": 0}, {"outcome": "finished"}, "finished", "all steps are done"),
        (None, {"outcome": "finished"}, "finished", "all steps are done"),
        # torchrun leaves with 1 after a proper stop, and torch may abort while the interpreter ends.
        ({"code": 1, **ASKED}, {"outcome": "stopped"}, "stopped", "stopped as asked, and saved"),
        ({"code": None, "signal": 6}, {"outcome": "finished"}, "finished", "all steps are done"),
        ({"code": 1}, NAN, "failed", "the loss is NaN"),
        (None, NAN, "failed", "the loss is NaN"),
        ({"code": 12}, {"outcome": "out-of-memory"}, "out-of-memory", "not enough memory"),
        ({"code": 12}, None, "out-of-memory", "not enough memory"),
        ({"code": None, "signal": 9, "oom_kill": "cgroup"}, None, "out-of-memory", "killed by the system for memory"),
        ({"code": None, "signal": 9, "oom_kill": "machine"}, None, "killed", "meanwhile the system was ending"),
        ({"code": None, "signal": 9}, None, "killed", "ended by SIGKILL"),
        ({"code": None, "signal": 11, "oom_kill": "cgroup"}, None, "killed", "ended by SIGSEGV"),
        ({"code": None, "signal": 99}, None, "killed", "ended by signal 99"),
        ({"code": None, "signal": 15}, None, "killed", "ended by SIGTERM"),
        ({"code": None, "signal": 15, **ASKED}, None, "stopped", "before it could save"),
        ({"code": None, "signal": 9, **ASKED, "escalated": True}, None, "stopped", "ended by force"),
        ({"code": 0, **ASKED}, None, "stopped", "stopped as asked"),
        # Leaving quietly is no success: nobody said that the work was done.
        ({"code": 0}, None, "failed", "without saying how it went: Traceback"),
        ({"code": 3}, None, "failed", "status 3: Traceback"),
        ({"code": 3}, {"outcome": "abducted"}, "failed", "status 3"),
        ({"code": 127, "problem": "no such file"}, None, "failed", "could not be started: no such file"),
        ({"code": 1}, {"outcome": "failed", "text": {"en": 3}}, "failed", "the trainer gave up"),
        ({"code": 1}, {"outcome": "failed", "text": {"en": "\x1b[2J", "zh": ""}}, "failed", "␛[2J"),
    ],
)
def test_how_it_ended(
    run_directory: Path, left: dict[str, Any] | None, verdict: dict[str, Any] | None, state: State, reason: str
) -> None:
    (run_directory / "log.txt").write_text("epoch 1\nTraceback\n")
    status = ended(run_directory, left, verdict)
    assert status.state == state
    assert reason in status.reason.en
    assert status.supervised == (left is not None)
    assert (status.code, status.signal) == ((left or {}).get("code"), (left or {}).get("signal"))
    assert status.log_lines == (() if state in ("finished", "stopped") else ("epoch 1", "Traceback"))
    assert status.advice is not None or state == "finished"


def test_the_advice_after_a_failure_can_help(run_directory: Path) -> None:
    """Before the first checkpoint it is the file or the setting that is wrong, and would be wrong again."""
    assert ended(run_directory, {"code": 2}, NAN).advice == run_status.START_ANEW
    (run_directory / "checkpoints").write_text("not a folder")
    assert status_of(run_directory).advice == run_status.START_ANEW
    (run_directory / "checkpoints").unlink()
    put(run_directory, "final.json", {"outcome": "stopped"})
    assert status_of(run_directory).advice == run_status.BEGIN_AGAIN
    (run_directory / "checkpoints" / "step-000001").mkdir(parents=True)
    assert status_of(run_directory).advice == run_status.RESUME
    put(run_directory, "final.json", NAN)
    assert status_of(run_directory).advice == run_status.RESUME


def test_never_started(run_directory: Path) -> None:
    status = status_of(run_directory)
    assert (status.state, status.live, status.resumable) == ("created", False, True)


def test_without_a_trace_is_called_lost_and_says_why(run_directory: Path) -> None:
    put_processes(run_directory)
    assert "killed" in status_of(run_directory).reason.en
    put_processes(run_directory, boot="another")
    assert "machine was restarted" in status_of(run_directory).reason.en
    put_processes(run_directory, namespace="pid:[1]")
    assert "container was restarted" in status_of(run_directory).reason.en
    put_processes(run_directory, pid="nonsense")
    assert status_of(run_directory).reason.en == "ended without a trace"
    (run_directory / "proc.json").unlink()
    with Recorder(run_directory) as recorder:
        recorder.record(Mark("started", 0))
    status = status_of(run_directory)
    assert (status.state, status.resumable) == ("lost", True)


def test_another_machines_run_is_left_alone(run_directory: Path) -> None:
    # Another name on the same boot is another container of this machine, whose locks we see: that run is lost.
    put_processes(run_directory, host="gpu-7")
    assert status_of(run_directory).state == "lost"
    put_processes(run_directory, host="gpu-7\x1b[2J", boot="another")
    status = status_of(run_directory)
    assert (status.state, status.live, status.resumable) == ("elsewhere", False, False)
    assert "gpu-7␛[2J" in status.reason.en
    put(run_directory, "exit.json", FULL_EXIT | {"code": 0})
    put(run_directory, "final.json", {"outcome": "finished"})
    assert status_of(run_directory).state == "finished"


def living(directory: Path, *, shim: bool, trainer: bool | None) -> None:
    """Let proc.json name living or dead processes."""
    me = identify(os.getpid())._asdict()
    named = {True: me, False: MY_DEAD_SELF, None: None}
    put(directory, "proc.json", {"shim": named[shim], "trainer": named[trainer], "lock_reliable": True})


def test_a_held_lock_is_life_whatever_the_files_say(run_directory: Path) -> None:
    living(run_directory, shim=True, trainer=True)
    put(run_directory, "exit.json", FULL_EXIT | {"code": 0})
    put(run_directory, "final.json", {"outcome": "finished"})
    with held(run_directory):
        status = status_of(run_directory)
        assert (status.state, status.supervised, status.reason.en) == ("running", True, "training")
        request(run_directory, want="pause")
        assert status_of(run_directory).state == "running"
        assert "asked to pause" in status_of(run_directory).reason.en
        with Recorder(run_directory) as recorder:
            recorder.record(Mark("paused", 3))
            assert status_of(run_directory).state == "paused"
            recorder.record(Mark("resumed", 3))
            assert status_of(run_directory).state == "running"
        request(run_directory, want="stop")
        assert status_of(run_directory).state == "stopping"
        put_processes(run_directory, host="gpu-7")
        status = status_of(run_directory)
        assert (status.live, status.supervised, status.host) == (True, True, "gpu-7")
    assert not status_of(run_directory).live


@pytest.mark.parametrize(("reason", "said"), [("disk-full", "no room"), ("save-failed", "cannot be saved")])
def test_a_run_that_cannot_save_is_paused_and_says_why(run_directory: Path, reason: str, said: str) -> None:
    living(run_directory, shim=True, trainer=True)
    with held(run_directory), Recorder(run_directory) as recorder:
        recorder.record(Mark("paused", 3, {"reason": reason}))
        status = status_of(run_directory)
        assert status.state == "paused"
        assert said in status.reason.en
        assert "检查点" in status.reason.zh
        recorder.record(Mark("resumed", 3))
        assert status_of(run_directory).state == "running"


@pytest.mark.parametrize(
    ("shim", "trainer", "state", "supervised", "said"),
    [
        (True, None, "running", True, "starting"),
        (True, False, "stopping", True, "the trainer has ended"),
        (False, True, "running", False, "supervisor was killed"),
        (False, False, "stopping", False, "processes that they started remain"),
        (False, None, "stopping", False, "processes that they started remain"),
    ],
)
def test_who_is_left_of_a_living_run_is_told(
    run_directory: Path, shim: bool, trainer: bool | None, state: State, supervised: bool, said: str
) -> None:
    living(run_directory, shim=shim, trainer=trainer)
    with held(run_directory):
        os.utime(run_directory / "run.lock", (1e9, 1e9))
        status = status_of(run_directory)
        assert (status.state, status.supervised) == (state, supervised)
        assert said in status.reason.en


def test_a_start_under_way_is_not_mistaken_for_what_the_last_one_left(run_directory: Path) -> None:
    living(run_directory, shim=False, trainer=False)
    with held(run_directory):
        (run_directory / "run.lock").touch()
        assert (status_of(run_directory).state, status_of(run_directory).reason.en) == ("running", "starting")


def test_where_locks_exclude_nobody_the_identities_answer(run_directory: Path, monkeypatch) -> None:
    me = identify(os.getpid())._asdict()
    put(run_directory, "proc.json", {"shim": MY_DEAD_SELF, "trainer": me, "lock_reliable": False})
    assert status_of(run_directory).state == "running"
    put(run_directory, "proc.json", {"shim": me, "trainer": None, "lock_reliable": False})
    assert status_of(run_directory).state == "running"
    put(run_directory, "proc.json", {"shim": MY_DEAD_SELF, "trainer": MY_DEAD_SELF, "lock_reliable": False})
    assert status_of(run_directory).state == "lost"


def test_a_start_between_two_reads_is_not_mistaken_for_an_end(run_directory: Path, monkeypatch) -> None:
    put_processes(run_directory)
    (run_directory / "run.lock").touch()
    answers = iter([False, True, True])
    monkeypatch.setattr(run_status, "is_held", lambda *_: next(answers))
    assert status_of(run_directory).state == "running"


def test_every_state_has_a_name_and_a_class(run_directory: Path) -> None:
    states = set(get_args(State))
    assert set(STATE_NAMES) == states
    assert states >= LIVE_STATES
    assert not LIVE_STATES & RESUMABLE_STATES
    assert all(isinstance(name, Text) and name.zh for name in STATE_NAMES.values())


JUNK: list[bytes] = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"code":"x","signal":[],"want":7,"shim":3}',
    b'{"code":1e999,"signal":-5,"outcome":{},"sequence":true,"save":-1}',
    b'{"outcome":["finished"],"text":{"en":1,"zh":2}}',
    b'{"shim":{"pid":1e9,"start":{}},"trainer":[],"lock_reliable":0}',
    b"[" * 100_000,
    json.dumps({"code": 10**30, "signal": 10**30, "problem": "\x1b[31m\n\n"}).encode(),
]


def test_no_content_of_any_file_breaks_the_answer(run_directory: Path) -> None:
    draw = random.Random(11)
    names = ("exit.json", "final.json", "proc.json", "control.json", "events.jsonl", "log.txt", "run.lock")
    seen = set()
    for _ in range(300):
        for name in names:
            path = run_directory / name
            path.unlink(missing_ok=True)
            if draw.random() < 0.6:
                path.write_bytes(draw.choice(JUNK))
        status = status_of(run_directory)
        seen.add(status.state)
        assert not status.live
        assert "\x1b" not in status.reason.en + status.reason.zh
    assert "finished" not in seen
    assert {"created", "lost", "failed"} <= seen


def test_a_signal_is_shown_by_its_name(run_directory: Path) -> None:
    assert "SIGKILL" in ended(run_directory, {"code": None, "signal": int(signal.SIGKILL)}, None).reason.zh
