"""One run of an experiment in the app: its thread, and what it has shown so far."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from lessons.catalogue import stream
from lessons.results import Collector, Results
from minimind.errors import UserError
from minimind.events import Event, Text
from minimind.experiment import Experiment, Value
from minimind.safe_text import clean_line
from minimind_tui.inbox import Inbox
from minimind_tui.lab import Lab


class ExperimentRun:
    """`experiment` with `values`, computing from the start; `drain` takes out what came since the last time."""

    def __init__(self, experiment: Experiment, values: Mapping[str, Value]) -> None:
        self.experiment, self.values = experiment, dict(values)
        self._collector = Collector()

        def events() -> Iterator[Event]:
            return stream(experiment, self.values)

        self.lab = Lab(events, Inbox())
        self.lab.start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended; a paused run has not."""
        return self.lab.state == "running"

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing more will come until somebody asks for it."""
        return (self.lab.is_waiting or not self.is_running) and not len(self.lab.inbox)

    def drain(self) -> list[Event]:
        """The events since the last time."""
        events = self.lab.inbox.drain()
        self._collector.add(events)
        return events

    def results(self) -> Results:
        """What it has shown so far."""
        return Results(self.experiment.name, self.values, self._collector.events(), self.lab.seconds, time.time())

    def problem(self) -> Text | None:
        """Why it failed, in a line; None where it did not."""
        error = self.lab.error
        if error is None or isinstance(error, UserError):
            return None if error is None else error.text
        words = clean_line(f"{type(error).__name__}: {error}", 200)
        return Text(f"it failed: {words}", f"运行出错：{words}")
