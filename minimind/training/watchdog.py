"""Ends a process that stands still, with its stack in the log: a run must not wait for ever for one that hangs."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HUNG_CODE = 14
"""Exit status of a process that its watchdog ended."""
_LOOKS = 4
"""How often a watchdog looks within the time allowed."""
_MOST_SECONDS_BETWEEN_LOOKS = 5.0


class Watchdog:
    """Ends this process where its main thread does no exchange with the others for `seconds`.

    Waiting for the others (`waiting`) does not count: whoever keeps them waiting is ended by its own watchdog, so that
    the stack in the log is that of the process that hangs. A thread looks; where even threads cannot run (a call that
    keeps Python's lock) the timer of `faulthandler`, which needs no Python, does the same a little later.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._since: float | None = None
        self._over = threading.Event()

    def start(self) -> None:
        """From now on the time counts."""
        self._since = time.monotonic()
        threading.Thread(target=self._look, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """It does not count any more."""
        self._over.set()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """While the others are waited for, the time does not count; afterwards it begins anew."""
        watching = self._since is not None
        self._since = None
        try:
            yield
        finally:
            if watching:
                self._since = time.monotonic()

    def _look(self) -> None:
        pause = min(self._seconds / _LOOKS, _MOST_SECONDS_BETWEEN_LOOKS)
        while not self._over.wait(pause):
            faulthandler.dump_traceback_later(self._seconds + pause, exit=True)
            since = self._since
            if since is not None and time.monotonic() - since > self._seconds:
                self._end()
        faulthandler.cancel_dump_traceback_later()

    def _end(self) -> None:
        sys.stderr.write(
            f"{self._name} has stood still for {self._seconds:g} seconds and is ended "
            f"(process_timeout sets the time); its stack:\n"
        )
        sys.stderr.flush()
        faulthandler.dump_traceback(file=sys.stderr.fileno(), all_threads=True)
        os._exit(HUNG_CODE)
