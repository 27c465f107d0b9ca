"""The records of events.jsonl as Events, with the time they were written. What stands in the file is not trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from minimind.events import (
    Alert,
    Band,
    Claim,
    Event,
    Heatmap,
    Level,
    Mark,
    Note,
    Progress,
    Sample,
    Scalars,
    Table,
    Text,
    from_dict,
)


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """An event, the seconds since the start of the run it belongs to, and the Unix time; 0.0 where not recorded."""

    event: Event
    t: float
    time: float


def parse_record(record: Mapping[str, Any]) -> TimedEvent | None:
    """The event in `record`, or None where its kind is unknown or a field is not what it should be."""
    event: Event | None = _plain_scalars(record)
    if event is None:
        event = from_dict(record)
        if event is None or not is_sound(event):
            return None
    return TimedEvent(event, _seconds(record.get("t")), _seconds(record.get("time")))


def _plain_scalars(record: Mapping[str, Any]) -> Scalars | None:
    """The short way for the records that fill a file: scalars whose values are all plain numbers."""
    if record.get("kind") != Scalars.kind:
        return None
    x, values = record.get("x", math.nan), record.get("values")
    axis, chart = record.get("axis", "step"), record.get("chart", "")
    if type(values) is not dict or not all(map(_is_number, values.values())) or not _is_finite(x):
        return None
    return Scalars(x, values, axis, chart) if type(axis) is str and type(chart) is str else None


def _seconds(value: Any) -> float:
    return float(value) if _is_finite(value) else 0.0


def _is_number(value: Any) -> bool:
    """A float, or an integer that fits into one."""
    if type(value) is int:
        return abs(value) <= _LARGEST
    return type(value) is float


_LARGEST = 2**1000


def _is_finite(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, Text)


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _is_step(value: Any) -> bool:
    return type(value) is int and _is_number(value)


def _is_measurements(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_number, value.values()))


def _optional(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _each(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple) and all(map(check, value))


def _one_of(*choices: object) -> Callable[[Any], bool]:
    return lambda value: any(value is choice or (type(value) is str and value == choice) for choice in choices)


_FIELD_CHECKS: dict[type[Event], dict[str, Callable[[Any], bool]]] = {
    Progress: {"done": _is_finite, "total": _optional(_is_finite), "label": _optional(_is_text)},
    Scalars: {"x": _is_finite, "values": _is_measurements, "axis": _is_string, "chart": _is_string},
    Level: {"chart": _is_string, "name": _is_string, "value": _is_number},
    Band: {
        "chart": _is_string,
        "name": _is_string,
        "x": _each(_is_number),
        "low": _each(_is_number),
        "high": _each(_is_number),
    },
    Heatmap: {
        "name": _is_string,
        "rows": _each(_each(_is_number)),
        "row_labels": _each(_is_string),
        "column_labels": _each(_is_string),
        "low": _optional(_is_number),
        "high": _optional(_is_number),
        "title": _optional(_is_text),
    },
    Table: {
        "name": _is_string,
        "columns": _each(_is_text),
        "rows": _each(_each(lambda value: _is_string(value) or _is_number(value))),
        "title": _optional(_is_text),
    },
    Note: {"text": _is_text},
    Sample: {"step": _is_step, "prompt": _is_string, "text": _is_string, "name": _is_string},
    Claim: {
        "id": _is_string,
        "text": _is_text,
        "measured": _is_measurements,
        "holds": _one_of(True, False, None),
    },
    Alert: {
        "level": _one_of("info", "warning", "error"),
        "code": _is_string,
        "text": _is_text,
        "step": _optional(_is_step),
    },
    Mark: {
        "what": _one_of("started", "saved", "paused", "resumed", "control", "rolled-back", "ended"),
        "step": _is_step,
        "detail": lambda value: isinstance(value, Mapping),
    },
}


def is_sound(event: Event) -> bool:
    """Whether every field holds what its type promises, so that a screen can draw it without asking."""
    if not all(check(getattr(event, name)) for name, check in _FIELD_CHECKS[type(event)].items()):
        return False
    return not isinstance(event, Band) or len(event.x) == len(event.low) == len(event.high)
