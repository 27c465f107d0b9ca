"""The schedule, the groups, and float32 masters under a bfloat16 model."""

from __future__ import annotations

import math

import pytest
import torch

from minimind.config import ModelConfig, TrainConfig
from minimind.model.transformer import MiniMind
from minimind.training.optim import Optimizer, decay_groups

CONFIG = ModelConfig(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    intermediate_size=24,
    vocab_size=40,
)


def test_matrices_decay_and_nothing_else_does() -> None:
    model = MiniMind(CONFIG)
    parameters = dict(model.named_parameters())
    names = {id(parameter): name for name, parameter in parameters.items()}
    groups = {group["kind"]: group for group in decay_groups(parameters, 0.1)}
    found = {kind: {names[id(parameter)] for parameter in group["params"]} for kind, group in groups.items()}
    assert set().union(*found.values()) == set(parameters)
    assert {kind: group["weight_decay"] for kind, group in groups.items()} == {
        "matrices": 0.1,
        "embeddings": 0.0,
        "vectors": 0.0,
    }
    assert all("proj" in name for name in found["matrices"])
    assert found["embeddings"] == {"model.embed_tokens.weight"}
    assert {name.split(".")[-2] for name in found["vectors"]} >= {"norm", "q_norm", "input_layernorm"}
    assert {group["weight_decay"] for group in decay_groups(parameters, 0.1, every=True)} == {0.1}


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


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_state_goes_out_and_comes_back(optimizer: str) -> None:
    torch.manual_seed(0)
    config = TrainConfig(optimizer=optimizer)
    first = Optimizer(MiniMind(CONFIG), config, torch.float32)
    gradients(first.model, 1)
    first.step(1.0)
    second = Optimizer(MiniMind(CONFIG), config, torch.float32)
    second.load_weights({name: tensor.clone() for name, tensor in first.model.named_parameters()})
    second.load_state_tensors({name: tensor.clone() for name, tensor in first.state_tensors().items()})
    for one in (first, second):
        gradients(one.model, 2)
        one.step(0.5)
    for name, parameter in first.model.named_parameters():
        assert torch.equal(parameter, second.model.get_parameter(name)), name


def test_finite() -> None:
    optimizer = Optimizer(MiniMind(CONFIG), TrainConfig(), torch.float32)
    assert optimizer.finite()
    with torch.no_grad():
        optimizer.model.model.norm.weight[3] = math.inf
    assert not optimizer.finite()
