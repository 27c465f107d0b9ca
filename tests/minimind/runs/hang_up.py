"""Start two trainers from a terminal that then disappears: one through launch, one as a plain child.

Usage: hang_up.py SUPERVISED_RUN PLAIN_RUN COMMAND… ({} in the command stands for the run directory)
Returns once the plain child is dead.
"""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[3]))

from minimind.training import launch


def in_terminal(supervised: str, plain: str, command: list[str], held_open: int) -> None:
    """Start both and wait for the end of the connection; the plain child alone inherits `held_open`."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    launch.launch(supervised, command=[part.replace("{}", supervised) for part in command])
    subprocess.Popen([part.replace("{}", plain) for part in command], pass_fds=[held_open])
    print("ready", flush=True)
    time.sleep(60)


def main() -> None:
    end_of_child, held_open = os.pipe()
    pid, terminal = pty.fork()
    if pid == 0:
        in_terminal(sys.argv[1], sys.argv[2], sys.argv[3:], held_open)
        os._exit(0)
    os.close(held_open)
    said = b""
    while b"ready" not in said:
        said += os.read(terminal, 1024)
    os.close(terminal)  # the kernel now sends SIGHUP to the session, as when an SSH connection drops
    os.waitpid(pid, 0)
    os.read(end_of_child, 1)  # returns when nobody holds the other end any more


if __name__ == "__main__":
    main()
