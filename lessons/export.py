"""Results saved as files: JSON lines of events, a report with charts of plain text, a picture."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lessons.predictions import Judged
from lessons.report import report
from lessons.results import Results
from minimind import paths
from minimind.chart_svg import draw_svg
from minimind.errors import UserError
from minimind.events import Language, to_json
from minimind.experiment import Experiment

FORMATS = ("jsonl", "txt", "svg")


def content(
    experiment: Experiment, results: Results, judged: Judged | None, language: Language, format_name: str
) -> str | None:
    """What a file of that format holds; None for a picture of results that have no chart. Raises UserError."""
    if format_name == "jsonl":
        head: Mapping[str, Any] = {"experiment": experiment.name, "values": dict(results.values)}
        return "\n".join([json.dumps(head, ensure_ascii=False), *map(to_json, results.events)]) + "\n"
    if format_name == "txt":
        return report(experiment, results, judged, language) + "\n"
    if format_name == "svg":
        return draw_svg(experiment.title.of(language), results.events, experiment.names, language)
    names = " | ".join(f".{name}" for name in FORMATS)
    raise UserError(f".{format_name} cannot be written: use {names}", f"写不出 .{format_name}：请用 {names}")


def export(experiment: Experiment, results: Results, judged: Judged | None, language: Language, file: Path) -> Path:
    """Write `file`, in the format of its ending. Raises UserError where that cannot be done."""
    text = content(experiment, results, judged, language, file.suffix.removeprefix("."))
    if text is None:
        raise UserError(f"{experiment.name} draws no chart: use .txt", f"{experiment.name} 没有图表：请用 .txt")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{file}: not saved: {error.strerror}", f"{file}：没有保存：{error.strerror}") from None
    return file


def export_all(experiment: Experiment, results: Results, judged: Judged | None, language: Language) -> Path:
    """Write every format into a new directory among the person's exports and return it. Raises UserError."""
    directory = default_directory(experiment)
    for name in FORMATS:
        if content(experiment, results, judged, language, name) is not None:
            export(experiment, results, judged, language, directory / f"results.{name}")
    return directory


def default_directory(experiment: Experiment) -> Path:
    """A directory that is not there yet, named by the experiment and the time."""
    stem = f"{experiment.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    directory = paths.exports() / stem
    number = 1
    while directory.exists():
        number += 1
        directory = paths.exports() / f"{stem}-{number}"
    return directory
