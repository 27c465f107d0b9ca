"""Time to a loss: both recipes run, the search ends where it must, and the parts multiply to the whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from minimind import cli
from minimind.benchmarks.time_to_loss import Ended, train_to_the_end, until_as_good
from minimind.config import BEST_PRETRAINING, released_recipe
from minimind.training.job import Job
from minimind.training.objectives.pretrain import Pretrain
from tests.minimind.benchmarks.checkout import make_checkout

COMMAND = ["bench", "train", "64x1", "--batch-size", "2", "--sequence-length", "64", "--steps", "1", "--repeat", "1"]
COMMAND += ["--megabytes", "0.05", "--time-to-loss", "12"]


def test_our_recipe_learns_more_from_as_many_steps_and_the_job_stays(make_job: Callable[..., Job]) -> None:
    job = make_job()
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    released = {name: value for name, value in released_recipe("pretrain").items() if name in BEST_PRETRAINING}
    slow = train_to_the_end(job, released, 12, Pretrain())
    fast = train_to_the_end(job, BEST_PRETRAINING, 12, Pretrain())
    assert slow.tokens == fast.tokens > 12 * 64
    assert fast.loss < slow.loss - 0.05
    assert all((tensor == before[name]).all() for name, tensor in job.model.state_dict().items())


def test_the_search_takes_the_first_run_that_is_as_good() -> None:
    tried: list[int] = []

    def run(steps: int) -> Ended:
        tried.append(steps)
        return Ended(steps, steps * 100, 10.0 - steps)

    goal = Ended(100, 10_000, 2.0)
    found = until_as_good(goal, 100.0, run)
    assert found is not None
    assert (found.steps, found.loss <= 2.0) == (tried[-1], True)
    assert tried == sorted(tried)
    assert all(10.0 - steps > 2.0 for steps in tried[:-1])
    assert until_as_good(goal, 100.0, lambda steps: Ended(steps, steps * 100, 9.0)) is None


@pytest.mark.parametrize("against", [False, True])
def test_the_command(against: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--against", str(make_checkout(tmp_path))] if against else []
    assert cli.main([*COMMAND, *more, "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["against"] == ("reference" if against else "plain")
    assert record["loss"] <= record["other_loss"]
    assert record["other_steps"] == 12
    assert record["ratio"] == pytest.approx(record["engine"] * record["recipe"], rel=0.1)
    assert cli.main([*COMMAND[:-1], "0"]) == 2
