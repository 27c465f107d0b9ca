"""What changes how a step is computed and not what it computes: float16, recomputation, averages, determinism."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from minimind import hardware
from minimind.config import TrainConfig
from minimind.events import Alert
from minimind.model.files import load_model
from minimind.model.transformer import MiniMind
from minimind.training import checkpoint
from minimind.training.acceleration import choose_precision, use_deterministic_algorithms
from minimind.training.average import WeightAverage
from minimind.training.evaluate import held_out
from minimind.training.gradient_checkpointing import install_gradient_checkpointing
from minimind.training.job import Job
from minimind.training.optim import Optimizer
from minimind.training.update import Updater
from tests.minimind.training.listening import MakeTrainer, stop_after
from tests.minimind.training.test_optim import CONFIG


def gradients_of(job: Job) -> tuple[dict[str, Tensor], int]:
    """The gradients of one batch, and the bytes that were kept for the backward pass."""
    updater = Updater(job)
    batch = next(job.objective.batches(job.data.train, job.config))
    sizes: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        sizes[tensor.data_ptr()] = tensor.nbytes
        return tensor

    torch.manual_seed(1)
    updater.working.train()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss, _ = job.objective.loss(updater.working, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    found = {name: item.grad for name, item in updater.working.named_parameters() if item.grad is not None}
    return found, sum(sizes.values())


@pytest.mark.parametrize("compiled", ["off", "auto"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_recomputed_gradients_are_the_same_and_less_is_kept(
    dtype: str, compiled: str, make_job: Callable[..., Job]
) -> None:
    """With dropout (a tenth, in the tiny model), whose draws must be repeated too."""
    settings = {"dtype": dtype, "compile": compiled, "batch_size": 8}
    plain, kept = gradients_of(make_job(**settings))
    recomputed, kept_less = gradients_of(make_job(**settings, gradient_checkpointing=True))
    assert plain.keys() == recomputed.keys()
    assert all(torch.equal(gradient, recomputed[name]) for name, gradient in plain.items())
    assert kept_less < 0.5 * kept


def test_recomputation_knows_experts_and_is_installed_once() -> None:
    config = CONFIG.replace(use_moe=True, num_hidden_layers=2)
    tokens = torch.arange(12)[None]
    found = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = MiniMind(config).train()
        if recompute:
            install_gradient_checkpointing(model)
            first = model.model.layers[0].forward
            install_gradient_checkpointing(model)
            assert model.model.layers[0].forward is first
        model(tokens).square().sum().backward()
        found.append([parameter.grad for parameter in model.parameters()])
        with torch.no_grad():
            assert model.eval()(tokens).isfinite().all()
    for plain, recomputed in zip(*found, strict=True):
        assert (plain is None) == (recomputed is None)
        assert plain is None or torch.equal(plain, recomputed)


def test_float16_learns_as_float32_does(make_trainer: MakeTrainer) -> None:
    exact, heard = make_trainer(dtype="float32", steps=8)
    exact.run()
    half, heard_half = make_trainer(dtype="float16", steps=8)
    half.run()
    assert heard_half.series("loss")[8] == pytest.approx(heard.series("loss")[8], rel=5e-3)
    assert set(heard_half.series("loss_scale").values()) == {65536.0}
    assert not heard.series("loss_scale")
    assert half.updater.working.lm_head.weight.dtype == torch.float16
    assert half.updater.optimizer.model.lm_head.weight.dtype == torch.float32


def test_a_gradient_too_large_for_float16_halves_the_scale_and_is_no_alarm(make_trainer: MakeTrainer) -> None:
    trainer, listener = make_trainer(dtype="float16", steps=12)
    scaler = trainer.updater.optimizer.scaler
    assert scaler is not None
    scaler.load_state_dict(scaler.state_dict() | {"scale": 2.0**40})
    before = {name: tensor.clone() for name, tensor in trainer.updater.optimizer.model.state_dict().items()}
    update = trainer.updater.update(0, 12)
    assert (update.applied, update.overflowed) == (False, True)
    after = trainer.updater.optimizer.model.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert update.scalars["loss_scale"] == 2.0**39
    trainer.run()
    scales = listener.series("loss_scale")
    assert scales[1] == 2.0**38
    assert scales[12] == 2.0**27
    assert not any(isinstance(event, Alert) for event in listener.events)


def test_small_gradients_are_not_lost_in_float16() -> None:
    """1e-8 is nothing in float16, and something at 65,536 times that."""
    optimizer = Optimizer(MiniMind(CONFIG), TrainConfig(), torch.float16)
    weight = optimizer.working.model.norm.weight
    (optimizer.scaled(weight.float().sum() * 1e-8)).backward()  # type: ignore[no-untyped-call]
    optimizer.collect()
    assert optimizer.clip_gradients() == pytest.approx(1e-8 * weight.numel() ** 0.5, rel=1e-3)


class FakeGpu:
    """What torch.cuda says of a GPU of a given compute capability."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: capability >= (8, 0))
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@pytest.mark.parametrize(
    ("capability", "training", "writing"),
    [
        ((9, 0), torch.bfloat16, torch.bfloat16),
        ((7, 5), torch.float16, torch.float32),
        ((6, 1), torch.float32, torch.float32),
    ],
)
def test_precision_follows_the_hardware(
    capability: tuple[int, int], training: torch.dtype, writing: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    FakeGpu(monkeypatch, capability)
    gpu = torch.device("cuda", 0)
    assert hardware.choose_dtype("auto", gpu, half=True) == training
    assert hardware.choose_dtype("auto", gpu) == writing
    assert hardware.choose_dtype("float16", gpu) == torch.float16


def test_kernels_leave_float16_to_pytorch() -> None:
    precision, note = choose_precision(TrainConfig(device="cpu", dtype="float16"))
    assert (precision.dtype, precision.kernels) == (torch.float16, None)
    assert note is not None
    assert "float16" in note.en
    assert "float16" in note.zh


def test_the_average_follows_its_formula() -> None:
    weight = torch.tensor([1.0])
    average = WeightAverage({"w": weight}, 0.5)
    expected = 1.0
    for number in range(8):
        weight.fill_(float(number))
        average.update()
        decay = min(0.5, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * number
    assert float(average.tensors["w"]) == pytest.approx(expected)
    average.exchange()
    assert (float(weight), float(average.tensors["w"])) == (pytest.approx(expected), 7.0)
    average.exchange()
    assert (float(weight), float(average.tensors["w"])) == (7.0, pytest.approx(expected))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_average_is_what_is_evaluated_and_saved(dtype: str, make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer, listener = make_trainer(tmp_path, dtype=dtype, ema=0.9, evaluate_every=12)
    trainer.run()
    optimizer, objective = trainer.updater.optimizer, trainer.job.objective
    model, _, _ = load_model(checkpoint.directory_for(tmp_path, 12))
    held = objective.validation(trainer.job.data.validation, trainer.config)
    followed = held_out(trainer.updater.working, objective, held).loss
    with optimizer.averaged():
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, optimizer.model.state_dict()[name]), name
        average = held_out(trainer.updater.working, objective, held).loss
    assert listener.series("validation_loss")[12] == average != followed
    assert held_out(trainer.updater.working, objective, held).loss == followed


def test_without_an_average_nothing_is_exchanged() -> None:
    optimizer = Optimizer(MiniMind(CONFIG), TrainConfig(), torch.float32)
    before = optimizer.model.model.norm.weight.detach().clone()
    with optimizer.averaged():
        assert torch.equal(optimizer.model.model.norm.weight, before)
    assert not any("followed" in name for name in optimizer.state_tensors())


@pytest.fixture
def any_algorithm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    yield
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    use_deterministic_algorithms(False)


@pytest.mark.usefixtures("any_algorithm")
def test_deterministic_runs_repeat_each_other(make_trainer: MakeTrainer) -> None:
    losses = []
    for _ in range(2):
        trainer, listener = make_trainer(deterministic=True, steps=4, optimizer="muon")
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        trainer.run()
        losses.append(listener.series("loss"))
    assert losses[0] == losses[1]
    make_trainer(steps=1)
    assert not torch.are_deterministic_algorithms_enabled()


def test_training_ends_early_where_nothing_gets_better(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Stopped and resumed on the way, as if it had not been."""
    settings: dict[str, Any] = {"patience": 2, "evaluate_every": 2, "steps": 40, "save_every": 100}
    trainer, listener = make_trainer(tmp_path, **settings)
    losses = iter([5.0, 4.0, 4.5])
    trainer.job.objective.evaluate = lambda model, batches: {"validation_loss": next(losses)}  # type: ignore[method-assign]
    listener.wish = stop_after(5)
    assert trainer.run().outcome == "stopped"
    trainer, listener = make_trainer(tmp_path, **settings)
    trainer.job.objective.evaluate = lambda model, batches: {"validation_loss": 4.0}  # type: ignore[method-assign]
    verdict = trainer.run()
    assert (verdict.outcome, verdict.step) == ("finished", 6)
    assert "ended early after step 6" in verdict.text.en
    assert "4.000, that of step 2" in verdict.text.en
    assert "提前结束" in verdict.text.zh
    assert checkpoint.steps(tmp_path) == [0, 2, 5, 6]
