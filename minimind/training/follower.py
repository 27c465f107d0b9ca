"""The process that passes on what a live run records: ``python -m minimind.training.follower RUNDIR``.

Started beside a run whose owner wants its figures in a tracker or its alerts at a webhook. It only reads the run's
files, so that no tracker can slow, block or end a training; it leaves when the run has ended. There is at most one a
run; killed, it is started again with the run and goes on where it was.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from minimind.errors import UserError
from minimind.events import Alert, Sample, Scalars
from minimind.preferences import Preferences, load_preferences
from minimind.training.afterwards import tell_the_end
from minimind.training.run_events import TimedEvent
from minimind.training.run_files import EXIT, exists, read_json, take_lock, whole_number, write_atomic
from minimind.training.run_view import RunView
from minimind.training.trackers import Tracker, open_tracker
from minimind.training.webhook import message_of_alert, post

LOCK, STATE = "follower.lock", "follower.json"
POLL_SECONDS = 1.0
_MOST_ALERTS = 20
"""Alerts passed on of one run: a person who has not come by then does not come for more."""
_TOLD_OTHERWISE = frozenset({"failed", "out-of-memory"})
"""Codes of the alert that a trainer leaves as its last word: the message of the end says it too."""


class Follower:
    """Passes on the records of one run from where the last follower stopped."""

    def __init__(self, view: RunView, preferences: Preferences, tracker: Tracker | None) -> None:
        self._view = view
        self._address = preferences.webhook
        self._tracker = tracker
        state = read_json(view.directory / STATE) or {}
        self._alerts_told = whole_number(state.get("alerts")) or 0
        self._step_told = whole_number(state.get("step"))
        self._alerts_seen = 0

    def follow(self, poll_seconds: float = POLL_SECONDS) -> None:
        """Pass on what is there and what comes, until the run has ended."""
        while True:
            live = self._view.status().live  # asked first: what is written before the end is then read after it
            self.take_new()
            if not live:
                break
            time.sleep(poll_seconds)
        if self._tracker is not None:
            self._tracker.close()
        if not exists(self._view.directory / EXIT):  # with its shim killed nobody else tells the end
            tell_the_end(self._view, self._view.status())

    def take_new(self) -> None:
        """Pass on what was recorded since the last time."""
        news = False
        more = True
        while more:
            events = self._view.refresh()
            more = self._view.behind
            for timed in events:
                self._take(timed)
            news = news or bool(events)
        if news:
            write_atomic(self._view.directory / STATE, {"alerts": self._alerts_told, "step": self._step_told})

    def _take(self, timed: TimedEvent) -> None:
        event = timed.event
        if isinstance(event, Alert):
            self._alerts_seen += 1
            if self._alerts_seen > self._alerts_told:
                self._alerts_told = self._alerts_seen
                self._tell(event)
        elif self._tracker is None:
            return
        elif isinstance(event, Scalars) and event.axis == "step":
            step = int(event.x)
            if self._tracker.whole or self._step_told is None or step >= self._step_told:
                self._step_told = step
                self._tracker.scalars(step, event.values, timed.time)
        elif isinstance(event, Sample):
            self._tracker.sample(event, timed.time)

    def _tell(self, alert: Alert) -> None:
        if self._address is None or alert.code in _TOLD_OTHERWISE or self._alerts_told > _MOST_ALERTS:
            return
        problem = post(self._address, message_of_alert(self._view, alert))
        if problem is not None:
            sys.stderr.write(problem.en + "\n")


def run(directory: Path) -> None:
    """Follow the run in `directory`, unless somebody does already. Never raises: what goes wrong is said in a line."""
    try:
        view = RunView(directory)
        lock = take_lock(directory / LOCK, 0.0)
        if lock is None:
            return
        try:
            _follow(view)
        finally:
            os.close(lock)
    except UserError as error:
        sys.stderr.write(error.text.en + "\n")
    except OSError as error:  # a full disk, a run deleted meanwhile
        sys.stderr.write(f"{directory.name}: no longer followed: {error.strerror}\n")


def _follow(view: RunView) -> None:
    preferences = load_preferences()
    tracker: Tracker | None = None
    try:
        tracker = open_tracker(preferences.track, view)
    except UserError as error:  # the tracker is not installed: alerts are passed on all the same
        sys.stderr.write(error.text.en + "\n")
    Follower(view, preferences, tracker).follow()


if __name__ == "__main__":
    run(Path(sys.argv[1]))
