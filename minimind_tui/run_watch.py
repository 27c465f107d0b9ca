"""One run, watched: what is new since the last look, ready to be drawn. No Textual, no torch.

A watch is polled off the event loop and hands over snapshots: plain data that the trainer's next line cannot change.
A long run is taken in by slices; meanwhile `loading` says how far it is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from minimind.config import TrainConfig
from minimind.events import Alert, Band, Level, Mark, Note, Progress, Sample, Scalars, Table
from minimind.training.diagnose import Finding, diagnose
from minimind.training.prediction import Outcome, outcomes
from minimind.training.run_files import EVENTS
from minimind.training.runs import CheckpointFile, RunStatus, RunView, TimedEvent

SLICE = 128 << 10
"""Bytes taken in at a time: about 8 ms of work for the interpreter."""
_BREATH = 0.004
_POLL_SECONDS = 0.25
_GLIMPSE_SECONDS = 2.0
_LOG_LINES = 400
_VERDICT_SECONDS = 5.0

Curves = Mapping[str, tuple[list[float], list[float]]]


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run at a moment. `curves` is set when charts must be drawn anew; otherwise `points` (name, x, y) are added."""

    status: RunStatus
    step: int
    elapsed: float
    progress: Progress | None
    latest: Mapping[str, float]
    curves: Curves | None
    points: tuple[tuple[str, float, float], ...]
    levels: tuple[Level, ...]
    bands: tuple[Band, ...]
    tables: tuple[Table, ...]
    samples: tuple[Sample, ...]
    alerts: tuple[Alert, ...]
    notes: tuple[Note, ...]
    marks: tuple[Mark, ...]
    checkpoints: tuple[CheckpointFile, ...]
    log: tuple[str, ...]
    findings: tuple[Finding, ...] | None
    """What the rules say; None until the whole file is taken in."""
    outcomes: tuple[Outcome, ...]
    """What was predicted and what came of it, once the run is finished."""
    loading: float | None
    """Share of the file taken in so far, or None once it is all there."""


class RunWatch:
    """Follows the run in `directory`. Raises UserError where it is not a run that can be read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.view = RunView(directory)
        self._lock = threading.Lock()
        self._generation = -1
        self._taken = 0
        self._loaded = False
        self._next_drawing = 0.0
        self._findings: tuple[Finding, ...] | None = None
        self._judged = (-1, -1)
        self._next_verdict = 0.0

    @property
    def config(self) -> TrainConfig:
        """What was asked for."""
        return self.view.config

    def poll(self, anew: bool = False) -> RunSnapshot:
        """Take in what is new, for at most a quarter of a second; with `anew` hand over whole curves.

        Raises OSError when the run is gone. A caller that gave up on an answer asks anew, for what was new went with it.
        """
        with self._lock:
            return self._poll(anew)

    def _poll(self, anew: bool) -> RunSnapshot:
        if not self.directory.is_dir():
            raise FileNotFoundError(self.directory)
        view = self.view
        events: list[TimedEvent] = []
        end = time.monotonic() + _POLL_SECONDS
        while True:
            events += view.refresh(SLICE)
            self._taken += SLICE
            if not view.behind or time.monotonic() > end:
                break
            time.sleep(_BREATH)  # the window's thread gets the interpreter in between
        anew = anew or view.generation != self._generation or not self._loaded
        loading = self._loading() if view.behind and not self._loaded else None
        if loading is not None and time.monotonic() < self._next_drawing:
            anew = False  # a glimpse now and then: drawing everything costs more than reading a slice
        if anew:
            self._next_drawing = time.monotonic() + _GLIMPSE_SECONDS
            self._generation = view.generation
        self._loaded = self._loaded or not view.behind
        status = view.status()
        return RunSnapshot(
            status=status,
            step=view.step,
            elapsed=view.elapsed,
            progress=view.progress,
            latest=dict(view.latest),
            curves={name: (list(s.x), list(s.y)) for name, s in view.series.items()} if anew else None,
            points=() if anew or loading is not None else _points(events),
            levels=tuple(view.levels.values()),
            bands=tuple(view.bands.values()),
            tables=tuple(view.tables.values()),
            samples=tuple(view.samples),
            alerts=tuple(view.alerts),
            notes=tuple(view.notes),
            marks=tuple(view.marks),
            checkpoints=tuple(view.checkpoints()),
            log=view.log_tail(_LOG_LINES),
            findings=self._diagnose(),
            outcomes=tuple(outcomes(view)) if status.state == "finished" else (),
            loading=loading,
        )

    def _diagnose(self) -> tuple[Finding, ...] | None:
        """What the rules say, asked again every few seconds while something is recorded."""
        seen = (self.view.step, len(self.view.alerts))
        if self._loaded and seen != self._judged and time.monotonic() >= self._next_verdict:
            self._judged = seen
            began = time.monotonic()
            self._findings = tuple(diagnose(self.view))
            self._next_verdict = time.monotonic() + max(_VERDICT_SECONDS, 100 * (time.monotonic() - began))
        return self._findings

    def close(self) -> None:
        """Let go of the file, once a poll that is under way has ended."""
        with self._lock:
            self.view.close()

    def _loading(self) -> float:
        try:
            size = (self.directory / EVENTS).stat().st_size
        except OSError:
            size = 0
        return min(1.0, self._taken / max(1, size))


def _points(events: list[TimedEvent]) -> tuple[tuple[str, float, float], ...]:
    return tuple(
        (name, timed.event.x, value)
        for timed in events
        if isinstance(timed.event, Scalars)
        for name, value in timed.event.values.items()
    )
