"""What a shim lets happen after its run has ended: ``python -m minimind.training.afterwards RUNDIR``.

A process of its own that lives for a moment: it tells the person's webhook how the run ended, and sees that the next
run of the queue is started. What it has to complain of is written to notify.log in the run's directory.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from minimind.errors import UserError
from minimind.preferences import load_preferences
from minimind.training.queue import wake_runner
from minimind.training.run_status import RunStatus
from minimind.training.run_view import RunView
from minimind.training.webhook import message_of_end, post

_LEAVE_SECONDS = 10.0
"""How long the shim may take to let go of the run's lock."""


def run(directory: Path) -> None:
    """Start the queue's next run, then tell the webhook."""
    try:
        view = RunView(directory)
        status = _ended(view)
    except UserError as error:
        sys.stderr.write(error.text.en + "\n")
        return
    wake_runner()
    tell_the_end(view, status)


def tell_the_end(view: RunView, status: RunStatus) -> None:
    """Send the end of a run to the webhook, where there is one and the run has ended."""
    address = load_preferences().webhook
    if address is None or status.live:
        return
    problem = post(address, message_of_end(view, status))
    if problem is not None:
        sys.stderr.write(problem.en + "\n")


def _ended(view: RunView) -> RunStatus:
    """The status once the shim that started us has let go of the run's lock."""
    deadline = time.monotonic() + _LEAVE_SECONDS
    status = view.status()
    while status.live and time.monotonic() < deadline:
        time.sleep(0.05)
        status = view.status()
    return status


if __name__ == "__main__":
    run(Path(sys.argv[1]))
