"""Small models made of our own network: the sizes that the course's experiments train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch

from minimind.config import ModelConfig
from minimind.model.transformer import MiniMind

Size = Literal["T0", "T1", "T2"]
SIZES: dict[Size, dict[str, int]] = {
    "T0": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 32},
    "T1": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 64},
    "T2": {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 64},
}
BATCH_SIZES: dict[Size, int] = {"T0": 8, "T1": 16, "T2": 16}
BYTES = 256
INITIAL_SCALE = 0.02
"""The standard deviation of a fresh model's matrices."""


def tiny_config(size: Size = "T1", **changes: Any) -> ModelConfig:
    """The configuration of a size, with fields of `ModelConfig` changed.

    Bytes as tokens, tied embeddings, as many key/value heads as query heads, SwiGLU of 8/3 the width (rounded to 8),
    no norm on queries and keys. Raises UserError for changes that no model can have.
    """
    width = int(changes.get("hidden_size", SIZES[size]["hidden_size"]))
    heads = int(changes.get("num_attention_heads", SIZES[size]["num_attention_heads"]))
    defaults: dict[str, Any] = {
        **SIZES[size],
        "num_key_value_heads": heads,
        "intermediate_size": max(8, round(width * 8 / 3 / 8) * 8),
        "vocab_size": BYTES,
        "qk_norm": False,
    }
    return ModelConfig(**(defaults | changes))


def tiny_model(
    size: Size = "T1", *, seed: int = 0, change: Callable[[MiniMind], object] | None = None, **changes: Any
) -> MiniMind:
    """A model of that size with the initial weights of `seed`; `change` then alters it, as `minimind.model.variants`."""
    torch.manual_seed(seed)
    model = MiniMind(tiny_config(size, **changes))
    if change is not None:
        change(model)
    return model


@torch.no_grad()
def rescale(model: MiniMind, factor: float) -> None:
    """Multiply every matrix by `factor`; the weights of the norms stay."""
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(factor)
