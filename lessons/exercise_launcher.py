"""The process between the app and a learner's code: sets limits, watches, and leaves nothing behind.

Run as a file in a session of its own: ``python -I exercise_launcher.py JSON``. It forks a worker that loads the check
and the learner's file and checks it (or trains with it), waits for it within the limits, kills what the worker
started, and writes how it ended.
Both write lines of JSON to the verdict descriptor, which the learner's code is not told about: the exit code says
nothing. This guards against accidents (loops, floods, memory), it is not a sandbox.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_CHILD_SUBREAPER = 1, 38, 36
_CLONE_NEWNET = 0x40000000
_POLL_SECONDS = 0.05


def main() -> None:
    """Read the request, fork the worker, watch it, report."""
    request = json.loads(sys.argv[1])
    sys.path[:] = request["path"]
    verdict = int(request["verdict"])
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, _raise_exit)
    started_reader, started_writer = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.close(started_reader)
        _work(request, verdict, started_writer)
    os.close(started_writer)
    end: dict[str, Any] = {"limit": "stopped", "code": None}
    try:
        end = _watch(worker, started_reader, request["limits"])
    finally:
        _kill_descendants(worker)
        _say(verdict, {"end": end})


def _raise_exit(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(1)


def _say(descriptor: int, message: dict[str, Any]) -> None:
    # The app may be gone; then nobody reads this.
    with contextlib.suppress(OSError):
        os.write(descriptor, (json.dumps(message) + "\n").encode())


def _work(request: dict[str, Any], verdict: int, started: int) -> None:
    """In the worker: load what does the task (which imports torch), say so, set the limits, do it, tell what comes."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _leave_the_network()
        messages = _TASKS[request["task"]](request)
        next(messages)
        os.write(started, b"1")
        os.close(started)
        _limit(request["limits"])
        for message in messages:
            _say(verdict, message | {"token": request["token"]})
        code = 0
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        raise
    finally:
        sys.stdout.flush()
        os._exit(code)


def _check(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Says when it is loaded, then the verdict on a learner's file."""
    from lessons.checking import load_check, run_check

    check = load_check(request["check"])
    yield {"loaded": True}
    yield {"verdict": run_check(check, request["file"], int(request["seed"]))}


def _train(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Says when it is loaded, then the events of a training with learners' parts."""
    from lessons.part_training import train_parts
    from minimind.events import to_dict

    yield {"loaded": True}
    for event in train_parts(request["parts"], together=bool(request["together"])):
        yield {"event": to_dict(event)}


_TASKS = {"check": _check, "train": _train}


def _limit(limits: dict[str, float]) -> None:
    """CPU time from now, and the size of any file that is written (the captured output is one)."""
    used = sum(os.times()[:2])
    cpu = int(used + limits["cpu_seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 2))
    size = int(limits["file_bytes"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)


def _leave_the_network() -> None:
    """Best effort: needs the right to make namespaces, which containers often withhold."""
    if sys.platform != "linux":
        return
    import ctypes

    new_user = 0 if os.getuid() == 0 else 0x10000000
    ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET | new_user)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(option, int(value), 0, 0, 0)


def _watch(worker: int, started: int, limits: dict[str, float]) -> dict[str, Any]:
    """Wait until the worker ends or a limit is reached; the time limit counts from when the check was loaded."""
    import psutil

    process = psutil.Process(worker)
    os.set_blocking(started, False)
    deadline = time.monotonic() + limits["load_seconds"]
    loading = True
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            return _ending(status)
        if loading and _is_readable(started):
            loading = False
            deadline = time.monotonic() + limits["seconds"]
        if time.monotonic() > deadline:
            return {"limit": "load" if loading else "time", "code": None}
        with contextlib.suppress(psutil.Error):
            if process.memory_info().rss > limits["memory_bytes"]:
                return {"limit": "memory", "code": None}
        time.sleep(_POLL_SECONDS)


def _is_readable(descriptor: int) -> bool:
    try:
        return bool(os.read(descriptor, 1))
    except BlockingIOError:
        return False


def _ending(status: int) -> dict[str, Any]:
    code = os.waitstatus_to_exitcode(status)
    by_signal = {-signal.SIGXCPU: "cpu", -signal.SIGXFSZ: "file"}
    return {"limit": by_signal.get(code), "code": code}


def _kill_descendants(worker: int) -> None:
    """Kill the worker and everything that came from it, sessions of their own included: orphans come to us."""
    import psutil

    while True:
        children = psutil.Process().children(recursive=True)
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not children:
            break
        time.sleep(_POLL_SECONDS / 10)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(worker, 0)


if __name__ == "__main__":
    main()
