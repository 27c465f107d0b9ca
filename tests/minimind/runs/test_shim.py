"""The supervisor where it cannot be reached by a real fault: lying locks, kills for memory, a full disk at the end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.training import launch, shim
from minimind.training.liveness import read_processes
from minimind.training.oom_kills import OomKills
from minimind.training.processes import identify, is_alive
from minimind.training.runs import RunStatus, RunView, create_run, request, status_of

SUICIDE = [sys.executable, "-S", "-c", "import os; os.kill(os.getpid(), 9)"]


def supervise(directory: Path, command: list[str], prepare: Callable[[], None]) -> tuple[bytes, int]:
    """Start a shim in a forked child, `prepare`d there; returns its answer and its pid."""
    read_end, write_end = os.pipe()
    order = shim.ShimOrder(str(directory), command, str(directory), write_end, 0, 0.1, 1.0)
    pid = os.fork()
    if pid == 0:
        try:
            prepare()
            shim.supervise(order)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(write_end)
    answer = os.read(read_end, 1000)
    os.close(read_end)
    return answer, pid


def supervise_to_the_end(directory: Path, command: list[str], prepare: Callable[[], None]) -> None:
    answer, pid = supervise(directory, command, prepare)
    assert answer == shim.READY
    assert left_with(pid) == 0


def left_with(pid: int) -> int:
    """The exit status of a forked shim; one that does not leave is killed and fails."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return status
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize(
    ("counts", "state"),
    [
        ([OomKills(1, 1), OomKills(2, 2)], "out-of-memory"),
        ([OomKills(1, 1), OomKills(1, 2)], "killed"),
        ([OomKills(1, 1), OomKills(1, 1)], "killed"),
        ([OomKills(None, None), OomKills(None, None)], "killed"),
    ],
)
def test_a_kill_for_memory_is_told_by_the_kernels_counters(
    run_directory: Path, counts: list[OomKills], state: str
) -> None:
    answers = iter(counts)

    def prepare() -> None:
        shim.count_oom_kills = lambda: next(answers)

    supervise_to_the_end(run_directory, SUICIDE, prepare)
    assert status_of(run_directory).state == state
    assert status_of(run_directory).signal == signal.SIGKILL


def test_a_disk_full_at_the_end_is_given_time(run_directory: Path) -> None:
    failures = iter([errno.ENOSPC, errno.ENOSPC])
    real = shim.write_atomic

    def write_atomic(path: Path, data: dict[str, object], *, durable: bool = False) -> None:
        code = next(failures, None) if path.name == "exit.json" else None
        if code is not None:
            raise OSError(code, os.strerror(code))
        real(path, data, durable=durable)

    def prepare() -> None:
        shim.write_atomic = write_atomic

    supervise_to_the_end(run_directory, SUICIDE, prepare)
    assert json.loads((run_directory / "exit.json").read_text())["signal"] == signal.SIGKILL


def test_a_trainer_that_cannot_be_written_down_is_not_left_running(run_directory: Path) -> None:
    real = shim.write_atomic

    def write_atomic(path: Path, data: dict[str, object], *, durable: bool = False) -> None:
        if path.name == "proc.json" and data["trainer"] is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(path, data, durable=durable)

    def prepare() -> None:
        shim.write_atomic = write_atomic

    answer, pid = supervise(run_directory, [sys.executable, "-S", "-c", "import time; time.sleep(60)"], prepare)
    assert answer == shim.FAILED + b"[Errno 28] No space left on device"
    assert left_with(pid) == 0
    status = status_of(run_directory)
    assert (status.state, status.live) == ("failed", False)
    assert "No space left" in status.reason.en


def test_a_stop_asked_for_while_the_run_starts_is_obeyed(run_directory: Path) -> None:
    """The order says that no wish had been made (sequence 0) when the start was asked for: this one came later."""
    request(run_directory, want="stop")
    supervise_to_the_end(run_directory, [sys.executable, "-S", "-c", "import time; time.sleep(60)"], lambda: None)
    status = status_of(run_directory)
    assert (status.state, status.signal) == ("stopped", signal.SIGTERM)


def test_what_a_starter_left_ignored_or_blocked_does_not_matter(run_directory: Path) -> None:
    """SIGCHLD ignored by the starter would make the kernel drop the trainer's exit status."""

    def prepare() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)

    supervise_to_the_end(run_directory, [sys.executable, "-S", "-c", "raise SystemExit(7)"], prepare)
    assert status_of(run_directory).code == 7


@pytest.fixture(params=["everybody succeeds", "not supported"])
def useless_locks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What flock does on some network file systems."""

    def flock(descriptor: int, operation: int) -> None:
        if request.param == "not supported":
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        yield


def test_locks_that_exclude_nobody_are_noticed(run_directory: Path, useless_locks: None) -> None:
    lock, reliable = shim._take_run_lock(run_directory)
    assert lock is not None
    assert not reliable
    os.close(lock)
    me = identify(os.getpid())._asdict()
    (run_directory / "proc.json").write_text(json.dumps({"shim": me, "trainer": None, "lock_reliable": False}))
    assert shim._take_run_lock(run_directory) == (None, False)
    assert status_of(run_directory).live
    (run_directory / "proc.json").write_text(json.dumps({"shim": me | {"start": "1"}, "lock_reliable": False}))
    lock, reliable = shim._take_run_lock(run_directory)
    assert lock is not None
    os.close(lock)
    assert status_of(run_directory).state == "lost"


def test_a_run_on_such_a_file_system_is_told_alive_by_its_processes(run_directory: Path) -> None:
    def prepare() -> None:
        fcntl.flock = lambda descriptor, operation: None

    answer, pid = supervise(run_directory, [sys.executable, "-S", "-c", "import time; time.sleep(60)"], prepare)
    assert answer == shim.READY
    found = read_processes(run_directory)
    assert found is not None
    assert not found.lock_reliable
    assert status_of(run_directory).state == "running"
    launch.stop(run_directory)
    assert left_with(pid) == 0
    assert status_of(run_directory).state == "stopped"


class Walk:
    """One run to which anything may happen, in any order; its status must never contradict what is true."""

    def __init__(self, directory: Path, command: list[str]) -> None:
        self.directory = directory
        self.command = command

    def start(self) -> None:
        launch.resume(self.directory, command=self.command, wish_seconds=0.05, grace_seconds=0.1)

    def pause(self) -> None:
        request(self.directory, want="pause")

    def go_on(self) -> None:
        request(self.directory, want="run")

    def stop(self) -> None:
        launch.stop(self.directory)

    def stop_by_force(self) -> None:
        launch.stop(self.directory, force=True)

    def kill_trainer(self) -> None:
        self.kill("trainer")

    def kill_shim(self) -> None:
        self.kill("shim")

    def kill_both(self) -> None:
        self.kill("shim", "trainer")

    def forget_file(self) -> None:
        (self.directory / "exit.json").unlink(missing_ok=True)

    def kill(self, *names: str) -> None:
        processes = read_processes(self.directory)
        for name in names:
            identity = getattr(processes, name, None)
            if is_alive(identity):
                os.kill(identity.pid, signal.SIGKILL)

    def check(self) -> RunStatus:
        """Compare the status with the processes; both may change while we look, so look twice at the processes."""
        before = self.trainer_lives()
        status = status_of(self.directory)
        after = self.trainer_lives()
        if before and after:
            assert status.live, status
        if not status.live:
            assert not after, status
        if status.state == "finished":
            raise AssertionError("an endless trainer cannot have finished")
        return status

    def trainer_lives(self) -> bool:
        processes = read_processes(self.directory)
        return processes is not None and is_alive(processes.trainer)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_the_status_is_true(home: Path, fake, until, seed: int) -> None:
    draw = random.Random(seed)
    directory = create_run(TrainConfig()).directory
    walk = Walk(directory, fake(directory, seconds=0.001, children=seed % 2))
    actions = [walk.start] * 4 + [walk.pause, walk.go_on, walk.stop, walk.stop_by_force]
    actions += [walk.kill_trainer, walk.kill_shim, walk.kill_both, walk.forget_file]
    view = RunView(directory)
    for _ in range(14):
        with contextlib.suppress(UserError):  # a wish that the state forbids: said, and nothing done
            draw.choice(actions)()
        walk.check()
        view.refresh()
    with contextlib.suppress(UserError):  # it may have ended by itself meanwhile
        launch.stop(directory, force=True)
    until(lambda: not walk.check().live)
    view.refresh()
    assert view.bad_records == 0
    assert walk.check().resumable
    view.close()
