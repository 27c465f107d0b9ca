"""Results kept by configuration: found again equal, stale when the code changes, bounded, never trusted."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from lessons import kept_runs
from lessons.catalogue import load_experiment
from lessons.results import Collector, Results
from minimind import paths
from tests.lessons.conftest import edit
from tests.lessons.results_sample import two_arms


def run(**values: int) -> Results:
    collector = Collector()
    resolved = two_arms.resolve(values)
    collector.add(two_arms.run(resolved))
    return Results("two_arms", resolved, collector.events(), 2.5, 1.7e9)


def test_results_are_found_again_for_the_same_values_only() -> None:
    results = run()
    assert kept_runs.find(two_arms, results.values) is None
    assert kept_runs.keep(two_arms, results)
    found = kept_runs.find(two_arms, two_arms.resolve())
    assert found is not None
    assert repr(found) == repr(results)  # NaN in a heatmap is not equal to itself
    assert kept_runs.find(two_arms, two_arms.resolve({"seeds": 1})) is None


def test_changed_code_makes_them_stale(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = load_experiment("sample_average", course)
    collector = Collector()
    collector.add(experiment.run())
    results = Results(experiment.name, experiment.resolve(), collector.events())
    assert kept_runs.keep(experiment, results)
    assert kept_runs.find(experiment, results.values) is not None
    monkeypatch.setattr("minimind.__version__", "99")
    assert kept_runs.find(experiment, results.values) is None
    monkeypatch.undo()
    edit(course / "sample" / "experiments" / "sample_average.py", "2000", "1000")
    assert kept_runs.find(experiment, results.values) is None


@pytest.mark.parametrize("damage", ["", "{", "[]\n", '{"seconds": 1}\n', None])
def test_a_damaged_file_counts_as_not_there(home: Path, damage: str | None) -> None:
    results = run()
    kept_runs.keep(two_arms, results)
    (path,) = paths.kept_results().iterdir()
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:-1]) if damage is None else damage, encoding="utf-8")
    assert kept_runs.find(two_arms, results.values) is None
    assert kept_runs.keep(two_arms, results)
    assert kept_runs.find(two_arms, results.values) is not None


def test_events_of_wrong_types_are_refused() -> None:
    results = run()
    kept_runs.keep(two_arms, results)
    (path,) = paths.kept_results().iterdir()
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[1] = json.dumps({"kind": "level", "chart": "loss", "name": 3, "value": "high"})
    path.write_text("\n".join(lines), encoding="utf-8")
    assert kept_runs.find(two_arms, results.values) is None


def test_the_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for steps in (5, 6, 7):
        kept_runs.keep(two_arms, run(steps=steps))
    for age, path in enumerate(sorted(paths.kept_results().iterdir())):
        os.utime(path, (1.6e9 + age, 1.6e9 + age))
    assert kept_runs.find(two_arms, two_arms.resolve({"steps": 6})) is not None  # used just now
    size = sum(path.stat().st_size for path in paths.kept_results().iterdir()) / 3
    monkeypatch.setattr(kept_runs, "LARGEST_TOTAL", int(2.5 * size))
    kept_runs.keep(two_arms, run(steps=8))
    left = [steps for steps in (5, 6, 7, 8) if kept_runs.find(two_arms, two_arms.resolve({"steps": steps}))]
    assert left == [6, 8]


def test_what_is_too_large_or_cannot_be_written_is_not_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = run()
    monkeypatch.setattr(kept_runs, "LARGEST_FILE", 100)
    assert not kept_runs.keep(two_arms, results)
    monkeypatch.undo()
    monkeypatch.setenv("MINIMIND_HOME", str(home))
    home.mkdir()
    paths.cache().write_text("in the way", encoding="utf-8")
    assert not kept_runs.keep(two_arms, replace(results, seconds=1.0))
