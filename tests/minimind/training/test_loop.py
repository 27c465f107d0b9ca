"""The loop: accumulation, resuming bit for bit, wishes, numbers gone astray, a disk that is full."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from minimind.data.packing import Batch
from minimind.events import Alert, Mark, Sample
from minimind.model.files import load_model
from minimind.training import checkpoint, loop
from minimind.training.control import Control
from minimind.training.evaluate import counted, first_tokens, held_out
from minimind.training.job import Job
from minimind.training.loop import Trainer
from minimind.training.objective import find_objective
from minimind.training.state import restore
from minimind.training.update import Updater
from tests.minimind.training.listening import METHODS, Listener, MakeTrainer, assert_same, stop_after, weights

WAYS: dict[str, dict[str, Any]] = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "muon": {"dtype": "bfloat16", "optimizer": "muon", "schedule": "wsd", "ema": 0.9},
    "float16": {"dtype": "float16", "ema": 0.9, "gradient_checkpointing": True},
}


@pytest.mark.parametrize(
    ("method", "way"),
    [
        *(("pretrain", way) for way in WAYS),
        ("sft", "bfloat16"),
        ("sft-lora", "float32"),
        ("dpo-lora", "muon"),
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    method: str, way: str, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    """With dropout, accumulation, clipping and a schedule: weights, optimiser, losses and position to the last bit."""
    settings: dict[str, Any] = {"accumulation_steps": 2, **WAYS[way], **METHODS[method]}
    straight, heard = make_trainer(tmp_path / "straight", **settings)
    assert straight.run().outcome == "finished"

    losses: dict[int, float] = {}
    outcomes = []
    for stop in (3, 8, 99):
        trainer, listener = make_trainer(tmp_path / "interrupted", **settings)
        listener.wish = stop_after(stop)
        outcomes.append(trainer.run().outcome)
        losses |= listener.series("loss")
        random.seed(0)  # what other work in between does to the global generators must not matter
        torch.manual_seed(0)
    assert outcomes == ["stopped", "stopped", "finished"]
    assert losses == heard.series("loss")
    assert len(losses) == 12
    assert_same(weights(trainer), weights(straight))
    assert trainer.state.position == straight.state.position
    assert replace_seconds(trainer) == replace_seconds(straight)


def replace_seconds(trainer: Trainer) -> Any:
    return replace(trainer.state, seconds=0.0, best_loss=None, best_step=-1)


def test_the_loss_falls_and_begins_at_the_logarithm_of_the_vocabulary(make_trainer: MakeTrainer) -> None:
    trainer, listener = make_trainer(steps=60, learning_rate=1e-2, batch_size=4, evaluate_every=30, sample_every=60)
    verdict = trainer.run()
    validation = listener.series("validation_loss")
    assert validation[0] == pytest.approx(math.log(2048), abs=0.1)
    assert validation[60] < validation[30] < validation[0] - 1.0
    assert set(validation) == {0, 30, 60}
    assert verdict.step == 60
    assert f"{validation[60]:.3f}" in verdict.text.en
    assert {event.step for event in listener.events if isinstance(event, Sample)} == {0, 60}
    names = {
        "loss",
        "learning_rate",
        "gradient_norm",
        "tokens_per_second",
        "memory_bytes",
        "tokens",
        "eta_seconds",
        "epoch",
    }
    for name in names:
        assert len(listener.series(name)) == 60, name
    assert listener.series("eta_seconds")[60] == 0.0
    assert listener.series("validation_bits_per_byte")[60] > 0


def split_rows(batch: Batch, rows: int) -> list[Batch]:
    parts = []
    for start in range(0, len(batch.tokens), rows):
        here = slice(start, start + rows)
        tensors = {name: getattr(batch, name)[here] for name in ("tokens", "labels", "positions", "documents")}
        parts.append(replace(batch, **tensors))
    return parts


@pytest.mark.parametrize("objective", ["pretrain", "sft"])
def test_accumulated_micro_steps_equal_the_big_batch(objective: str, make_job: Callable[..., Job]) -> None:
    """Even with very different numbers of counted tokens."""
    job = make_job(objective=objective)
    big = next(find_objective(objective).batches(job.data.train, job.config.replace(batch_size=8)))
    small = split_rows(big, 2)
    small[1].labels[:, 5:] = -100  # these rows are views: the big batch has the same labels
    assert len({counted(part) for part in small}) > 1
    results = []
    for parts in ([big], small):
        torch.manual_seed(5)
        job = make_job(objective=objective, accumulation_steps=len(parts))
        job.model.config.__dict__["dropout"] = 0.0
        for module in job.model.modules():
            if hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0
            elif isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        updater = Updater(job)
        updater._batches = iter(parts)
        update = updater.update(5, 10)
        results.append((update, {name: p.detach().clone() for name, p in job.model.named_parameters()}))
    (one, first), (many, second) = results
    assert many.scalars["loss"] == pytest.approx(one.scalars["loss"], rel=1e-5)
    assert many.gradient_norm == pytest.approx(one.gradient_norm, rel=1e-4)
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-3, atol=1e-4)


def test_held_out_loss_weighs_tokens_not_batches(make_job: Callable[..., Job]) -> None:
    job = make_job()
    batches = list(job.objective.batches(job.data.validation, job.config, epochs=1))
    one_by_one = held_out(job.model, job.objective, [part for batch in batches for part in split_rows(batch, 1)])
    together = held_out(job.model, job.objective, batches)
    assert one_by_one.loss == pytest.approx(together.loss, rel=1e-5)
    assert together.tokens == sum(map(counted, batches))
    size = sum(batch.trained_bytes for batch in batches)
    assert together.bits_per_byte == pytest.approx(together.loss * together.tokens / math.log(2) / size)
    assert job.model.training
    few = first_tokens(batches, 100)
    assert sum(map(counted, few[:-1])) < 100 <= sum(map(counted, few))
    assert math.isnan(held_out(job.model, job.objective, []).loss)


def test_pause_resume_save_and_learning_rate(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer, listener = make_trainer(tmp_path, save_every=1000)
    looks = 0

    def wish(step: int) -> Control:
        nonlocal looks
        if step != 4:
            return Control(save=0 if step < 4 else 1, learning_rate=None if step < 6 else 1e-4)
        looks += 1
        return Control(want="pause" if looks < 4 else "run", save=1 if looks > 1 else 0)

    listener.wish = wish
    assert trainer.run().outcome == "finished"
    assert listener.marks("paused") == [4]
    assert listener.marks("resumed") == [4]
    assert listener.marks("control") == [6]
    assert listener.marks("saved") == [0, 4, 12]
    assert checkpoint.steps(tmp_path) == [0, 4, 12]
    rates = listener.series("learning_rate")
    assert rates[6] > 1e-3
    assert max(rates[step] for step in range(7, 13)) <= 1e-4
    assert listener.synced == 3


def test_a_changed_learning_rate_is_still_there_after_a_resume(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer, listener = make_trainer(tmp_path)
    listener.wish = lambda step: Control(want="stop" if step >= 5 else "run", learning_rate=1e-5)
    trainer.run()
    trainer, listener = make_trainer(tmp_path)
    trainer.run()
    assert max(listener.series("learning_rate").values()) <= 1e-5


def test_stop_saves_where_it_is(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer, listener = make_trainer(tmp_path)
    listener.wish = lambda step: (trainer.stop() if step == 3 else None) or Control()
    verdict = trainer.run()
    assert (verdict.outcome, verdict.step) == ("stopped", 3)
    assert checkpoint.steps(tmp_path) == [0, 3]
    assert listener.events[-1] == Mark("ended", 3, {"outcome": "stopped"})
    started = next(event for event in listener.events if isinstance(event, Mark))
    assert started.what == "started"
    assert started.detail["steps"] == 12
    assert started.detail["dtype"] == "float32"


def test_checkpoints_open_as_models_and_the_best_one_is_kept(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path, keep_checkpoints=1, evaluate_every=1, save_every=2, learning_rate=0.0)
    trainer.run()  # nothing is learned: the first saved one stays the best
    assert checkpoint.steps(tmp_path) == [2, 12]
    directory = checkpoint.latest(tmp_path)
    assert directory is not None
    model, tokenizer, metadata = load_model(directory)
    assert_same(dict(model.named_parameters()), dict(trainer.job.model.named_parameters()))
    assert tokenizer.sha256 == trainer.job.tokenizer.sha256
    assert metadata["objective"] == "pretrain"
    assert metadata["step"] == 12
    assert metadata["validation_loss"] == trainer.state.validation_loss
    assert model.config == trainer.job.model.config


def test_other_surroundings_are_said(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer, listener = make_trainer(tmp_path)
    listener.wish = stop_after(2)
    trainer.run()
    _, listener = make_trainer(tmp_path, dtype="bfloat16")
    alert = listener.events[0]
    assert isinstance(alert, Alert)
    assert "dtype float32 → bfloat16" in alert.text.en


def test_a_checkpoint_of_another_model_is_refused(
    make_trainer: MakeTrainer, make_job: Callable[..., Job], tmp_path: Path
) -> None:
    trainer, listener = make_trainer(tmp_path)
    listener.wish = stop_after(1)
    trainer.run()
    job = make_job()
    job.model.model.norm.weight = torch.nn.Parameter(torch.ones(7))
    optimizer = Updater(job).optimizer
    newest = checkpoint.latest(tmp_path)
    assert newest is not None
    with pytest.raises(checkpoint.CheckpointError, match="does not fit"):
        restore(newest, optimizer, job.objective)


def test_recording_costs_little(make_job: Callable[..., Job], tmp_path: Path) -> None:
    """Below 2 % of a step of the nano model (measured 0.1 s and more): the time of one step's records and look-up."""
    import time

    from minimind.training.recorder import Recorder

    job = make_job()
    with Recorder(tmp_path) as recorder:
        trainer = Trainer(job, recorder, None, steps=10_000)
        update = trainer.updater.update(0, 10)
        trainer.state.step = 1
        trainer._recent.append(update)
        began = time.process_time()
        for _ in range(300):
            trainer._heed()
            trainer._record_update(update)
        assert (time.process_time() - began) / 300 < 0.002


def test_listener_is_a_record() -> None:
    record: loop.Record = Listener()
    assert record.control() == Control()
