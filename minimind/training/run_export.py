"""What a run recorded, for other programs: CSV, JSON lines, TensorBoard event files, trackio, Weights & Biases."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from minimind.errors import UserError
from minimind.events import RETURNS, Mark, Sample, Scalars
from minimind.training.run_view import RunView
from minimind.training.trackers import open_tracker, released_values

ExportFormat = Literal["csv", "jsonl", "tensorboard", "trackio", "wandb"]
EXPORT_FORMATS: tuple[ExportFormat, ...] = get_args(ExportFormat)
FILE_FORMATS: tuple[ExportFormat, ...] = ("csv", "jsonl", "tensorboard")
"""Those that are written to a place of one's choice."""
Names = Literal["ours", "released"]
NAMES: tuple[Names, ...] = get_args(Names)


@dataclass
class Row:
    """All figures of one step, and the Unix time at which the last of them was recorded."""

    step: int
    time: float = 0.0
    values: dict[str, float] = field(default_factory=dict)


@dataclass
class Recorded:
    """What a run has recorded: a row a step in ascending order, and the texts its model wrote."""

    rows: list[Row]
    samples: list[tuple[Sample, float]]


def recorded(directory: Path) -> Recorded:
    """Everything in the run's file; what a restart took back is left out. Raises UserError for no run, OSError."""
    view = RunView(directory)
    rows: dict[int, Row] = {}
    samples: list[tuple[Sample, float]] = []
    more = True
    while more:
        for timed in view.refresh():
            event = timed.event
            if isinstance(event, Scalars) and event.axis == "step":
                row = rows.setdefault(int(event.x), Row(int(event.x)))
                row.values.update(event.values)
                row.time = timed.time
            elif isinstance(event, Sample):
                samples.append((event, timed.time))
            elif isinstance(event, Mark) and event.what in RETURNS:
                rows = {step: row for step, row in rows.items() if step <= event.step}
                samples = [one for one in samples if one[0].step <= event.step]
        more = view.behind
    view.close()
    return Recorded([rows[step] for step in sorted(rows)], samples)


def export_run(directory: Path, to: ExportFormat, place: Path, names: Names = "ours") -> int:
    """Write what the run in `directory` recorded; returns the number of steps.

    `place` is the file, or TensorBoard's directory; trackio and wandb know their own. With `names` "released" figures
    are called as the released trainers call them. Raises UserError for no run, nothing recorded, a place that cannot be
    written and a package that is not installed.
    """
    try:
        found = recorded(directory)
        if names == "released":
            for row in found.rows:
                row.values = released_values(row.values)
        if not found.rows:
            raise UserError(f"{directory.name}: nothing is recorded yet", f"{directory.name}：还没有任何记录")
        if to in FILE_FORMATS:
            place.parent.mkdir(parents=True, exist_ok=True)
        _WRITERS.get(to, _track)(found, directory, to, place)
    except OSError as error:
        raise UserError(
            f"{place}: cannot be written: {error.strerror}", f"{place}：无法写入：{error.strerror}"
        ) from None
    return len(found.rows)


def _write_csv(found: Recorded, _directory: Path, _to: ExportFormat, place: Path) -> None:
    """One line a step; a figure that a step has not is empty."""
    columns = list(dict.fromkeys(name for row in found.rows for name in row.values))
    with place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["step", "time", *map(_no_formula, columns)])
        for row in found.rows:
            writer.writerow([row.step, row.time, *(row.values.get(name, "") for name in columns)])


def _no_formula(name: str) -> str:
    """A column's name that no spreadsheet takes for a formula: names come from a file that may be a stranger's."""
    return f"'{name}" if name[:1] in "=+-@\t\r" else name


def _write_jsonl(found: Recorded, _directory: Path, _to: ExportFormat, place: Path) -> None:
    """One strict JSON object a step: what is not finite is null."""
    with place.open("w", encoding="utf-8") as file:
        for row in found.rows:
            values = {name: value if math.isfinite(value) else None for name, value in row.values.items()}
            file.write(json.dumps({"step": row.step, "time": row.time, **values}, ensure_ascii=False) + "\n")


def _track(found: Recorded, directory: Path, to: ExportFormat, place: Path) -> None:
    tracker = open_tracker(to, RunView(directory), place)
    if tracker is None:
        return
    for row in found.rows:
        tracker.scalars(row.step, row.values, row.time)
    for sample, time in found.samples:
        tracker.sample(sample, time)
    tracker.close()


_WRITERS: Mapping[str, Callable[[Recorded, Path, Any, Path], None]] = {"csv": _write_csv, "jsonl": _write_jsonl}
