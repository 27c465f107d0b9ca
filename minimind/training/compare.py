"""Several runs beside each other: curves on a common axis, smoothed; and the settings in which they differ. No torch."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

from minimind.training.run_view import RunView
from minimind.training.series import Series

Alignment = Literal["step", "tokens", "time"]
"""What runs are compared by: optimiser steps, tokens read, or seconds worked (pauses and interruptions left out)."""
ALIGNMENTS: tuple[Alignment, ...] = get_args(Alignment)


def aligned_series(view: RunView, name: str, by: Alignment = "step") -> Series:
    """The curve `name` of what `view` has read, over steps, tokens or seconds.

    Between two steps at which tokens or seconds are known the line is drawn straight. Empty where there is no such
    curve, or nothing is known of the tokens or the time.
    """
    series = view.series.get(name)
    if series is None or series.axis != "step":
        return Series(by)
    if by == "step":
        return series
    scale = view.clock if by == "time" else view.series.get("tokens", Series())
    made = Series(by)
    for step, value in zip(series.x, series.y, strict=True):
        place = _value_at(scale, step)
        if place is not None and (not made.x or place >= made.x[-1]):
            made.append(place, value)
    return made


def _value_at(scale: Series, step: float) -> float | None:
    """Tokens or seconds at `step`; before the first known one it is zero at step 0, behind the last one unknown."""
    after = bisect_left(scale.x, step)
    if after == len(scale.x):
        return None
    if scale.x[after] == step:
        return scale.y[after]
    left, low = (scale.x[after - 1], scale.y[after - 1]) if after else (0.0, 0.0)
    span = scale.x[after] - left
    return low + (scale.y[after] - low) * (step - left) / span if span > 0 else low


def smooth(values: Sequence[float], factor: float) -> list[float]:
    """The exponential moving average with weight `factor` (0: as it is … below 1) for the past.

    Corrected for its start as Adam's means are (Kingma & Ba 2015, section 3): the first value is the first value. What
    is not finite stays where it is and does not count. Raises ValueError for a factor outside [0, 1).
    """
    if not 0.0 <= factor < 1.0:
        raise ValueError(f"factor = {factor}: use 0 … below 1")
    mean = weight = 0.0
    made = []
    for value in values:
        if math.isfinite(value):
            mean = factor * mean + (1 - factor) * value
            weight = factor * weight + (1 - factor)
            made.append(mean / weight)
        else:
            made.append(value)
    return made


class Difference(NamedTuple):
    """A setting in which runs differ: its value in each, None where a run has no such setting."""

    name: str
    values: tuple[Any, ...]


def config_differences(views: Sequence[RunView]) -> list[Difference]:
    """The settings in which `views` differ, in order: the training's, the architecture's (``model.…``), versions.

    An architecture's fields are compared only where the runs know them. Unreadable runs have no settings.
    """
    settings = [known_settings(view) for view in views]
    models = [_prefixed("model", view.request.get("model")) for view in views]
    versions = [_prefixed("version", view.request.get("versions")) for view in views]
    return [*_differences(settings), *_differences(models if all(models) else []), *_differences(versions)]


def known_settings(view: RunView) -> dict[str, Any]:
    """What is known of a run's settings: of one read from a log only what the log tells."""
    if view.problem is not None:
        return {}
    known = view.request.get("config")
    settings = view.config.to_dict()
    if "imported" in view.request and isinstance(known, dict):
        return {name: value for name, value in settings.items() if name in known}
    return settings


def _prefixed(prefix: str, table: Any) -> dict[str, Any]:
    return {f"{prefix}.{name}": value for name, value in table.items()} if isinstance(table, dict) else {}


def _differences(tables: Sequence[Mapping[str, Any]]) -> list[Difference]:
    names = dict.fromkeys(name for table in tables for name in table)
    rows = [Difference(name, tuple(table.get(name) for table in tables)) for name in names]
    return [row for row in rows if any(value != row.values[0] for value in row.values)]
