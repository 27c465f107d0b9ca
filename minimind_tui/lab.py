"""Run an experiment on a thread of its own and put its events into an `Inbox`.

The thread is a daemon and not one of asyncio's, whose end the event loop would wait for: an experiment in the middle
of a long computation must not keep the app from closing (``__main__`` leaves with ``os._exit`` while one is alive).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count

from minimind.errors import UserError
from minimind.events import Event, Progress
from minimind_tui import crash
from minimind_tui.garbage import settle_with_torch
from minimind_tui.inbox import Inbox

THREAD_PREFIX = "lab-"
_numbers = count(1)


class Lab:
    """One run of one stream of events. States: `running`, then `finished`, `stopped` or `failed` (see `error`).

    While `is_paused` it waits after its next event; `step` lets it go on to the next one that is drawn.
    """

    def __init__(self, events: Callable[[], Iterator[Event]], inbox: Inbox) -> None:
        self.inbox = inbox
        self.error: Exception | None = None
        self._events = events
        self.seconds = 0.0
        """CPU-seconds of the process that the run took, once it ended."""
        self.is_paused = False
        self.is_waiting = False
        """Whether the thread is held back at this moment."""
        self._steps = 0
        self._gate = threading.Condition()
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
        with self._gate:
            self._stop.set()
            self._wake()

    def pause(self) -> None:
        """Hold it back after its next event."""
        with self._gate:
            self.is_paused = True

    def resume(self) -> None:
        """Let it go on."""
        with self._gate:
            self.is_paused = False
            self._wake()

    def step(self) -> None:
        """Let a paused run go on to the next event that is drawn."""
        with self._gate:
            if self.is_paused and not self._steps:
                self._steps = 1
                self._wake()

    def _wake(self) -> None:
        self.is_waiting = False  # at once, so that nobody takes the run for one at rest before the thread wakes
        self._gate.notify_all()

    def _hold(self, event: Event) -> None:
        """Wait while the run is paused, but for the steps that were asked for."""
        with self._gate:
            if self._steps and not isinstance(event, Progress):
                self._steps = 0
            while self.is_paused and not self._steps and not self._stop.is_set():
                self.is_waiting = True
                self._gate.wait()
            self.is_waiting = False

    def join(self, seconds: float) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        began = time.process_time()
        try:
            stream = self._events()
            has_torch = _leave_a_core()
            for event in stream:
                has_torch = has_torch or _leave_a_core()  # a stream may bring it with its first event
                self.inbox.put(event)
                self._hold(event)
                if self._stop.is_set():
                    break
            close = getattr(stream, "close", None)
            if close is not None:
                close()
            self.seconds = time.process_time() - began
        except Exception as error:
            self.error = error
            if not isinstance(error, UserError):
                crash.write(error)
            self._state = "failed"
        else:
            self._state = "stopped" if self._stop.is_set() else "finished"


def _leave_a_core() -> bool:
    """Where the experiment brought torch: one core stays for the window, which looks for no garbage in it. Says whether it has."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    settle_with_torch()
    return True


def is_busy() -> bool:
    """Whether any lab thread is alive."""
    return any(thread.name.startswith(THREAD_PREFIX) for thread in threading.enumerate())
