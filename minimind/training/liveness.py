"""Whether something of a run lives. Asked of the kernel, never of a heartbeat.

Standard library only and light: the shim imports this without site-packages.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from minimind.training.processes import ProcessIdentity, identity_from, is_alive
from minimind.training.run_files import LOCK, PROCESSES, lock_is_held, read_json


class RunProcesses(NamedTuple):
    """What proc.json says about the processes of the last start."""

    shim: ProcessIdentity | None
    trainer: ProcessIdentity | None
    lock_reliable: bool


def read_processes(directory: Path) -> RunProcesses | None:
    """The processes of the run's last start, or None where it was never started."""
    data = read_json(directory / PROCESSES)
    if data is None:
        return None
    shim, trainer = identity_from(data.get("shim")), identity_from(data.get("trainer"))
    return RunProcesses(shim, trainer, data.get("lock_reliable") is not False)


def is_held(directory: Path, processes: RunProcesses | None) -> bool:
    """Whether something of the run lives: by its lock, or by identity where the file system's locks exclude nobody."""
    try:
        if lock_is_held(directory / LOCK):
            return True
    except OSError:
        pass
    if processes is None or processes.lock_reliable:
        return False
    return is_alive(processes.shim) or is_alive(processes.trainer)
