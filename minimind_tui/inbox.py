"""The bounded buffer between what computes and what draws.

A thread puts events in as fast as it likes; a screen's timer takes them out ten times a second. What replaces itself
(a heatmap, a table, a level, a band, the progress) is kept once, the latest; points and sentences are kept in order up to a limit,
beyond which the oldest points are dropped and counted. A message a point would freeze the window (`post_message` is
unbounded).
"""

from __future__ import annotations

from collections import deque
from threading import Lock

from lessons.results import replaced_by_name
from minimind.events import Claim, Event, Progress

DRAIN_SECONDS = 0.1
_CAPACITY = 50_000


class Inbox:
    """Thread-safe: any number of writers, one reader."""

    def __init__(self, capacity: int = _CAPACITY) -> None:
        self._lock = Lock()
        self._ordered: deque[Event] = deque(maxlen=capacity)
        self._latest: dict[tuple[str, str], Event] = {}
        self.dropped = 0
        """Events lost to the limit so far."""

    def put(self, event: Event) -> None:
        """Add an event; one that replaces an earlier one takes its place."""
        with self._lock:
            name = "" if isinstance(event, Progress) else replaced_by_name(event)
            if name is not None and not isinstance(event, Claim):
                self._latest[event.kind, name] = event
            else:
                self.dropped += len(self._ordered) == self._ordered.maxlen
                self._ordered.append(event)

    def drain(self) -> list[Event]:
        """Take everything out: what came in order, then the latest of each that replaces itself."""
        with self._lock:
            events = [*self._ordered, *self._latest.values()]
            self._ordered.clear()
            self._latest.clear()
        return events

    def __len__(self) -> int:
        return len(self._ordered) + len(self._latest)
