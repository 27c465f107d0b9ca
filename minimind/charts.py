"""The charts that events draw, whoever draws them: a screen, a terminal, a picture."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from minimind.events import Band, Event, Level, Scalars
from minimind.plot import Curve


@dataclass
class Chart:
    """The curves of one chart, its levels (name to value) and its bands over seeds (series to band)."""

    name: str
    axis: str = ""
    curves: dict[str, Curve] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)
    bands: dict[str, Band] = field(default_factory=dict)


def charts_of(events: Iterable[Event]) -> dict[str, Chart]:
    """The charts that `events` draw, by name. One that has only levels or bands is none."""
    charts: dict[str, Chart] = {}
    for event in events:
        if isinstance(event, Scalars):
            chart = charts.setdefault(event.chart, Chart(event.chart))
            chart.axis = chart.axis or event.axis
            for name, value in event.values.items():
                chart.curves.setdefault(name, Curve()).append(event.x, value)
        elif isinstance(event, Level):
            charts.setdefault(event.chart, Chart(event.chart)).levels[event.name] = event.value
        elif isinstance(event, Band):
            charts.setdefault(event.chart, Chart(event.chart)).bands[event.name] = event
    return {name: chart for name, chart in charts.items() if chart.curves}
