"""The network once more, from the papers' formulas: loops, explicit matrices, float64, no code of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from minimind.config import ModelConfig


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Zhang and Sennrich 2019, equation 4."""
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def frequency(pair: int, config: ModelConfig) -> float:
    """RoFormer's θ^(-2i/d), slowed down by YaRN (definitions 1 and 2 of Peng et al. 2023) where the config says so."""
    size = config.head_size
    plain = config.rope_theta ** (-2 * pair / size)
    if not config.inference_rope_scaling or config.max_position_embeddings <= config.original_max_position_embeddings:
        return plain
    turns = config.original_max_position_embeddings * plain / (2 * math.pi)
    factor = config.rope_scaling_factor
    if config.rope_scaling_type == "minimind2":
        beta = config.beta_slow + (config.beta_fast - config.beta_slow) * pair / (size // 2 - 1)
        return plain * ((beta * factor - beta + 1) / (beta * factor) if turns >= 1 else 1 / factor)

    def pair_turning(times: float) -> float:
        wavelength = config.original_max_position_embeddings / times
        return size * math.log(wavelength / (2 * math.pi), config.rope_theta) / 2

    first = max(math.floor(pair_turning(config.beta_fast)), 0)
    last = min(math.ceil(pair_turning(config.beta_slow)), size // 2 - 1)
    ramp = min(max((pair - first) / max(last - first, 0.001), 0), 1)
    return (1 - ramp) * plain + ramp * plain / factor


def rotate(vector: Tensor, position: int, config: ModelConfig) -> Tensor:
    """RoFormer's block-diagonal rotation matrix for one position, its pairs half a head apart, times `vector`."""
    size = vector.shape[-1]
    matrix = torch.zeros(size, size, dtype=vector.dtype)
    for pair in range(size // 2):
        angle = position * frequency(pair, config)
        partner = pair + size // 2
        matrix[pair, pair] = matrix[partner, partner] = math.cos(angle)
        matrix[pair, partner], matrix[partner, pair] = -math.sin(angle), math.sin(angle)
    scale = config.attention_factor if config.inference_rope_scaling else 1.0
    return scale * (matrix @ vector)


def attention(x: Tensor, weights: Mapping[str, Tensor], config: ModelConfig) -> Tensor:
    """One sequence [time, hidden]; every query head by itself, every position by itself."""
    size, heads = config.head_size, config.num_attention_heads
    share = heads // config.num_key_value_heads
    outputs = []
    for head in range(heads):
        group = head // share
        query = x @ weights["q_proj.weight"][head * size : (head + 1) * size].T
        key = x @ weights["k_proj.weight"][group * size : (group + 1) * size].T
        value = x @ weights["v_proj.weight"][group * size : (group + 1) * size].T
        if config.qk_norm:
            query = rms_norm(query, weights["q_norm.weight"], config.rms_norm_eps)
            key = rms_norm(key, weights["k_norm.weight"], config.rms_norm_eps)
        query = torch.stack([rotate(row, position, config) for position, row in enumerate(query)])
        key = torch.stack([rotate(row, position, config) for position, row in enumerate(key)])
        rows = []
        for position in range(len(x)):
            scores = (key[: position + 1] @ query[position]) / math.sqrt(size)
            exponentials = torch.exp(scores - scores.max())
            rows.append((exponentials / exponentials.sum()) @ value[: position + 1])
        outputs.append(torch.stack(rows))
    return torch.cat(outputs, dim=-1) @ weights["o_proj.weight"].T


def swiglu(x: Tensor, weights: Mapping[str, Tensor], prefix: str) -> Tensor:
    """Shazeer 2020, equation 6."""
    gate, up = (x @ weights[f"{prefix}{name}_proj.weight"].T for name in ("gate", "up"))
    return (gate / (1 + torch.exp(-gate)) * up) @ weights[f"{prefix}down_proj.weight"].T


def mixture(x: Tensor, weights: Mapping[str, Tensor], config: ModelConfig) -> Tensor:
    """Shazeer et al. 2017, equations 1 and 3 to 5 without noise, one token at a time; then the shared experts."""
    rows = []
    for row in x:
        exponentials = torch.exp(weights["gate.weight"] @ row)
        scores = exponentials / exponentials.sum()
        best = sorted(range(config.num_experts), key=lambda expert: -float(scores[expert]))
        best = best[: config.num_experts_per_tok]
        total = sum(float(scores[expert]) for expert in best) if config.norm_topk_prob else 1.0
        made = torch.zeros_like(row)
        for expert in best:
            made = made + scores[expert] / total * swiglu(row, weights, f"experts.{expert}.")
        for expert in range(config.n_shared_experts):
            made = made + swiglu(row, weights, f"shared_experts.{expert}.")
        rows.append(made)
    return torch.stack(rows)


def reference_logits(tokens: list[int], state: Mapping[str, Tensor], config: ModelConfig) -> Tensor:
    """[time, vocabulary] in float64, from a state dict of the released names."""
    state = {name: tensor.double() for name, tensor in state.items()}
    x = state["model.embed_tokens.weight"][tokens]
    for layer in range(config.num_hidden_layers):
        prefix = f"model.layers.{layer}."
        weights = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        normed = rms_norm(x, weights["input_layernorm.weight"], config.rms_norm_eps)
        x = x + attention(normed, _part(weights, "self_attn."), config)
        normed = rms_norm(x, weights["post_attention_layernorm.weight"], config.rms_norm_eps)
        of_mlp = _part(weights, "mlp.")
        x = x + (mixture(normed, of_mlp, config) if config.use_moe else swiglu(normed, of_mlp, ""))
    return rms_norm(x, state["model.norm.weight"], config.rms_norm_eps) @ state["lm_head.weight"].T


def _part(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}
