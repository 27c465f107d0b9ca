"""The supervisor of one run: a tiny process that outlives every window, and writes down how the trainer ended.

Started by `launch` as a script, ``python -I -S shim.py ORDER``, where ORDER is a `ShimOrder` as JSON. It forks off into
a session of its own, takes the run's lock, starts the trainer with the lock inherited and the log opened directly (no
pipe: the shim's death can neither block nor kill the trainer), waits, and sweeps what the trainer left behind. It is a
child subreaper: processes orphaned on the way, such as torchrun's workers, become its own children.

The stop ladder: the wish in control.json, which the trainer reads itself; SIGTERM; SIGKILL for its process group.
SIGTERM to the shim counts as a wish to stop.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

if __name__ == "__main__":
    # Started with -S: only the standard library is on the path. Ours goes last, so that it can shadow nothing.
    sys.path.append(str(Path(__file__).resolve().parents[2]))

from minimind.training.control import Control, ControlReader, change_control
from minimind.training.liveness import read_processes
from minimind.training.oom_kills import count_oom_kills
from minimind.training.processes import children_of, identify, is_alive, processes_with_variable, send_signal
from minimind.training.run_files import (
    EXIT,
    FINAL,
    LOCK,
    LOG,
    NOTIFY_LOG,
    PROCESSES,
    RUN_VARIABLE,
    take_lock,
    write_atomic,
)

READY, BUSY, FAILED = b"ok", b"busy", b"failed "
"""What the shim answers its starter; FAILED is followed by the reason."""

_PR_SET_CHILD_SUBREAPER = 36
_LOCK_PATIENCE = 1.0
_POLL_SECONDS = 0.25
_LEAVE_SECONDS = 0.5
"""How long the processes that the trainer left behind may take to leave by themselves."""
_SWEEP_SECONDS = 5.0
_WRITE_SECONDS = 20.0
"""How long a full disk is given to make room for exit.json."""
_OOM_SECONDS = 30.0
"""How far back, at least, a kill for memory is connected with the trainer's end."""
_CANNOT_START = 127


class ShimOrder(NamedTuple):
    """What a shim is told to do.

    `ready` is the inherited descriptor for the answer. `control_sequence` is the control file's sequence number when
    the start was asked for: an older wish to stop is forgotten, a newer one is obeyed. The trainer gets SIGTERM
    `wish_seconds` after a wish to stop, and SIGKILL `grace_seconds` after that. When all is over the command `afterwards`
    is started, where one of the files `occasions` exists.
    """

    directory: str
    command: list[str]
    working_directory: str
    ready: int
    control_sequence: int
    wish_seconds: float
    grace_seconds: float
    afterwards: Sequence[str] = ()
    occasions: Sequence[str] = ()


class Supervisor:
    """Starts one trainer, climbs the stop ladder when asked to, and records the trainer's end."""

    def __init__(self, order: ShimOrder, lock: int, lock_reliable: bool) -> None:
        self._order = order
        self._directory = Path(order.directory)
        self._lock = lock
        self._lock_reliable = lock_reliable
        self._control = ControlReader(self._directory)
        self._wake, wake_write = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(wake_write, False)
        self._told_to_end = False
        signal.signal(signal.SIGTERM, self._on_terminate)
        # A handler, not SIG_IGN (which may be inherited): the kernel would reap the trainer and drop its exit status.
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._trainer = 0
        self._began = time.monotonic()
        self._status: int | None = None
        self._max_rss = 0
        self._stop_seen: float | None = None
        self._terminated: float | None = None
        self._escalated = False
        self._swept_before = 0
        self._oom_window = [count_oom_kills()] * 2
        self._oom_sampled = self._began

    def start(self) -> None:
        """Forget the last start's end and start the trainer. Raises OSError where that is impossible."""
        for name in (EXIT, FINAL):
            (self._directory / name).unlink(missing_ok=True)
        change_control(self._directory, self._for_new_start)
        self._write_processes()
        run = str(self._directory.resolve())
        for orphan in processes_with_variable(RUN_VARIABLE, run):
            # Left by a start whose shim was killed; it may still hold the device's memory.
            self._swept_before += send_signal(orphan, signal.SIGKILL)
        directory = self._order.working_directory
        log = os.open(self._directory / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            # The supervisor reaps by wait4 itself: the Popen object is only the way to start.
            self._trainer = subprocess.Popen(
                self._order.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, RUN_VARIABLE: run},
                cwd=directory if Path(directory).is_dir() else self._order.directory,
                pass_fds=(self._lock,),
                start_new_session=True,
            ).pid
        finally:
            os.close(log)
        try:
            self._write_processes()
        except OSError:
            self._kill_trainer()  # what cannot be found again must not go on
            raise

    def watch(self) -> None:
        """Return when the trainer has ended, one way or another."""
        while self._status is None:
            select.select([self._wake], [], [], _POLL_SECONDS)
            with contextlib.suppress(BlockingIOError):
                os.read(self._wake, 4096)
            self._reap()
            if self._status is None:
                self._climb(time.monotonic())

    def finish(self) -> None:
        """End what the trainer left behind, and write exit.json."""
        oom_kill = count_oom_kills().since(self._oom_window[0])
        swept, left = self._sweep()
        code = os.waitstatus_to_exitcode(self._status or 0)
        # A trainer that reads the wish may have left before we looked.
        stop_requested = self._stop_seen is not None or self._control.poll().want == "stop"
        self._write_exit(
            {
                "code": code if code >= 0 else None,
                "signal": -code if code < 0 else None,
                "max_rss_bytes": self._max_rss,
                "stop_requested": stop_requested,
                "terminated": self._terminated is not None,
                "escalated": self._escalated,
                "swept": swept + self._swept_before,
                "left": left,
                "oom_kill": oom_kill,
            }
        )

    def cannot_start(self, problem: str) -> None:
        """Record that there was no trainer to wait for."""
        self._write_exit({"code": _CANNOT_START, "signal": None, "problem": problem})

    def _on_terminate(self, _number: int, _frame: object) -> None:
        self._told_to_end = True

    def _for_new_start(self, control: Control) -> Control:
        """Wishes of the time before this start was asked for are void; a learning rate stays."""
        if control.sequence > self._order.control_sequence:
            return control
        return Control(control.sequence, learning_rate=control.learning_rate)

    def _write_processes(self) -> None:
        trainer = identify(self._trainer)._asdict() if self._trainer else None
        write_atomic(
            self._directory / PROCESSES,
            {
                "shim": identify(os.getpid())._asdict(),
                "trainer": trainer,
                "lock_reliable": self._lock_reliable,
                "started": time.time(),
            },
            durable=True,
        )

    def _reap(self) -> None:
        """Take the exit status of every child that has ended, adopted orphans too."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._trainer:
                self._status = status
                self._max_rss = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def _climb(self, now: float) -> None:
        """One look at what is wanted, and the rung of the stop ladder that is due."""
        if now - self._oom_sampled > _OOM_SECONDS:
            self._oom_window = [self._oom_window[1], count_oom_kills()]
            self._oom_sampled = now
        if self._told_to_end and self._stop_seen is None:
            with contextlib.suppress(OSError):  # a full disk does not matter: SIGTERM follows at once
                change_control(self._directory, lambda control: control._replace(want="stop"))
        control = self._control.poll()
        if control.want != "stop" and not self._told_to_end and self._stop_seen is None:
            return
        if self._stop_seen is None:
            self._stop_seen = now
        wish_over = self._told_to_end or now - self._stop_seen >= self._order.wish_seconds
        if control.force or (self._terminated is not None and now - self._terminated >= self._order.grace_seconds):
            self._escalated = True
            self._kill_trainer()
        elif wish_over and self._terminated is None:
            self._terminated = now
            os.kill(self._trainer, signal.SIGTERM)

    def _kill_trainer(self) -> None:
        """End the trainer and its process group: not reaped yet, it keeps its pid from belonging to anybody else."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # its end came before the signal
            os.killpg(self._trainer, signal.SIGKILL)

    def _sweep(self) -> tuple[int, int]:
        """End the adopted orphans; returns how many had to be killed and how many could not be."""
        began = time.monotonic()
        killed: set[int] = set()
        while True:
            self._reap()
            children = [pid for pid, _ in children_of(os.getpid())]
            waited = time.monotonic() - began
            if not children or waited > _SWEEP_SECONDS:
                return len(killed), len(children)
            if waited > _LEAVE_SECONDS or self._escalated:
                for pid in children:
                    os.kill(pid, signal.SIGKILL)  # a child of ours is a zombie at worst, never a stranger
                killed.update(children)
            time.sleep(0.02)

    def _write_exit(self, record: dict[str, Any]) -> None:
        record = {**record, "seconds": round(time.monotonic() - self._began, 3), "time": time.time()}
        deadline = time.monotonic() + _WRITE_SECONDS
        while True:
            try:
                write_atomic(self._directory / EXIT, record, durable=True)
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)


def supervise(order: ShimOrder) -> None:
    """Take the run's lock, answer the starter, and see one trainer through."""
    directory = Path(order.directory)
    lock, reliable = _take_run_lock(directory)
    if lock is None:
        _answer(order.ready, BUSY)
        return
    supervisor = Supervisor(order, lock, reliable)
    try:
        supervisor.start()
    except OSError as error:
        supervisor.cannot_start(str(error))
        os.close(lock)  # before the answer: who asks next must not find the run alive
        _answer(order.ready, FAILED + str(error).encode("utf-8", "replace"))
        return
    _answer(order.ready, READY)
    supervisor.watch()
    supervisor.finish()
    _leave_the_rest(order)


def _leave_the_rest(order: ShimOrder) -> None:
    """Start what is to be done after a run, and do not wait for it: it outlives us."""
    if not order.afterwards or not any(map(os.path.exists, order.occasions)):
        return
    with contextlib.suppress(OSError):  # the run has ended well without it
        log = os.open(Path(order.directory) / NOTIFY_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        subprocess.Popen(order.afterwards, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _take_run_lock(directory: Path) -> tuple[int | None, bool]:
    """The descriptor that holds the run's lock (None: something of the run lives), and whether locks exclude here."""
    path = directory / LOCK
    path.touch(mode=0o600)  # tells readers that a start is under way, until proc.json says whose
    try:
        lock = take_lock(path, _LOCK_PATIENCE)
        if lock is None:
            return None, True
        if _lock_excludes(path):
            return lock, True
    except OSError:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    # On some network file systems flock succeeds for everybody: then the identities must answer.
    processes = read_processes(directory)
    if processes is not None and (is_alive(processes.shim) or is_alive(processes.trainer)):
        os.close(lock)
        return None, False
    return lock, False


def _lock_excludes(path: Path) -> bool:
    """Whether a second taker is refused, as it must be while we hold the lock."""
    second = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(second)
    return False


def _answer(descriptor: int, answer: bytes) -> None:
    with contextlib.suppress(BrokenPipeError):  # the starter may be gone; the run goes on without it
        os.write(descriptor, answer)
    os.close(descriptor)


def _become_subreaper() -> None:
    """Ask the kernel to give us the orphans among our descendants (Linux; elsewhere they stay init's)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main(order: ShimOrder) -> NoReturn:
    """Fork off from whoever started us, and supervise."""
    if os.fork():
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _become_subreaper()
    supervise(order)
    sys.exit(0)


if __name__ == "__main__":
    main(ShimOrder(**json.loads(sys.argv[1])))
