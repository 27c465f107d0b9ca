"""The reader's side of a run: any number of them, at any time, without a word to the run itself."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import (
    RETURNS,
    Alert,
    Band,
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
)
from minimind.safe_text import clean_line
from minimind.training.about import About, read_about
from minimind.training.run_events import TimedEvent, parse_record
from minimind.training.run_files import CHECKPOINTS, EVENTS, RUN, exists, finite_number, read_json
from minimind.training.run_status import RunStatus, log_tail, status_of
from minimind.training.series import Series
from minimind.training.tail import SLICE, Tail, last_records

FORMAT = 1
"""The version of the run directory's layout, stored in run.json; a newer one is refused."""

_KEPT = 2_000
_SERIES_LIMIT = 200
_NAMES_LIMIT = 200
_GLANCE_BYTES = 64 << 10
_Name = TypeVar("_Name", str, tuple[str, str])
_Kept = TypeVar("_Kept")
_CHECKPOINT_NAME = re.compile(r"step-(\d{1,12})")


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A checkpoint as it lies on disk: its step, directory, size in bytes, and Unix time of writing."""

    step: int
    path: Path
    size: int
    time: float


@dataclass(frozen=True, slots=True)
class Glance:
    """The newest figures of a run, found without reading all of it: `latest` maps a series to its last value."""

    step: int | None
    progress: Progress | None
    latest: dict[str, float]


class RunView:
    """A run as one reader sees it; `refresh` takes in what was appended since.

    series        one curve a name, of at most 20,000 points (thinned, extremes kept)
    latest        the last value of each series
    samples, alerts, marks, notes   the newest 2,000 of each, oldest first
    heatmaps, tables                the latest of each name
    levels, bands                   the latest of each (chart, name)
    clock         the seconds the run had worked when it recorded a step
    progress, step                  how far it is
    bad_records, unknown_records    lines that are no JSON objects; objects that are no events of this version
    generation    grows when curves were cut back (the run restarted from a checkpoint, or its file was exchanged):
                  a chart that only appends must then be drawn anew
    behind        whether there is more to read than the last `refresh` was allowed to
    """

    def __init__(self, directory: Path | str, *, strict: bool = True) -> None:
        """Open a run; reads run.json only. Raises UserError where `directory` holds no readable run.

        With `strict` False it does not raise: `problem` tells what is wrong and the status is "unreadable".
        """
        self.directory = Path(directory).absolute()
        self.id = self.directory.name
        self.problem: Text | None = None
        self.request: dict[str, Any] = {}
        self._config: TrainConfig | None = None
        try:
            self.request = _read_request(self.directory)
            self._config = TrainConfig.from_dict(
                _table(self.request.get("config")), ignore_unknown=True, where=str(self.directory / RUN)
            )
        except UserError as error:
            if strict:
                raise
            self.problem = error.text
        parent = self.request.get("parent")
        self.parent = clean_line(parent, 500) if isinstance(parent, str) else None
        self.created = finite_number(self.request.get("created")) or 0.0
        self.unknown_records = 0
        self.generation = 0
        self._tail = Tail(self.directory / EVENTS)
        self._replaced = 0
        self._forget_all()

    @property
    def config(self) -> TrainConfig:
        """What was asked for. Raises UserError for an unreadable run."""
        if self._config is None:
            problem = self.problem or Text("unreadable", "无法读取")
            raise UserError(problem.en, problem.zh)
        return self._config

    @property
    def about(self) -> About:
        """What a person says of it now: another name, a note, tags."""
        return read_about(self.directory)

    @property
    def name(self) -> str:
        """The name it was given last; empty for none."""
        given, renamed = self.request.get("name"), self.about.name
        if renamed is not None:
            return renamed
        return clean_line(given, 80) if isinstance(given, str) else ""

    @property
    def behind(self) -> bool:
        """Whether the last `refresh` left records unread."""
        return self._tail.behind

    @property
    def bad_records(self) -> int:
        """Lines that do not hold a JSON object."""
        return self._tail.bad

    @property
    def elapsed(self) -> float:
        """Seconds that the run has worked so far, all its starts together."""
        return self._earlier_seconds + self._seconds

    def refresh(self, limit: int = SLICE) -> list[TimedEvent]:
        """Take in at most `limit` bytes of new records; returns their events in order. Raises OSError."""
        records = self._tail.read(limit)
        if self._tail.replaced != self._replaced:
            self._replaced = self._tail.replaced
            self.generation += 1
            self._forget_all()
        events = []
        for record in records:
            timed = parse_record(record)
            if timed is None:
                self.unknown_records += 1
            else:
                self._take(timed)
                events.append(timed)
        return events

    def status(self) -> RunStatus:
        """What became of the run, asked of its directory now."""
        if self.problem is not None:
            return RunStatus("unreadable", self.problem)
        return status_of(self.directory)

    def glance(self) -> Glance:
        """The newest figures from the end of the file, for a list of many runs; does not move `refresh`."""
        step: int | None = None
        progress: Progress | None = None
        latest: dict[str, float] = {}
        for record in last_records(self.directory / EVENTS, _GLANCE_BYTES):
            timed = parse_record(record)
            event = timed.event if timed else None
            if isinstance(event, Scalars) and event.axis == "step":
                latest.update(event.values)
                step = int(event.x)
            elif isinstance(event, Progress):
                progress = event
            elif isinstance(event, Mark):
                step = event.step
        return Glance(step, progress, latest)

    def checkpoints(self) -> list[CheckpointFile]:
        """The complete checkpoints, oldest first (their bytes are verified only when one is loaded)."""
        found = []
        try:
            entries = list((self.directory / CHECKPOINTS).iterdir())
        except OSError:
            return []
        for entry in entries:
            match = _CHECKPOINT_NAME.fullmatch(entry.name)
            try:
                if match and (entry / "MANIFEST.json").is_file():
                    stats = [file.stat() for file in entry.iterdir()]
                    found.append(
                        CheckpointFile(
                            int(match[1]), entry, sum(s.st_size for s in stats), max(s.st_mtime for s in stats)
                        )
                    )
            except OSError:
                continue  # pruned while we looked
        return sorted(found, key=lambda checkpoint: checkpoint.step)

    def log_tail(self, count: int = 50) -> tuple[str, ...]:
        """The last `count` lines of the run's log, cleaned."""
        return log_tail(self.directory, count)

    def close(self) -> None:
        """Let go of the events file."""
        self._tail.close()

    def _forget_all(self) -> None:
        self.series: dict[str, Series] = {}
        self.latest: dict[str, float] = {}
        self.samples: deque[Sample] = deque(maxlen=_KEPT)
        self.alerts: deque[Alert] = deque(maxlen=_KEPT)
        self.marks: deque[Mark] = deque(maxlen=_KEPT)
        self.notes: deque[Note] = deque(maxlen=_KEPT)
        self.heatmaps: dict[str, Heatmap] = {}
        self.tables: dict[str, Table] = {}
        self.levels: dict[tuple[str, str], Level] = {}
        self.bands: dict[tuple[str, str], Band] = {}
        self.clock = Series()
        self.progress: Progress | None = None
        self.step = 0
        self._seconds = 0.0
        self._earlier_seconds = 0.0

    def _take(self, timed: TimedEvent) -> None:
        event = timed.event
        if 0.0 < timed.t < self._seconds:  # the clock of a new start; its first records come before its mark
            self._earlier_seconds += self._seconds
            self._seconds = 0.0
        self._seconds = max(self._seconds, timed.t)
        if isinstance(event, Scalars):
            self._take_scalars(event)
        elif isinstance(event, Mark):
            self._take_mark(event)
        elif isinstance(event, Progress):
            self.progress = event
        else:
            self._take_other(event)

    def _take_scalars(self, event: Scalars) -> None:
        if event.axis == "step":
            if event.x != self.step:
                self.clock.append(event.x, self.elapsed)
            self.step = int(event.x)
        for name, value in event.values.items():
            series = self.series.get(name)
            if series is None:
                if len(self.series) >= _SERIES_LIMIT:
                    continue
                series = self.series[name] = Series(event.axis)
            series.append(event.x, value)
            self.latest[name] = value

    def _take_mark(self, event: Mark) -> None:
        self.marks.append(event)
        if event.what in RETURNS:
            # From the beginning everything is said anew, also what had been measured before the first step.
            begins = event.what == "started" and event.step == 0
            self._go_back(-1 if begins else event.step)
        self.step = event.step

    def _take_other(self, event: Event) -> None:
        match event:
            case Sample():
                self.samples.append(event)
            case Alert():
                self.alerts.append(event)
            case Note():
                self.notes.append(event)
            case Heatmap():
                _keep(self.heatmaps, event.name, event)
            case Table():
                _keep(self.tables, event.name, event)
            case Level():
                _keep(self.levels, (event.chart, event.name), event)
            case Band():
                _keep(self.bands, (event.chart, event.name), event)

    def _go_back(self, step: int) -> None:
        """Forget what lies beyond `step`: the run went back to a checkpoint and will say it anew."""
        cut = False
        self.clock.forget_after(step)
        for name, series in list(self.series.items()):
            if series.axis != "step" or not series.x or series.x[-1] <= step:
                continue
            cut = True
            series.forget_after(step)
            if series.x:
                self.latest[name] = series.y[-1]
            else:
                del self.series[name], self.latest[name]
        kept = [sample for sample in self.samples if sample.step <= step]
        if cut or len(kept) < len(self.samples):
            self.generation += 1
            self.samples = deque(kept, maxlen=_KEPT)
        self.progress = None


def _keep(known: dict[_Name, _Kept], name: _Name, event: _Kept) -> None:
    """Let `event` take the place of the one before; of too many names the later ones are left out."""
    if name in known or len(known) < _NAMES_LIMIT:
        known[name] = event


def _read_request(directory: Path) -> dict[str, Any]:
    """The contents of run.json. Raises UserError where it is missing, damaged or from a newer version."""
    path = directory / RUN
    request = read_json(path)
    if request is None:
        if exists(path):
            raise UserError(
                f"{path}: damaged, or not made by minimind: delete the folder if it is of no use",
                f"{path}：已损坏，或不是 minimind 写的：若无用可删除该目录",
            )
        raise UserError(f"{directory}: not a run (no {RUN} in it)", f"{directory}：不是训练目录（里面没有 {RUN}）")
    version = request.get("format")
    if version != FORMAT:
        raise UserError(
            f"{path}: format {clean_line(str(version), 40)} is not known (this version knows {FORMAT}): update minimind-tui",
            f"{path}：不认识格式 {clean_line(str(version), 40)}（本版本为 {FORMAT}）：请升级 minimind-tui",
        )
    return request


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
