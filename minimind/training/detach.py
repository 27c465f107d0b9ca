"""Start a process that outlives whoever asked for it and is nobody's child: a script that forks off and becomes it.

Standard library only: run without site-packages it costs 20 ms.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def start_detached(command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Run `command` in a session of its own, adopted by init, what it says appended to `log`.

    Returns at once; that the command works is not waited for. Raises OSError where it cannot be tried.
    """
    log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", __file__, *command],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            cwd=log.parent,
            env=dict(environment),
            start_new_session=True,
            check=False,
        )
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    if os.fork():
        os._exit(0)
    os.execv(sys.argv[1], sys.argv[1:])
