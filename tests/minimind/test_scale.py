"""The formulas of cost against counts by hand, against the parameters of real models, and against what torch counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from minimind.config import MODEL_PRESETS, ModelConfig, TrainConfig
from minimind.model.cache import Cache
from minimind.model.transformer import AttentionCore, MiniMind
from minimind.scale import (
    activation_bytes_per_token,
    decode_bytes_per_token,
    forward_flops_per_token,
    inference_memory,
    kv_cache_bytes,
    parameter_counts,
    training_flops_per_token,
    training_memory,
)
from minimind.training.attention import document_mask, install_fast_attention
from minimind.training.loss import summed_cross_entropy
from minimind.training.optim import Optimizer

SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
}
VARIANTS: dict[str, dict[str, Any]] = {
    "dense": {},
    "no q/k norm": {"qk_norm": False},
    "untied, wide heads": {"tie_word_embeddings": False, "head_dim": 32, "intermediate_size": 100},
    "top-1 of 4": {"use_moe": True},
    "top-2 of 4 and a shared one": {"use_moe": True, "num_experts_per_tok": 2, "n_shared_experts": 1},
}
CONFIGS = {name: ModelConfig(**SMALL | more) for name, more in VARIANTS.items()}
RELEASED = {
    "minimind3": (63_912_192, 63_912_192),
    "minimind3-moe": (198_416_640, 63_936_768),
    "small": (25_829_888, 25_829_888),
    "minimind2": (104_030_976, 104_030_976),
}


class WholeSquare(AttentionCore):
    """Attention as two plain products over all pairs of positions, which torch's counter sees whole."""

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        times = queries.shape[1] // keys.shape[1]
        keys, values = (part.repeat_interleave(times, dim=1) for part in (keys, values))  # [batch, heads, length, head]
        return (queries @ keys.transpose(2, 3)).softmax(-1) @ values


def with_whole_square(config: ModelConfig) -> MiniMind:
    torch.manual_seed(0)
    model = MiniMind(config)
    for module in model.modules():
        if hasattr(module, "core"):
            module.core = WholeSquare()
    return model


def counted_flops(model: MiniMind, tokens: Tensor, *, backward: bool) -> int:
    with FlopCounterMode(display=False) as counter:
        logits = model(tokens)
        if backward:
            logits.sum().backward()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", RELEASED)
def test_released_models_have_exactly_these_parameters(name: str) -> None:
    counts = parameter_counts(MODEL_PRESETS[name])
    assert (counts.total, counts.active) == RELEASED[name]


@pytest.mark.parametrize("config", [*CONFIGS.values(), *MODEL_PRESETS.values()])
def test_parameters_by_part_are_those_of_the_model(config: ModelConfig) -> None:
    with torch.device("meta"):
        model = MiniMind(config)
    found = dict.fromkeys(("embedding", "attention", "feed_forward", "experts", "router", "norms", "output"), 0)
    for name, parameter in model.named_parameters():
        match name.split("."):
            case [*_, "embed_tokens", _]:
                part = "embedding"
            case ["lm_head", _]:
                part = "output"
            case [*_, "experts", _, _, _]:
                part = "experts"
            case [*_, "mlp", "gate", _]:
                part = "router"
            case [*_, "mlp", _, _] | [*_, "shared_experts", _, _, _]:
                part = "feed_forward"
            case _:
                part = "norms" if "norm" in name else "attention"
        found[part] += parameter.numel()
    counts = parameter_counts(config)
    assert found == {part: getattr(counts, part) for part in found}
    assert counts.total == config.parameter_count() == model.parameter_count()
    assert counts.active == config.active_parameter_count()


@pytest.mark.parametrize("name", CONFIGS)
def test_operations_are_those_torch_counts(name: str) -> None:
    # Top-1 of several equal experts: each token goes to one of them, so that the count holds whoever is chosen.
    config, batch, time = CONFIGS[name], 2, 24
    model = with_whole_square(config).train()
    tokens = torch.randint(0, config.vocab_size, (batch, time))
    forward = counted_flops(model, tokens, backward=False)
    assert forward == batch * time * forward_flops_per_token(config, time)
    both = counted_flops(model, tokens, backward=True)
    assert both == batch * time * training_flops_per_token(config, time, causal=False)


def test_causal_attention_counts_each_pair_once() -> None:
    config, time = CONFIGS["dense"], 24
    pairs = sum(range(1, time + 1))
    of_a_pair = 12 * config.num_hidden_layers * config.num_attention_heads * config.head_size
    assert time * training_flops_per_token(config, time) == pytest.approx(
        time * 6 * parameter_counts(config).multiplied + pairs * of_a_pair
    )


def test_a_count_by_hand() -> None:
    config = ModelConfig(**SMALL, intermediate_size=100, qk_norm=False)
    layer = 64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 100  # q and o, k and v, the feed-forward layer
    matrices = 3 * layer + 300 * 64
    assert parameter_counts(config).multiplied == matrices
    assert parameter_counts(config).total == matrices + 3 * 2 * 64 + 64
    assert training_flops_per_token(config, 9) == 6 * matrices + 12 * 3 * 4 * 16 * 5
    assert kv_cache_bytes(config, 10, 2, 2) == 2 * 2 * (2 * 3 * 2 * 16) * 10
    assert decode_bytes_per_token(config, 2, 10) == 2 * (matrices + 3 * 2 * 64 + 64) + 2 * (2 * 3 * 2 * 16) * 10
    assert decode_bytes_per_token(config, 1, 10) == (matrices + 3 * 2 * 64 + 64) + 2 * (2 * 3 * 2 * 16) * 10
    assert inference_memory(config, 2, 10) == decode_bytes_per_token(config, 2, 10)


def test_an_embedding_of_its_own_is_read_one_row_at_a_time() -> None:
    tied, untied = (ModelConfig(**SMALL, tie_word_embeddings=tie) for tie in (True, False))
    assert decode_bytes_per_token(untied, 2, 0) - decode_bytes_per_token(tied, 2, 0) == 2 * 64
    assert inference_memory(untied, 2, 0) - inference_memory(tied, 2, 0) == 2 * 64 * 300
    assert training_flops_per_token(untied, 16) == training_flops_per_token(tied, 16)


def test_a_mixture_is_kept_whole_and_read_in_part() -> None:
    config = CONFIGS["top-1 of 4"]
    idle = 3 * config.num_hidden_layers * 3 * 64 * config.expert_size
    assert inference_memory(config, 2, 0) - decode_bytes_per_token(config, 2, 0) == 2 * idle
    assert training_memory(config, 1, 16, 4).optimizer == 8 * config.parameter_count()


def test_the_cache_has_the_size_of_the_real_one() -> None:
    for config in CONFIGS.values():
        cache = Cache(config, 3, 40, dtype=torch.bfloat16)
        new = torch.zeros(3, config.num_key_value_heads, 40, config.head_size, dtype=torch.bfloat16)
        real = sum(part.nbytes for layer in cache.layers for part in layer.update(new, new))
        assert real == kv_cache_bytes(config, 40, 3)


def saved_bytes(model: MiniMind, tokens: Tensor, mask: Tensor | None = None) -> int:
    """What the forward pass keeps for the backward pass besides the parameters, each storage counted once."""
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in parameters:
            kept[address] = tensor  # held, so that no other tensor gets its address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model.hidden(tokens, mask=mask)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", CONFIGS)
def test_activations_are_what_autograd_keeps(name: str, dtype: torch.dtype) -> None:
    config = CONFIGS[name]
    torch.manual_seed(0)
    model = MiniMind(config).to(dtype).train()
    tokens = torch.randint(0, config.vocab_size, (4, 64))
    expected = activation_bytes_per_token(config, dtype.itemsize) * tokens.numel()
    assert saved_bytes(model, tokens) == pytest.approx(expected, rel=0.05)


def test_attention_that_stores_its_weights_is_counted_too() -> None:
    config = CONFIGS["dense"]
    model = MiniMind(config).to(torch.bfloat16).train()
    assert install_fast_attention(model, torch.bfloat16, torch.device("cpu"))
    tokens = torch.randint(0, config.vocab_size, (4, 128))
    mask = document_mask(torch.zeros_like(tokens))
    expected = activation_bytes_per_token(config, 2, stored_length=128) * tokens.numel()
    assert saved_bytes(model, tokens, mask) == pytest.approx(expected, rel=0.05)
    whole, plain = (training_memory(config, 4, 128, stored_attention=stored) for stored in (True, False))
    assert whole.activations - plain.activations == 2 * 3 * 4 * 128 * tokens.numel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_gradients_and_moments_have_their_real_sizes(dtype: torch.dtype) -> None:
    config = CONFIGS["dense"]
    optimizer = Optimizer(MiniMind(config), TrainConfig(), dtype)
    tokens = torch.randint(0, config.vocab_size, (2, 16))
    loss, _ = summed_cross_entropy(optimizer.working.hidden(tokens), optimizer.working.lm_head.weight, tokens)
    loss.backward()
    models = {id(model): model for model in (optimizer.model, optimizer.working)}.values()
    weights = sum(p.untyped_storage().nbytes() for model in models for p in model.parameters())
    narrow = sum(p.grad.untyped_storage().nbytes() for p in optimizer.working.parameters() if p.grad is not None)
    optimizer.collect()
    wide = sum(p.grad.untyped_storage().nbytes() for p in optimizer.model.parameters() if p.grad is not None)
    optimizer.step(1.0)
    moments = sum(v.numel() * 4 for name, v in optimizer.state_tensors().items() if not name.endswith("|step"))
    memory = training_memory(config, 2, 16, dtype.itemsize)
    assert weights == memory.weights
    assert wide + (narrow if dtype != torch.float32 else 0) == memory.gradients
    assert moments == memory.optimizer
    parts = (memory.weights, memory.gradients, memory.optimizer, memory.activations, memory.loss)
    assert memory.total == sum(parts)
