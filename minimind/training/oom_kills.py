"""Whether the kernel has lately been ending processes for want of memory.

Standard library only and light: the shim imports this without site-packages.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

Evidence = Literal["cgroup", "machine"]


class OomKills(NamedTuple):
    """How often the kernel killed for memory so far; None where it does not say.

    `cgroup` counts processes of this process's own control group (session, job, container), `machine` all.
    """

    cgroup: int | None
    machine: int | None

    def since(self, earlier: OomKills) -> Evidence | None:
        """The closest evidence of a kill between `earlier` and this count."""
        if self.cgroup is not None and earlier.cgroup is not None and self.cgroup > earlier.cgroup:
            return "cgroup"
        if self.machine is not None and earlier.machine is not None and self.machine > earlier.machine:
            return "machine"
        return None


def count_oom_kills(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> OomKills:
    """Read the kernel's counters."""
    counts = (_counter(path) for path in _counter_files(proc, cgroups))
    return OomKills(next((count for count in counts if count is not None), None), _counter(proc / "vmstat"))


def _counter_files(proc: Path, cgroups: Path) -> list[Path]:
    """Where the counter of the own control group may be: by its path, or at the root of what a container sees."""
    try:
        lines = (proc / "self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    files = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            files += [cgroups / path.lstrip("/") / "memory.events", cgroups / "memory.events"]
        elif "memory" in controllers.split(","):
            memory = cgroups / "memory"
            files += [memory / path.lstrip("/") / "memory.oom_control", memory / "memory.oom_control"]
    return files


def _counter(path: Path) -> int | None:
    """The value of ``oom_kill`` in a file of names and numbers."""
    try:
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill":
                return int(value)
    except (OSError, ValueError):
        pass
    return None
