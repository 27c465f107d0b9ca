"""Processes of one run, forked from the test's own (which has torch loaded): what torchrun does, in a second less."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

_SECONDS = 60.0


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Ranks:
    """`count` forked processes, each of which does `work(rank)` and leaves with what it returns."""

    def __init__(self, count: int, work: Callable[[int], int | None], log: Path) -> None:
        """Their standard error goes to `log`."""
        self.log = log
        port = free_port()
        self.pids = [self._fork(rank, count, port, work) for rank in range(count)]

    def _fork(self, rank: int, count: int, port: int, work: Callable[[int], int | None]) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on: torch keeps idle threads
            pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(descriptor, 2)
            sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8")  # pytest's own goes elsewhere
            names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
            os.environ |= {name: str(value) for name, value in names.items()}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
            code = work(rank) or 0
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)

    def wait(self) -> list[int]:
        """Their exit codes (negative: the signal that ended them), once all have left."""
        deadline = time.monotonic() + _SECONDS
        codes: dict[int, int] = {}
        while len(codes) < len(self.pids):
            if time.monotonic() > deadline:
                for pid in set(self.pids) - set(codes):
                    os.kill(pid, signal.SIGKILL)
            for pid in set(self.pids) - set(codes):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    codes[pid] = os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        return [codes[pid] for pid in self.pids]


def in_processes(count: int, work: Callable[[int], int | None], log: Path) -> list[int]:
    """The exit codes of `count` processes that do `work(rank)`."""
    return Ranks(count, work, log).wait()
