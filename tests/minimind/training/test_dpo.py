"""DPO: its loss against the formula, its beginning at ln 2, its reference, and that it learns to prefer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from minimind.config import MODEL_PRESETS
from minimind.data.packing import IGNORED, Batch
from minimind.events import Note
from minimind.model.transformer import MiniMind
from minimind.training.attention import document_mask
from minimind.training.job import Job
from minimind.training.objectives.dpo import LN_2, PreferenceOptimization, answer_log_probabilities
from minimind.training.update import Updater
from tests.minimind.training.conftest import TINY
from tests.minimind.training.listening import MakeTrainer

DPO = {"objective": "dpo", "sequence_length": 128, "batch_size": 4, "dpo_beta": 0.3}


def plain_log_probability(model: MiniMind, batch: Batch, row: int, document: int) -> Tensor:
    """The summed log-probability of one packed document, computed by itself with all its scores."""
    here = batch.documents[row] == document
    scores = model(batch.tokens[row][here][None])[0].float()
    labels = batch.labels[row][here]
    counted = labels != IGNORED
    return -F.cross_entropy(scores[counted], labels[counted], reduction="sum")


def test_loss_and_gradient_are_the_formulas(make_job: Callable[..., Job]) -> None:
    job = make_job(**DPO)
    updater = Updater(job)
    objective = updater.objective
    assert isinstance(objective, PreferenceOptimization)
    batch = next(objective.batches(job.data.train, job.config))
    job.model.eval()
    model = updater.working.eval()
    reference = MiniMind(model.config).eval()
    reference.load_state_dict(job.model.state_dict())
    with torch.no_grad():
        for index, parameter in enumerate(model.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)) * 0.02)

    terms, margins = [], []
    for row in range(0, len(batch.tokens), 2):
        for document in range(int(batch.documents[row].max()) + 1):
            ratios = [
                plain_log_probability(job.model, batch, side, document)
                - plain_log_probability(reference, batch, side, document).detach()
                for side in (row, row + 1)
            ]
            margins.append(0.3 * (ratios[0] - ratios[1]))
            terms.append(-F.logsigmoid(margins[-1]))
    wanted = torch.autograd.grad(torch.stack(terms).mean(), list(job.model.parameters()))
    expected = float(torch.stack(terms).detach().mean())

    loss, scalars = objective.loss(model, batch)
    found = torch.autograd.grad(loss, list(model.parameters()))
    assert objective.weight(batch) == len(terms) > 4
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert abs(expected - LN_2) > 0.01
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    assert scalars["margin"] == pytest.approx(float(torch.stack(margins).detach().mean()), rel=1e-3, abs=1e-5)
    assert scalars["margin"] == pytest.approx(scalars["chosen_reward"] - scalars["rejected_reward"], abs=1e-5)
    assert scalars["accuracy"] == pytest.approx(sum(bool(margin > 0) for margin in margins) / len(margins))


@pytest.mark.parametrize("tune", ["full", "lora"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_without_dropout_it_begins_at_ln_2_and_says_so(
    tune: str, dtype: str, make_job: Callable[..., Job], trained_tiny: Path
) -> None:
    job = make_job(**DPO, tune=tune, model=str(trained_tiny), dtype=dtype)
    for module in job.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    for block in job.model.model.layers:
        block.self_attn.core.dropout = 0.0
    updater = Updater(job)
    first = updater.update(0, 10)
    assert first.scalars["loss"] == pytest.approx(LN_2, abs=1e-6)
    assert first.scalars["accuracy"] == 0.5
    assert updater.update(1, 10).scalars["loss"] != pytest.approx(LN_2, abs=1e-6)
    (note,) = updater.objective.events(1)
    assert isinstance(note, Note)
    assert "0.6931 = ln 2" in note.text.en
    assert not list(updater.objective.events(2))


def test_with_dropout_it_says_why_not(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODEL_PRESETS, "tiny", TINY.replace(dropout=0.5))  # a little might by chance leave it near ln 2
    trainer, listener = make_trainer(**DPO, steps=2)
    trainer.run()
    (note,) = (event for event in listener.events if isinstance(event, Note))
    assert "not at ln 2" in note.text.en
    assert "dropout" in note.text.zh
    assert listener.series("validation_loss")[0] == pytest.approx(LN_2, abs=1e-6)  # measured without dropout


def test_it_learns_to_prefer_on_pairs_it_never_saw(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Politeness, in a data set of its own: the held-out pairs are about other things."""
    path = tmp_path / "polite.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(200):
            sides = (f"Certainly: {number}.", f"No, {number}.")
            chosen, rejected = (
                [{"role": "user", "content": f"Say {number}."}, {"role": "assistant", "content": answer}]
                for answer in sides
            )
            file.write(json.dumps({"chosen": chosen, "rejected": rejected}) + "\n")
    trainer, listener = make_trainer(**DPO, data=[str(path)], steps=12, learning_rate=1e-3, evaluate_every=12)
    trainer.run()
    assert listener.series("validation_accuracy") == {0: 0.5, 12: 1.0}
    assert listener.series("validation_margin")[12] > 0.5
    assert listener.series("validation_loss")[12] < 0.6
    assert listener.series("validation_kl")[0] == pytest.approx(0.0, abs=1e-6)

    objective, model = trainer.updater.objective, trainer.job.model.eval()
    assert isinstance(objective, PreferenceOptimization)
    batch = next(objective.batches(trainer.job.data.validation, trainer.job.config, epochs=1))
    mask, counted = document_mask(batch.documents), batch.labels != IGNORED
    with torch.no_grad(), objective._reference.of(model) as reference:
        now, then = (some(batch.tokens, positions=batch.positions, mask=mask)[counted] for some in (model, reference))
    expected = F.kl_div(then.log_softmax(-1), now.softmax(-1), reduction="batchmean")
    assert objective.evaluate(model, [batch])["validation_kl"] == pytest.approx(float(expected), rel=1e-3)
    assert float(expected) > 0.001


def test_a_row_without_a_second_document_adds_nothing(make_job: Callable[..., Job]) -> None:
    job = make_job(**DPO)
    batch = next(job.objective.batches(job.data.train, job.config))
    sums = answer_log_probabilities(job.model.eval(), batch)
    for row in range(len(sums)):
        there = int(batch.documents[row].max()) + 1
        assert (sums[row, :there] < 0).all()
        assert (sums[row, there:] == 0).all()
