"""Run an experiment on a thread of its own and put its events into an `Inbox`.

The thread is a daemon and not one of asyncio's, whose end the event loop would wait for: an experiment in the middle
of a long computation must not keep the app from closing (``__main__`` leaves with ``os._exit`` while one is alive).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count

from minimind.errors import UserError
from minimind.events import Event
from minimind_tui import crash
from minimind_tui.inbox import Inbox

THREAD_PREFIX = "lab-"
_numbers = count(1)


class Lab:
    """One run of one stream of events. States: `running`, then `finished`, `stopped` or `failed` (see `error`)."""

    def __init__(self, events: Callable[[], Iterator[Event]], inbox: Inbox) -> None:
        self.inbox = inbox
        self.error: Exception | None = None
        self._events = events
        self._stop = threading.Event()
        self._state = "running"
        self._thread = threading.Thread(target=self._run, name=f"{THREAD_PREFIX}{next(_numbers)}", daemon=True)

    def start(self) -> None:
        """Begin. `events` is called on the thread, so that importing torch does not stop the window."""
        sys.setswitchinterval(0.001)  # a pure-Python experiment would otherwise hold a key back for 33 ms
        self._thread.start()

    @property
    def state(self) -> str:
        """running | finished | stopped | failed."""
        return self._state

    def stop(self) -> None:
        """Ask it to end at its next event; returns at once."""
        self._stop.set()

    def join(self, seconds: float) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            stream = self._events()
            has_torch = _leave_a_core()
            for event in stream:
                has_torch = has_torch or _leave_a_core()  # a stream may bring it with its first event
                self.inbox.put(event)
                if self._stop.is_set():
                    break
            close = getattr(stream, "close", None)
            if close is not None:
                close()
        except Exception as error:
            self.error = error
            if not isinstance(error, UserError):
                crash.write(error)
            self._state = "failed"
        else:
            self._state = "stopped" if self._stop.is_set() else "finished"


def _leave_a_core() -> bool:
    """Where the experiment brought torch: one core stays for the window. Says whether it has."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    return True


def is_busy() -> bool:
    """Whether any lab thread is alive."""
    return any(thread.name.startswith(THREAD_PREFIX) for thread in threading.enumerate())
