"""The benchmark's ways of taking a step see the same documents, and its command says what it measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from minimind import cli
from minimind.benchmarks.train import model_shape
from minimind.benchmarks.training_steps import (
    Padded,
    ablations,
    flops_per_token,
    our_step,
    own_share,
    plain_step,
    write_documents,
)
from minimind.errors import UserError
from minimind.scale import forward_flops_per_token
from minimind.training.job import Job
from tests.minimind.benchmarks.checkout import make_checkout

SMALL = ["bench", "train", "64x1", "--batch-size", "2", "--sequence-length", "64", "--steps", "1", "--repeat", "1"]


def test_padded_rows_hold_one_document_each(make_job: Callable[..., Job]) -> None:
    job = make_job(batch_size=3, sequence_length=400)
    batch = next(Padded().batches(job.data.train, job.config))
    assert batch.tokens.shape == batch.labels.shape == (3, 400)
    data = job.data.train
    for row in range(3):
        ids = data.tokens[data.offsets[row] : data.offsets[row + 1]].tolist()[:401]
        length = len(ids) - 1
        assert batch.tokens[row, :length].tolist() == ids[:-1]
        assert batch.labels[row, :length].tolist() == ids[1:]
        assert (batch.labels[row, length:] == -100).all()
        assert (batch.documents[row] == 0).sum() == length
    assert plain_step(job)() == batch.useful_tokens == int((batch.labels != -100).sum())
    assert our_step(job)() > batch.useful_tokens
    assert our_step(job, objective=Padded())() == batch.useful_tokens


def test_every_ablated_step_trains_on_the_same_rows(make_job: Callable[..., Job]) -> None:
    job = make_job(dtype="bfloat16", sequence_length=400)
    found = ablations(job)
    assert {"packing", "fused-adamw", "bfloat16"} <= found.keys()
    expected = our_step(job)()
    for name, (_, make) in found.items():
        assert (make()() == expected) == (name != "packing"), name


def test_documents_are_as_long_as_the_references_rows_want_them(tmp_path: Path) -> None:
    lines = write_documents(tmp_path / "a.jsonl", 0.2).read_text(encoding="utf-8").splitlines()
    assert lines == write_documents(tmp_path / "b.jsonl", 0.2).read_text(encoding="utf-8").splitlines()
    characters = [len(json.loads(line)["text"]) for line in lines]
    assert sum(characters) > 150_000
    assert np.std(characters) > 0.2 * np.mean(characters)


def test_the_operations_count_each_position_with_what_it_sees(make_job: Callable[..., Job]) -> None:
    job = make_job()
    least, most = (3 * forward_flops_per_token(job.model.config, context) for context in (1, 64))
    assert least < flops_per_token(job) < most


def test_the_loop_costs_little_beside_a_step(make_job: Callable[..., Job], tmp_path: Path) -> None:
    assert 0 < own_share(make_job(), 6, tmp_path) < 1


def test_the_command_says_both_speeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*SMALL, "--overhead", "--lang", "zh"]) == 0
    said = capsys.readouterr().out
    assert "倍" in said
    assert "利用率" in said
    assert cli.main(["bench", "train", "--steps", "0"]) == 2


def test_the_command_runs_a_checkout_beside_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*SMALL, "--against", str(make_checkout(tmp_path)), "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record.get("against") for record in records] == [None, "plain", "reference"]
    assert records[2]["other_tokens_per_second"] > 0


def test_shapes_and_presets() -> None:
    shape = model_shape("256x4")
    assert (shape.hidden_size, shape.num_hidden_layers, shape.vocab_size) == (256, 4, 6400)
    assert model_shape("nano").vocab_size == 2048
    with pytest.raises(UserError, match="no preset"):
        model_shape("big")
