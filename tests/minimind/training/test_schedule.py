"""The learning rate over a run: four shapes after one warm-up."""

from __future__ import annotations

import itertools
import math

import pytest

from minimind.config import TrainConfig
from minimind.training.schedule import learning_rate_share, scheduled_share

SCHEDULES = ("cosine", "linear", "wsd", "constant")


def test_schedule_rises_linearly_and_falls_along_a_cosine() -> None:
    shares = [learning_rate_share(step, 110, 0.1, 0.1) for step in range(110)]
    assert shares[:11] == pytest.approx([(step + 1) / 12 for step in range(11)])
    assert shares[11] == pytest.approx(1.0)
    assert shares[-1] == pytest.approx(0.1)
    middle = 11 + 49
    assert shares[middle] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 49 / 98)))
    assert all(a > b for a, b in itertools.pairwise(shares[11:]))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.5), (3, 0.9)])
def test_schedule_of_a_few_steps_stays_in_range(steps: int, warmup: float, schedule: str) -> None:
    for step in range(steps + 3):
        assert 0.0 < learning_rate_share(step, steps, warmup, 0.1, schedule) <= 1.0


def test_linear_falls_by_the_same_amount_each_step() -> None:
    shares = [learning_rate_share(step, 101, 0.0, 0.2, "linear") for step in range(101)]
    assert shares[0] == 1.0
    assert shares[-1] == pytest.approx(0.2)
    assert all(a - b == pytest.approx(0.8 / 100) for a, b in itertools.pairwise(shares))


def test_wsd_stays_and_falls_at_the_end() -> None:
    shares = [learning_rate_share(step, 200, 0.1, 0.0, "wsd", 0.25) for step in range(200)]
    assert shares[20:151] == [1.0] * 131
    assert shares[-1] == 0.0
    assert shares[150 + 49 // 4] == pytest.approx(1 - math.sqrt(12 / 49))
    assert all(a > b for a, b in itertools.pairwise(shares[150:]))


def test_wsd_without_a_decay_is_constant() -> None:
    wsd, constant = (
        [learning_rate_share(step, 50, 0.1, 0.1, name, 0.0) for step in range(50)] for name in ("wsd", "constant")
    )
    assert wsd == constant
    assert constant[5:] == [1.0] * 45


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_settings_say_which(schedule: str) -> None:
    config = TrainConfig(schedule=schedule, warmup=0.2, decay=0.5, minimum_learning_rate=0.3)
    for step in (0, 9, 30, 49):
        assert scheduled_share(step, 50, config) == learning_rate_share(step, 50, 0.2, 0.3, schedule, 0.5)
