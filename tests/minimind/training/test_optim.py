"""The schedule, the groups, and float32 masters under a bfloat16 model."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from minimind.config import ModelConfig, TrainConfig
from minimind.model.transformer import MiniMind
from minimind.training.optim import Optimizer, decay_groups, learning_rate_share

CONFIG = ModelConfig(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    intermediate_size=24,
    vocab_size=40,
)


def test_schedule_rises_linearly_and_falls_along_a_cosine() -> None:
    shares = [learning_rate_share(step, 110, 0.1, 0.1) for step in range(110)]
    assert shares[:11] == pytest.approx([(step + 1) / 12 for step in range(11)])
    assert shares[11] == pytest.approx(1.0)
    assert shares[-1] == pytest.approx(0.1)
    middle = 11 + 49
    assert shares[middle] == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 49 / 98)))
    assert all(a > b for a, b in itertools.pairwise(shares[11:]))


@pytest.mark.parametrize(("steps", "warmup"), [(1, 0.0), (1, 0.9), (2, 0.5), (3, 0.9)])
def test_schedule_of_a_few_steps_stays_in_range(steps: int, warmup: float) -> None:
    for step in range(steps + 3):
        assert 0.0 < learning_rate_share(step, steps, warmup, 0.1) <= 1.0


def test_matrices_decay_and_nothing_else_does() -> None:
    model = MiniMind(CONFIG)
    parameters = dict(model.named_parameters())
    decayed, kept = decay_groups(parameters, 0.1)
    names = {id(parameter): name for name, parameter in parameters.items()}
    decayed_names = {names[id(p)] for p in decayed["params"]}  # type: ignore[attr-defined]
    kept_names = {names[id(p)] for p in kept["params"]}  # type: ignore[attr-defined]
    assert decayed_names | kept_names == set(parameters)
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0.0
    assert all("proj" in name for name in decayed_names)
    assert {name.split(".")[-2] for name in kept_names} >= {"embed_tokens", "norm", "q_norm", "input_layernorm"}


def gradients(model: MiniMind, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.dtype)


def test_float32_equals_plain_adamw() -> None:
    """Up to the last digits of float32: the one-pass AdamW rounds in another order. A step moves a weight by 1e-2."""
    torch.manual_seed(0)
    model = MiniMind(CONFIG)
    reference = MiniMind(CONFIG)
    reference.load_state_dict(model.state_dict())
    config = TrainConfig(learning_rate=1e-2, weight_decay=0.1, clip=0.5)
    ours = Optimizer(model, config, torch.float32)
    plain = torch.optim.AdamW(decay_groups(dict(reference.named_parameters()), 0.1), lr=1e-2, betas=(0.9, 0.95))
    for seed in range(3):
        gradients(model, seed)
        gradients(reference, seed)
        norm = torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
        plain.step()
        ours.collect()
        assert ours.clip_gradients() == pytest.approx(float(norm))
        ours.step(1.0)
        ours.discard()
    assert ours.working is model
    for name, parameter in model.named_parameters():
        expected = reference.get_parameter(name)
        assert torch.allclose(parameter, expected, rtol=1e-6, atol=1e-8), name


def test_small_updates_survive_in_the_masters() -> None:
    """At 1e-5 a step, bfloat16 weights near 0.02 · 16 would not move; the masters do, and carry the working copy along."""
    torch.manual_seed(0)
    model = MiniMind(CONFIG)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    optimizer = Optimizer(model, TrainConfig(learning_rate=1e-4, weight_decay=0.0), torch.bfloat16)
    working = optimizer.working
    assert working.lm_head.weight is working.model.embed_tokens.weight
    assert next(working.parameters()).dtype == torch.bfloat16
    for _ in range(60):
        for parameter in working.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.collect()
        optimizer.step(1.0)
        optimizer.discard()
    weight = model.model.norm.weight
    torch.testing.assert_close(weight, torch.full_like(weight, 1.0 - 60e-4), rtol=1e-4, atol=0)
    assert torch.equal(working.model.norm.weight, weight.bfloat16())
    assert working.model.norm.weight[0].item() < 1.0


def test_gradients_of_micro_steps_add_up_in_float32() -> None:
    model = MiniMind(CONFIG)
    optimizer = Optimizer(model, TrainConfig(), torch.bfloat16)
    for value in (256.0, 1.0, 1.0):  # in bfloat16 256 + 1 is 256
        for parameter in optimizer.working.parameters():
            parameter.grad = torch.full_like(parameter, value)
        optimizer.collect()
    assert float(model.model.norm.weight.grad[0]) == 258.0  # type: ignore[index]
    assert all(parameter.grad is None for parameter in optimizer.working.parameters())


def test_state_goes_out_and_comes_back() -> None:
    torch.manual_seed(0)
    first = Optimizer(MiniMind(CONFIG), TrainConfig(), torch.float32)
    gradients(first.model, 1)
    first.step(1.0)
    second = Optimizer(MiniMind(CONFIG), TrainConfig(), torch.float32)
    second.load_weights({name: tensor.clone() for name, tensor in first.model.named_parameters()})
    second.load_state_tensors({name: tensor.clone() for name, tensor in first.state_tensors().items()})
    for optimizer in (first, second):
        gradients(optimizer.model, 2)
        optimizer.step(0.5)
    for name, parameter in first.model.named_parameters():
        assert torch.equal(parameter, second.model.get_parameter(name)), name


def test_finite() -> None:
    optimizer = Optimizer(MiniMind(CONFIG), TrainConfig(), torch.float32)
    assert optimizer.finite()
    with torch.no_grad():
        optimizer.model.model.norm.weight[3] = math.inf
    assert not optimizer.finite()
