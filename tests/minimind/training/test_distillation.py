"""Distillation: its loss and gradients against the plain formula, a teacher of another shape, and who may not teach."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from minimind.data.packing import IGNORED
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.interop.opening import open_any
from minimind.model.files import model_files
from minimind.model.transformer import MiniMind
from minimind.training import checkpoint, distance
from minimind.training.attention import document_mask
from minimind.training.distance import summed_distances
from minimind.training.job import Job
from minimind.training.objectives.distillation import Distillation
from minimind.training.objectives.sft import FineTune
from minimind.training.prepare import tokenizer_files
from minimind.training.update import Updater
from tests.minimind.training.conftest import TINY
from tests.minimind.training.listening import MakeTrainer


@pytest.mark.parametrize("rows", [3, 512])
@pytest.mark.parametrize(("alpha", "temperature"), [(0.5, 1.5), (0.0, 4.0), (1.0, 2.0)])
def test_loss_and_gradients_are_the_formulas(
    rows: int, alpha: float, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hinton et al. 2015 in PyTorch's own words, with all the scores at once; the teacher is wider."""
    monkeypatch.setattr(distance, "_ROWS", rows)
    torch.manual_seed(0)
    hidden, weight = torch.randn(2, 30, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    taught, teacher = torch.randn(2, 30, 12, requires_grad=True), torch.randn(50, 12, requires_grad=True)
    labels = torch.randint(0, 50, (2, 30))
    labels[torch.rand(2, 30) < 0.4] = IGNORED
    counted = labels != IGNORED

    scores, others = (hidden @ weight.T)[counted], (taught @ teacher.T)[counted].detach()
    ce = F.cross_entropy(scores, labels[counted], reduction="sum")
    target = (others / temperature).softmax(-1)
    kl = temperature**2 * F.kl_div((scores / temperature).log_softmax(-1), target, reduction="sum")
    expected = alpha * ce + (1 - alpha) * kl
    wanted = torch.autograd.grad(expected, (hidden, weight))

    found = summed_distances((hidden, taught), (weight, teacher), labels, alpha, temperature)
    torch.testing.assert_close(found.mixed, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.cross_entropy, ce.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.divergence, kl.detach(), rtol=1e-5, atol=1e-5)
    (3 * found.mixed).backward()  # type: ignore[no-untyped-call]
    assert hidden.grad is not None
    assert weight.grad is not None
    torch.testing.assert_close(hidden.grad, 3 * wanted[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weight.grad, 3 * wanted[1], rtol=1e-4, atol=1e-5)
    assert taught.grad is None
    assert teacher.grad is None


def test_without_labels_nothing_is_learned_and_nothing_is_nan() -> None:
    hidden, weight = torch.randn(1, 4, 8, requires_grad=True), torch.randn(50, 8, requires_grad=True)
    found = summed_distances((hidden, hidden), (weight, weight), torch.full((1, 4), IGNORED), 0.5, 1.5)
    found.mixed.backward()  # type: ignore[no-untyped-call]
    assert float(found.mixed.detach()) == 0.0
    assert hidden.grad is not None
    assert float(hidden.grad.abs().max()) == 0.0


def save(directory: Path, model: MiniMind, tokenizer: str = "nano-2048") -> Path:
    files = model_files(model, {}) | dict(tokenizer_files(Tokenizer.load(tokenizer)))
    checkpoint.write_directory(directory, files, step=1)
    return directory


def test_a_batch_is_scored_against_a_teacher_of_another_shape(make_job: Callable[..., Job], tmp_path: Path) -> None:
    teacher = MiniMind(TINY.replace(hidden_size=48, num_hidden_layers=1)).eval()
    job = make_job(objective="distillation", teacher=str(save(tmp_path / "teacher", teacher)))
    objective, model = Updater(job).objective, job.model.eval()
    assert isinstance(objective, Distillation)
    batch = next(objective.batches(job.data.train, job.config))
    _, scalars = objective.loss(model, batch)

    counted = batch.labels != IGNORED
    mask = document_mask(batch.documents)
    ours, theirs = (
        some(batch.tokens, positions=batch.positions, mask=mask)[counted].detach() for some in (model, teacher)
    )
    ce = F.cross_entropy(ours, batch.labels[counted])
    kl = F.kl_div((ours / 1.5).log_softmax(-1), (theirs / 1.5).softmax(-1), reduction="batchmean") * 1.5**2
    assert scalars["ce_loss"] == pytest.approx(float(ce), rel=1e-4)
    assert scalars["distill_loss"] == pytest.approx(float(kl), rel=1e-3)
    assert scalars["loss"] == pytest.approx(0.5 * scalars["ce_loss"] + 0.5 * scalars["distill_loss"], rel=1e-5)
    held_out = [batch]
    assert objective.evaluate(model, held_out)["validation_loss"] == pytest.approx(
        FineTune().evaluate(model, held_out)["validation_loss"]
    )


def test_a_student_comes_nearer_to_its_teacher(make_trainer: MakeTrainer, trained_tiny: Path) -> None:
    trainer, listener = make_trainer(
        objective="distillation", teacher=str(trained_tiny), distill_alpha=0.0, learning_rate=3e-3, steps=30
    )
    teacher = open_any(trained_tiny)[0]
    trainer.run()
    losses = list(listener.series("distill_loss").values())
    assert losses[-1] < 0.5 * losses[0]
    found = trainer.updater.objective
    assert isinstance(found, Distillation)
    for ours, theirs in zip(found._teacher.parameters(), teacher.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert not ours.requires_grad


def test_who_may_not_teach(make_job: Callable[..., Job], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name one with --teacher"):
        Updater(make_job(objective="distillation"))
    with pytest.raises(UserError, match="an architecture without weights"):
        Updater(make_job(objective="distillation", teacher="mini"))
    other = save(tmp_path / "other", MiniMind(TINY.replace(vocab_size=6400)), "minimind-6400")
    with pytest.raises(UserError, match=r"another tokenizer than the student \(vocabularies of 6400 / 2048\)"):
        Updater(make_job(objective="distillation", teacher=str(other)))
