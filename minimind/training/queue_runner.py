"""The process that starts waiting runs, one after another: ``python -m minimind.training.queue_runner``.

There is at most one (runner.lock), and only while something waits. It holds nothing in memory that matters: killed at
any moment, another one goes on from the queue's file and the runs' own locks.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from minimind import paths
from minimind.errors import UserError
from minimind.safe_text import clean_line
from minimind.training import launch
from minimind.training.queue import RUNNER_LOCK, Waiting, busy_run, change_queue, waiting_runs
from minimind.training.run_files import take_lock
from minimind.training.run_view import RunView

POLL_SECONDS = 1.0
_PATIENCE = 0.5
"""Seconds: whoever asks whether there is a runner holds its lock for a moment."""


def run_queue(poll_seconds: float = POLL_SECONDS) -> bool:
    """Start what waits until nothing does; returns False at once where another runner lives."""
    folder = paths.queue()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = take_lock(folder / RUNNER_LOCK, _PATIENCE)
    if lock is None:
        return False
    try:
        while _go_on(lock):
            if busy_run() is not None:
                time.sleep(poll_seconds)
                continue
            waiting = waiting_runs()
            if waiting:
                _start(waiting[0])
    except BaseException:
        os.close(lock)
        raise
    return True


def _go_on(lock: int) -> bool:
    """Whether something waits. If not, the runner's lock is given back while nobody can add anything: whoever adds next
    finds it free and starts another runner.
    """
    left = False

    def leave_if_empty(entries: list[Waiting]) -> list[Waiting]:
        nonlocal left
        if not entries:
            os.close(lock)
            left = True
        return entries

    change_queue(leave_if_empty)
    return not left


def _start(entry: Waiting) -> None:
    """Start the run, or go on with it, and take it out of the queue; one that cannot be started is left out with a word."""
    try:
        if not entry.was_started:
            status = RunView(entry.directory).status()
            if status.state == "created":
                launch.launch(entry.directory)
            elif status.resumable:
                launch.resume(entry.directory)
    except UserError as error:
        sys.stderr.write(f"{_now()} {clean_line(error.text.en, 500)}\n")
    else:
        sys.stderr.write(f"{_now()} started {entry.directory.name}\n")
    _remove(entry.directory)


def _remove(directory: Path) -> None:
    change_queue(lambda entries: [entry for entry in entries if entry.directory != directory])


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def main() -> int:
    """Run the queue; what ends it early is said in a line, and the next one who looks at the queue starts it again."""
    try:
        run_queue()
    except UserError as error:
        sys.stderr.write(f"{_now()} {clean_line(error.text.en, 500)}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
