"""One vocabulary for everything that happens: experiments yield these, runs record them, screens draw them.

Standard library only. An event is plain data: it can be written as one line of JSON and read back equal.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Text:
    """A short phrase in both languages."""

    en: str
    zh: str

    def of(self, language: Language) -> str:
        """The phrase in `language`."""
        return self.zh if language == "zh" else self.en

    def __str__(self) -> str:
        return self.en


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a piece of work is: `done` of `total` units (`total` None: unknown)."""

    kind: ClassVar[str] = "progress"
    done: float
    total: float | None = None
    label: Text | None = None


@dataclass(frozen=True, slots=True)
class Scalars:
    """One point on each of several curves.

    `x` is the abscissa (a step, a layer, …), named by `axis`; `values` maps a series' name to its value there.
    Series with the same `chart` are drawn in one chart; a run leaves it empty and the screen groups by name.
    NaN and infinities are allowed (a chart leaves a gap).
    """

    kind: ClassVar[str] = "scalars"
    x: float
    values: Mapping[str, float]
    axis: str = "step"
    chart: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line in a chart: a floor, a chance level, a limit. The latest of its `name` replaces the one before."""

    kind: ClassVar[str] = "level"
    chart: str
    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Band:
    """The spread of a series over seeds: at each of `x` its lowest and highest value. Replaces the one before."""

    kind: ClassVar[str] = "band"
    chart: str
    name: str
    x: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A matrix, the latest of its `name` replacing the one before. NaN marks a cell without a value.

    `low` and `high` fix the colour scale; None takes the extremes of the finite cells.
    """

    kind: ClassVar[str] = "heatmap"
    name: str
    rows: tuple[tuple[float, ...], ...]
    row_labels: tuple[str, ...] = ()
    column_labels: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    title: Text | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A table, the latest of its `name` replacing the one before."""

    kind: ClassVar[str] = "table"
    name: str
    columns: tuple[Text, ...]
    rows: tuple[tuple[str | float, ...], ...]
    title: Text | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence about what is happening, in our own words."""

    kind: ClassVar[str] = "note"
    text: Text


@dataclass(frozen=True, slots=True)
class Sample:
    """Text a model wrote for a fixed prompt at a step. Untrusted: clean before showing."""

    kind: ClassVar[str] = "sample"
    step: int
    prompt: str
    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence a lesson makes and the measurement that decides it.

    `holds` is True (supported), False (refuted) or None (inconclusive with the seeds run).
    `measured` maps names to the numbers behind the verdict; a number of seeds is called ``seeds``.
    """

    kind: ClassVar[str] = "claim"
    id: str
    text: Text
    measured: Mapping[str, float]
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Alert:
    """Something a person should look at. `level` is info, warning or error; `code` names the cause."""

    kind: ClassVar[str] = "alert"
    level: Literal["info", "warning", "error"]
    code: str
    text: Text
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """A point in the life of a run: `started` (from `step`), `saved`, `paused`, `resumed`, `control`, `rolled-back` (to `step`), `ended`.

    After a `started` or `rolled-back` mark a reader forgets every scalar of a later step: the run went back to its
    checkpoint.
    """

    kind: ClassVar[str] = "mark"
    what: Literal["started", "saved", "paused", "resumed", "control", "rolled-back", "ended"]
    step: int
    detail: Mapping[str, Any] = field(default_factory=dict)


RETURNS = ("started", "rolled-back")
"""What is marked when a run goes on from an earlier step than it had reached."""

Event: TypeAlias = Progress | Scalars | Level | Band | Heatmap | Table | Note | Sample | Claim | Alert | Mark
EVENT_TYPES: dict[str, type[Event]] = {
    event_type.kind: event_type
    for event_type in (Progress, Scalars, Level, Band, Heatmap, Table, Note, Sample, Claim, Alert, Mark)
}

_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _plain(value: Any) -> Any:
    """`value` as JSON data: a Text becomes {"en", "zh"}, a non-finite number {"float": "nan"}."""
    if isinstance(value, Text):
        return {"en": value.en, "zh": value.zh}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _rich(value: Any) -> Any:
    """The inverse of `_plain`; JSON arrays become tuples."""
    if isinstance(value, dict):
        if value.keys() == {"en", "zh"}:
            return Text(str(value["en"]), str(value["zh"]))
        if value.keys() == {"float"} and value["float"] in _NON_FINITE:
            return _NON_FINITE[value["float"]]
        return {key: _rich(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_rich(item) for item in value)
    return value


def to_dict(event: Event) -> dict[str, Any]:
    """`event` as JSON data with its ``kind``; strict JSON (no bare NaN)."""
    return {"kind": event.kind} | {f.name: _plain(getattr(event, f.name)) for f in fields(event)}


def from_dict(data: Mapping[str, Any]) -> Event | None:
    """The event `data` stands for, or None where its kind or its fields are not known to this version."""
    event_type = EVENT_TYPES.get(str(data.get("kind")))
    if event_type is None:
        return None
    names = {f.name for f in fields(event_type)}
    try:
        return event_type(**{key: _rich(item) for key, item in data.items() if key in names})
    except TypeError:
        return None


def to_json(event: Event, **extra: Any) -> str:
    """`event` as one line of JSON; `extra` keys (a time, say) come first."""
    return json.dumps(extra | to_dict(event), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
