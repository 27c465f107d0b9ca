"""Which process is meant: a pid alone may belong to a stranger by the time a signal is sent.

Standard library only and light: the shim imports this without site-packages.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

PROC = Path("/proc")
_DEAD_STATES = "ZXx"


class ProcessIdentity(NamedTuple):
    """A process, not mistakable for a later one that was given the same pid.

    `start` is the kernel's start time (clock ticks since boot on Linux), `boot` the id of the machine's boot,
    `namespace` that of the pid namespace (it changes when a container is started again).
    """

    pid: int
    start: str
    boot: str
    host: str
    namespace: str


class ProcessStat(NamedTuple):
    """What the kernel says of a process: state letter, parent's pid, start time."""

    state: str
    parent: int
    start: str


def host_name() -> str:
    """The name of this machine (of this container, in one)."""
    return socket.gethostname()


def boot_id() -> str:
    """A text that changes with every boot of the machine; empty where the system gives none."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return _answer("sysctl", "-n", "kern.bootsessionuuid")


def pid_namespace() -> str:
    """The pid namespace of this process; empty where there are none."""
    try:
        return str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def process_stat(pid: int) -> ProcessStat | None:
    """State, parent and start time of `pid`, or None if there is no such process."""
    if not PROC.joinpath("self").exists():
        answer = _answer("ps", "-o", "state=,ppid=,lstart=", "-p", str(pid)).split(maxsplit=2)
        return ProcessStat(answer[0][0], int(answer[1]), answer[2].strip()) if len(answer) == 3 else None
    try:
        raw = (PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The program's name, in parentheses, may itself hold spaces and parentheses.
    after_name = raw[raw.rindex(b")") + 2 :].decode("ascii").split()
    return ProcessStat(after_name[0], int(after_name[1]), after_name[19])


def identify(pid: int) -> ProcessIdentity:
    """The identity of the living process `pid`. Raises ProcessLookupError if there is none."""
    stat = process_stat(pid)
    if stat is None:
        raise ProcessLookupError(pid)
    return ProcessIdentity(pid, stat.start, boot_id(), host_name(), pid_namespace())


def identity_from(data: Any) -> ProcessIdentity | None:
    """The identity stored as `data` in proc.json, or None where it is not one."""
    if not isinstance(data, Mapping):
        return None
    texts = [data.get(name) for name in ProcessIdentity._fields[1:]]
    pid = data.get("pid")
    if not isinstance(pid, int) or isinstance(pid, bool) or pid <= 1 or not all(isinstance(t, str) for t in texts):
        return None
    return ProcessIdentity(pid, *(str(text) for text in texts))


def is_here(identity: ProcessIdentity) -> bool:
    """Whether `identity` was given by this machine since its boot, in this pid namespace: else no signal may be sent."""
    return (identity.host, identity.boot, identity.namespace) == (host_name(), boot_id(), pid_namespace())


def is_alive(identity: ProcessIdentity | None) -> bool:
    """Whether this very process still runs: not a later one with its pid, and not a zombie."""
    if identity is None or not is_here(identity):
        return False
    stat = process_stat(identity.pid)
    return stat is not None and stat.start == identity.start and stat.state not in _DEAD_STATES


def send_signal(identity: ProcessIdentity, number: int, *, group: bool = False) -> bool:
    """Send a signal to this very process (with `group`, to the process group it leads); False if it is gone.

    The pid is pinned by a pidfd before the identity is compared, so that it cannot change hands in between.
    Raises PermissionError for another user's process.
    """
    try:
        pin = os.pidfd_open(identity.pid) if sys.platform == "linux" else -1
    except OSError:
        return False
    try:
        if not is_alive(identity):
            return False
        if group:
            os.killpg(identity.pid, number)
        elif sys.platform == "linux":
            signal.pidfd_send_signal(pin, number)
        else:
            os.kill(identity.pid, number)
    except ProcessLookupError:
        return False
    finally:
        if pin >= 0:
            os.close(pin)
    return True


def children_of(parent: int) -> list[tuple[int, str]]:
    """(pid, state letter) of every process whose parent is `parent`; empty on a system without /proc."""
    if not PROC.joinpath("self").exists():
        return []
    found = []
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            stat = process_stat(int(entry.name))
            if stat is not None and stat.parent == parent:
                found.append((int(entry.name), stat.state))
    return found


def processes_with_variable(name: str, value: str) -> list[ProcessIdentity]:
    """The processes that were started with the environment variable `name` set to `value`, except the asking one.

    Finds the descendants of a run whose parents are gone. Only one's own processes show their environment (Linux).
    """
    if not PROC.joinpath("self").exists():
        return []
    wanted = f"{name}={value}".encode()
    found = []
    for entry in PROC.iterdir():
        try:
            if entry.name.isdigit() and wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(identify(int(entry.name)))
        except (OSError, ProcessLookupError):
            continue
    return [identity for identity in found if identity.pid != os.getpid()]


def _answer(*command: str) -> str:
    """What `command` prints; empty if it cannot be run."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
