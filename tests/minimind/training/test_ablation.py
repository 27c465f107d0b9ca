"""Paired comparisons: the interval, the verdict, and that nothing but the change differs."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minimind import paths
from minimind.cli import main
from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Claim, Event, Note, Scalars, Table
from minimind.training.ablation import Interval, ablate, paired_interval, verdict
from minimind.training.job import Job
from tests.minimind.training.conftest import SETTINGS


def test_the_interval_is_students() -> None:
    # Differences 1, 2, 3, 4: mean 2.5, standard error 0.6455, t(0.975; 3) = 3.1824.
    found = paired_interval([1.0, 1.0, 1.0, 1.0], [2.0, 3.0, 4.0, 5.0])
    assert found.mean == 2.5
    assert found.low == pytest.approx(2.5 - 3.1824 * 0.645497, abs=1e-3)
    assert found.high == pytest.approx(2.5 + 3.1824 * 0.645497, abs=1e-3)
    assert paired_interval([1.0], [2.0]) == Interval(1.0, -math.inf, math.inf)
    assert paired_interval([1.0, 2.0], [1.0, 2.0]) == Interval(0.0, 0.0, 0.0)
    for first, second in (([], []), ([1.0], [1.0, 2.0]), ([0.0] * 21, [1.0] * 21)):
        with pytest.raises(ValueError, match=r"pairs|zip"):
            paired_interval(first, second)


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_it_holds_the_truth_nineteen_times_in_twenty(count: int) -> None:
    draw = random.Random(count)
    covered = 0
    for _ in range(4000):
        shared = [draw.gauss(0, 3) for _ in range(count)]  # what a seed gives to both arms
        first = [s + draw.gauss(0, 1) for s in shared]
        second = [s + draw.gauss(0.5, 1) for s in shared]
        found = paired_interval(first, second)
        covered += found.low <= 0.5 <= found.high
    assert 0.935 < covered / 4000 < 0.965


def test_the_verdict_says_no_more_than_the_interval() -> None:
    better = verdict(Interval(-0.2, -0.3, -0.1), 3)
    assert better.holds is True
    assert better.text.en.startswith("b is better")
    assert better.text.zh.startswith("b 更好")
    worse = verdict(Interval(0.2, 0.1, 0.3), 3)
    assert worse.text.en.startswith("a is better")
    for interval in (Interval(-0.2, -0.5, 0.1), Interval(-0.2, -math.inf, math.inf)):
        unsure = verdict(interval, 3)
        assert unsure.holds is None
        assert unsure.text.en.startswith("inconclusive")
        assert unsure.text.zh.startswith("无定论")


def events_of(make_job: Callable[..., Job], cache: Path, seeds: int = 2, **changes: Any) -> list[Event]:
    make_job()  # registers the tiny preset
    first = TrainConfig.from_dict(SETTINGS | {"steps": 6, "evaluate_every": 3})
    return list(ablate(first, first.replace(**changes), range(1, 1 + seeds), cache))


def claim_of(events: list[Event]) -> Claim:
    return next(event for event in events if isinstance(event, Claim))


def test_a_against_a_is_no_difference_to_the_last_digit(make_job: Callable[..., Job], token_cache: Path) -> None:
    events = events_of(make_job, token_cache)  # the tiny model has dropout: the arms draw the same
    claim = claim_of(events)
    assert claim.holds is None
    assert claim.text.en.startswith("no difference")
    assert claim.measured["difference"] == claim.measured["low"] == claim.measured["high"] == 0.0
    for event in events:
        if isinstance(event, Scalars) and event.chart.startswith("seed"):
            assert event.values["a"] == event.values["b"]
    assert any(isinstance(event, Note) and "are the same" in event.text.en for event in events)


def test_only_the_change_differs_and_is_judged(make_job: Callable[..., Job], token_cache: Path) -> None:
    events = events_of(make_job, token_cache, learning_rate=1e-6)
    first_steps = [
        event for event in events if isinstance(event, Scalars) and event.chart.startswith("seed") and event.x == 1
    ]
    assert len(first_steps) == 2
    assert all(event.values["a"] == event.values["b"] for event in first_steps), "the same weights and batches"
    changed = next(event for event in events if isinstance(event, Table) and event.name == "differences")
    assert changed.rows == (("learning_rate", "0.003", "1e-06"),)
    claim = claim_of(events)
    assert claim.measured["difference"] > 0
    table = next(event for event in events if isinstance(event, Table) and event.name == "seeds")
    assert claim.measured["difference"] == pytest.approx(sum(row[3] for row in table.rows) / 2)  # type: ignore[misc]
    means = {
        e.x: e.values for e in events if isinstance(e, Scalars) and e.chart == "validation_loss" and "a" in e.values
    }
    assert set(means) == {0, 3, 6}


@pytest.mark.parametrize(
    ("changes", "seeds", "words"),
    [
        ({"sequence_length": 32}, 2, "sequence_length differs"),
        ({"steps": 7}, 2, "steps differs"),
        ({}, 0, "seeds"),
        ({}, 21, "seeds"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    make_job: Callable[..., Job], token_cache: Path, changes: dict[str, Any], seeds: int, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        events_of(make_job, token_cache, seeds, **changes)


def test_the_command_shows_and_keeps_it(make_job: Callable[..., Job], capsys: pytest.CaptureFixture[str]) -> None:
    make_job()
    flags = ["--steps", "2", "--data-megabytes", "0.03", "--batch-size", "2", "--sequence-length", "64"]
    flags += ["--evaluation-tokens", "200", "--dtype", "float32", "--change", "learning_rate=0"]
    assert main(["ablate", "pretrain", "--model", "tiny", "--seeds", "2", "--lang", "zh", *flags]) == 0
    shown = capsys.readouterr().out
    assert "两组的不同之处" in shown
    assert "成对差" in shown
    (kept,) = paths.ablations().iterdir()
    head, *lines = map(json.loads, kept.read_text(encoding="utf-8").splitlines())
    assert head["b"]["learning_rate"] == 0
    assert lines[-1]["kind"] == "claim"
    assert main(["ablate", "pretrain", "--model", "tiny", "--steps", "2", "--change", "rate"]) == 2
    assert main(["ablate", "pretrain", "--model", "tiny", "--lang", "en"]) == 2
    assert "steps is missing" in capsys.readouterr().err
