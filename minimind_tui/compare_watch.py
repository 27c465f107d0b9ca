"""Several runs watched together: one figure of each over a common axis, and where their settings differ. No Textual.

Polled off the event loop, like `RunWatch`; runs at rest cost a stat each.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from minimind.config import TrainConfig
from minimind.training.compare import Alignment, Difference, aligned_series, config_differences
from minimind.training.run_status import RunStatus
from minimind.training.run_view import RunView
from minimind_tui.metrics import GROUPS, UNDRAWN, group_of, main_group
from minimind_tui.run_watch import SLICE

_POLL_SECONDS = 0.25
_BREATH = 0.004
_ORDER = {name: place for place, name in enumerate(GROUPS)}


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A run as a line of the legend: `last` and `lowest` of the chosen figure; None where it has none."""

    id: str
    name: str
    status: RunStatus
    step: int
    last: float | None
    lowest: float | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The runs at a moment. `curves` has one (xs, ys) a run, empty where the run does not record the figure."""

    runs: tuple[ComparedRun, ...]
    figures: tuple[str, ...]
    figure: str
    alignment: Alignment
    curves: tuple[tuple[list[float], list[float]], ...]
    differences: tuple[Difference, ...]
    loading: bool


class CompareWatch:
    """Follows the runs in `directories`. Raises UserError where one cannot be read."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self.views = [RunView(directory) for directory in directories]
        self._lock = threading.Lock()
        self._differences = tuple(_meaningful(config_differences(self.views), self.views))

    def poll(self, figure: str | None, alignment: Alignment) -> Comparison:
        """Take in what is new and lay `figure` (None: what says how well a run does) over `alignment`."""
        with self._lock:
            self._read()
            figures = self._figures()
            if figure is None:
                shared = [name for name in figures if all(name in view.series for view in self.views)]
                main = main_group(shared)
                figure = next((name for name in shared or figures if group_of(name) == main), "loss")
            series = [aligned_series(view, figure, alignment) for view in self.views]
            return Comparison(
                runs=tuple(self._run(view, one.y) for view, one in zip(self.views, series, strict=True)),
                figures=figures,
                figure=figure,
                alignment=alignment,
                curves=tuple((list(one.x), list(one.y)) for one in series),
                differences=self._differences,
                loading=any(view.behind for view in self.views),
            )

    def close(self) -> None:
        """Let go of the files, once a poll that is under way has ended."""
        with self._lock:
            for view in self.views:
                view.close()

    def _read(self) -> None:
        end = time.monotonic() + _POLL_SECONDS
        for view in self.views:
            while view.directory.is_dir():
                view.refresh(SLICE)
                if not view.behind or time.monotonic() > end:
                    break
                time.sleep(_BREATH)

    def _figures(self) -> tuple[str, ...]:
        """Every figure that some run records, in the order of the charts."""
        known = dict.fromkeys(name for view in self.views for name in view.series if name not in UNDRAWN)
        return tuple(sorted(known, key=lambda name: (_ORDER[group_of(name)], name.startswith("validation_"))))

    def _run(self, view: RunView, values: Sequence[float]) -> ComparedRun:
        finite = [value for value in values if math.isfinite(value)]
        return ComparedRun(
            id=view.id,
            name=view.name or view.id,
            status=view.status(),
            step=view.step,
            last=values[-1] if values else None,
            lowest=min(finite, default=None),
        )


def _meaningful(differences: Sequence[Difference], views: Sequence[RunView]) -> Iterator[Difference]:
    """Without settings that mean nothing to a run's method, and without tables, which no cell can hold."""
    declared = {one.name: one.about for one in TrainConfig.declared()}
    for name, values in differences:
        about = declared.get(name)
        if about is not None:
            applies = (view.problem is None and view.config.applies(about) for view in views)
            values = tuple(value if is_used else None for value, is_used in zip(values, applies, strict=True))
        if any(value != values[0] for value in values) and not any(isinstance(value, dict) for value in values):
            yield Difference(name, values)
