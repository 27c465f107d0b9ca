"""The benchmark's two ways of taking a step see the same documents."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from minimind import cli
from minimind.benchmarks.train import our_step, padded_batches, plain_step
from minimind.training.loop import Job


def test_padded_rows_hold_one_document_each(make_job: Callable[..., Job]) -> None:
    job = make_job(batch_size=3, sequence_length=400)
    tokens, labels = next(padded_batches(job))
    assert tokens.shape == labels.shape == (3, 400)
    data = job.data.train
    for row in range(3):
        ids = data.tokens[data.offsets[row] : data.offsets[row + 1]].tolist()[:401]
        length = len(ids) - 1
        assert tokens[row, :length].tolist() == ids[:-1]
        assert labels[row, :length].tolist() == ids[1:]
        assert (labels[row, length:] == -100).all()
    assert plain_step(job)() == int((labels != -100).sum())
    assert our_step(job)() > int((labels != -100).sum())


def test_the_command_says_both_speeds(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "train", "--batch-size", "2", "--sequence-length", "64", "--steps", "1", "--repeat", "1"]
    assert cli.main([*arguments, "--lang", "zh"]) == 0
    assert "倍" in capsys.readouterr().out
    assert cli.main(["bench", "train", "--steps", "0"]) == 2
