"""Curves of runs on a common axis, smoothed, and the settings in which runs differ."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from minimind.config import MODEL_PRESETS, TrainConfig
from minimind.events import Mark, Scalars, to_dict
from minimind.training.compare import aligned_series, config_differences, smooth
from minimind.training.runs import RunView, create_run


def written(directory: Path, records: list[tuple[float, Any]]) -> RunView:
    """A view of a run with these events at these seconds."""
    lines = [json.dumps({"t": seconds, "time": 0.0} | to_dict(event)) for seconds, event in records]
    (directory / "events.jsonl").write_text("".join(f"{line}\n" for line in lines))
    view = RunView(directory)
    view.refresh()
    return view


def test_a_curve_over_steps_tokens_and_seconds(run_directory: Path) -> None:
    view = written(
        run_directory,
        [
            (0.5, Scalars(0, {"validation_loss": 8.0})),
            *((1.0 * step, Scalars(step, {"loss": 8.0 - step, "tokens": 100.0 * step})) for step in (1, 2, 3)),
            (3.5, Scalars(3, {"validation_loss": 5.5})),
        ],
    )
    assert aligned_series(view, "loss").x == [1, 2, 3]
    assert aligned_series(view, "loss", "tokens").x == [100.0, 200.0, 300.0]
    assert aligned_series(view, "loss", "time").x == [1.0, 2.0, 3.0]
    held_out = aligned_series(view, "validation_loss", "tokens")
    assert (held_out.x, held_out.y) == ([0.0, 300.0], [8.0, 5.5])
    assert len(aligned_series(view, "nothing", "time")) == 0


def test_values_between_known_steps_lie_on_the_line_and_after_the_last_nowhere(run_directory: Path) -> None:
    records = [(float(step), Scalars(step, {"reward": 1.0 * step})) for step in range(1, 7)]
    records += [(7.0, Scalars(2, {"tokens": 100.0})), (8.0, Scalars(4, {"tokens": 300.0}))]
    view = written(run_directory, records)
    assert aligned_series(view, "reward", "tokens").x == [50.0, 100.0, 200.0, 300.0]


def test_a_run_that_went_back_keeps_its_working_time(run_directory: Path) -> None:
    records: list[tuple[float, Any]] = [(0.1, Mark("started", 0))]
    records += [(float(step), Scalars(step, {"loss": 1.0})) for step in (1, 2, 3, 4)]
    records += [(0.5, Mark("started", 2)), (1.5, Scalars(3, {"loss": 1.0})), (2.5, Scalars(4, {"loss": 1.0}))]
    series = aligned_series(written(run_directory, records), "loss", "time")
    assert series.x == [1.0, 2.0, 5.5, 6.5]


def test_smoothing_is_adams_corrected_mean() -> None:
    values = [1.0, 3.0, math.nan, 2.0]
    smoothed = smooth(values, 0.9)
    assert smoothed[0] == pytest.approx(1.0)
    assert smoothed[1] == pytest.approx((0.9 * 0.1 * 1 + 0.1 * 3) / (1 - 0.9**2))
    assert math.isnan(smoothed[2])
    assert smoothed[3] == pytest.approx((0.081 * 1 + 0.09 * 3 + 0.1 * 2) / (1 - 0.9**3))
    assert smooth([1.0, 3.0], 0.0) == [1.0, 3.0]
    for factor in (1.0, -0.1, math.nan):
        with pytest.raises(ValueError, match="factor"):
            smooth(values, factor)


def test_only_what_differs_is_listed(home: Path) -> None:
    runs = [create_run(TrainConfig(batch_size=size, seed=3)).directory for size in (8, 8, 4)]
    other = create_run(TrainConfig(batch_size=8, seed=3, model="mini")).directory
    assert config_differences([RunView(run) for run in runs]) == [("batch_size", (8, 8, 4))]
    found = dict(config_differences([RunView(runs[0]), RunView(other)]))
    assert found["model"] == ("nano", "mini")
    sizes = (MODEL_PRESETS["nano"].hidden_size, MODEL_PRESETS["mini"].hidden_size)
    assert found["model.hidden_size"] == sizes
    assert "seed" not in found
    (runs[2] / "run.json").write_text("{")
    broken = dict(config_differences([RunView(runs[0]), RunView(runs[2], strict=False)]))
    assert broken["seed"] == (3, None)
