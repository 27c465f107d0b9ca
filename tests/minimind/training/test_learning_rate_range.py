"""The range test: what it says of curves made up for it, what it leaves alone, and its command."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from minimind import cli
from minimind.errors import UserError
from minimind.events import Note, Scalars, Table
from minimind.training.job import Job
from minimind.training.learning_rate_range import find_learning_rate, judge, smoothed

RATES = [10 ** (-5 + 5 * index / 99) for index in range(100)]


def a_valley(rate: float, floor: float) -> float:
    """Falls fastest at a rate of 1e-3 and rises again beyond 1e-1."""
    x = math.log10(rate)
    return floor + 4 / (1 + math.exp(4 * (x + 3))) + max(0.0, x + 1) * 3


def test_smoothing_is_an_average_from_the_first_value_on() -> None:
    assert smoothed([3.0, 3.0, 3.0]) == pytest.approx([3.0, 3.0, 3.0])
    assert smoothed([1.0, 2.0])[1] == pytest.approx((0.9 * 1 + 2) / 1.9)


@pytest.mark.parametrize("floor", [0.5, 3.0])
def test_the_steepest_fall_and_its_end_are_found(floor: float) -> None:
    """Smoothing looks back over ten updates, 0.5 decades here: what it shows comes that much later."""
    found = judge(RATES, [a_valley(rate, floor) for rate in RATES], blew_up=False)
    assert 1e-3 <= found.suggested <= 10**-2.4
    assert 0.03 <= found.highest <= 0.6
    assert found.blown_up is None
    assert f"learning_rate {found.suggested:.2g}" in found.reason().en


def test_the_first_valley_counts_where_the_loss_falls_again_beyond_it() -> None:
    """At high rates a model forgets all and learns the frequencies of tokens anew."""
    losses = [a_valley(rate, 3.0) for rate in RATES[:60]]
    losses += [3.1 + 0.05 * number for number in range(16)]
    losses += [3.8 - 0.06 * number for number in range(24)]
    assert min(losses) == losses[-1]
    assert judge(RATES, losses, blew_up=True).highest < RATES[70]
    assert judge(RATES, losses, blew_up=True).blown_up == RATES[-1]
    assert "blew up at 1" in judge(RATES, losses, blew_up=True).reason().en


def test_too_short_a_test_says_so() -> None:
    with pytest.raises(UserError, match="blew up after 4 updates"):
        judge(RATES[:5], [5.0] * 4, blew_up=True)


def test_the_job_and_the_generators_stay_as_they_were(make_job: Callable[..., Job]) -> None:
    job = make_job(optimizer="muon")
    weights = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    torch.manual_seed(3)
    random.seed(3)
    expected = torch.get_rng_state(), random.getstate()
    events = list(find_learning_rate(job, updates=30, lowest=1e-4, highest=0.3))
    assert torch.equal(torch.get_rng_state(), expected[0])
    assert random.getstate() == expected[1]
    assert all(torch.equal(tensor, weights[name]) for name, tensor in job.model.state_dict().items())
    points = [event for event in events if isinstance(event, Scalars)]
    assert points[0].x == pytest.approx(-4)
    assert points[0].values["loss"] == pytest.approx(math.log(2048), abs=0.3)
    assert all(later.x > sooner.x for sooner, later in itertools.pairwise(points))
    assert isinstance(events[-2], Table)
    assert isinstance(events[-1], Note)
    name, rate = events[-2].rows[-1]
    assert name == "suggested"
    assert 1e-4 < float(rate) < 0.3
    again = list(find_learning_rate(job, updates=30, lowest=1e-4, highest=0.3))
    assert again == events


def test_a_rate_that_blows_up_ends_the_test(make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimind.training.learning_rate_range._BLOWN_UP", 0.9)
    with pytest.raises(UserError, match="start lower"):
        list(find_learning_rate(make_job(), updates=30))


def test_methods_that_learn_from_rewards_are_refused(make_job: Callable[..., Job]) -> None:
    job = make_job()
    config = job.config.replace(objective="grpo", max_new_tokens=16)
    with pytest.raises(UserError, match="compare the rewards"):
        next(find_learning_rate(replace(job, config=config)))


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["find-learning-rate", "pretrain", "--updates", "22", "--batch-size", "1", "--sequence-length", "32"]
    command += ["--data-megabytes", "0.03", "--steps", "1", "--threads", "1"]
    assert cli.main([*command, "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines[-3:]] == ["table", "note", "suggestion"]
    assert 1e-5 <= lines[-1]["learning_rate"] <= 1.0
    assert lines[-1]["learning_rate"] == lines[-1]["suggested"]
    assert cli.main([*command, "--lang", "zh"]) == 0
    assert "建议 learning_rate" in capsys.readouterr().out
    assert cli.main([*command, "--lowest", "2"]) == 2
    assert "--lowest" in capsys.readouterr().err
