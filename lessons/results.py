"""What a run of an experiment showed: its events without those that later ones replaced, and its charts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from minimind.charts import Chart, charts_of
from minimind.events import Band, Claim, Event, Heatmap, Level, Mark, Progress, Table
from minimind.experiment import Value

DIFFERENCES = "differences"
"""The table that says in what the arms of an experiment differ; it is shown first."""
_MOST_EVENTS = 100_000


@dataclass(frozen=True)
class Results:
    """One run of `experiment` with `values`: its last word on everything, the computing it took, when it ended.

    `seconds` are CPU-seconds of the process, `made` is Unix time.
    """

    experiment: str
    values: Mapping[str, Value]
    events: tuple[Event, ...]
    seconds: float = 0.0
    made: float = 0.0

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The claims in their order."""
        return tuple(event for event in self.events if isinstance(event, Claim))

    @cached_property
    def charts(self) -> dict[str, Chart]:
        """The charts by name, in the order in which they began."""
        return charts_of(self.events)


class Collector:
    """Takes events as they come and keeps what is needed to show the results again."""

    def __init__(self) -> None:
        self._ordered: list[Event] = []
        self._latest: dict[tuple[str, str], Event] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Take these events, in order."""
        for event in events:
            name = replaced_by_name(event)
            if name is not None:
                self._latest[event.kind, name] = event
            elif not isinstance(event, (Progress, Mark)) and len(self._ordered) < _MOST_EVENTS:
                self._ordered.append(event)

    def events(self) -> tuple[Event, ...]:
        """What was kept: points and sentences in order, then the latest of all that replaces itself."""
        return (*self._ordered, *self._latest.values())


def replaced_by_name(event: Event) -> str | None:
    """The name under which a later event of the same kind takes this one's place; None for what stays."""
    match event:
        case Heatmap(name=name) | Table(name=name):
            return name
        case Level(chart=chart, name=name) | Band(chart=chart, name=name):
            return f"{chart}\n{name}"
        case Claim(id=name):
            return name
        case _:
            return None
