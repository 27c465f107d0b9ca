"""The five released layouts, small, with weights far from their initial values; and files of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minimind.config import MODEL_PRESETS, ModelConfig
from minimind.interop.export import EXPORTERS, Source
from minimind.model.transformer import MiniMind
from tests.minimind.tiny import VOCABULARY, tiny_tokenizer

LAYOUTS = ("small", "minimind2", "minimind2-moe", "minimind3", "minimind3-moe")
DENSE = ("small", "minimind2", "minimind3")
IN_TRANSFORMERS = ("minimind2", "minimind3", "minimind3-moe")


def small_config(layout: str, **changes: Any) -> ModelConfig:
    """A released architecture at width 64 (eight heads, as all have), two layers, 320 tokens."""
    shape = {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 96, "vocab_size": VOCABULARY}
    return MODEL_PRESETS[layout].replace(**(shape | {"max_position_embeddings": 512} | changes))


def small_model(layout: str, seed: int = 0, **changes: Any) -> MiniMind:
    """Weights that float16 holds exactly, so that files in float16 lose nothing."""
    torch.manual_seed(seed)
    model = MiniMind(small_config(layout, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((parameter + torch.randn_like(parameter) * 0.1).half().float())
    return model


def tokens(length: int = 12) -> Tensor:
    return torch.randint(0, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(5))


def write(model: MiniMind, to: str, out: Path, dtype: str = "float16") -> Path:
    """Export `model` to a new folder `out`; returns it."""
    out.mkdir(parents=True)
    EXPORTERS[to](Source(model, tiny_tokenizer(), "full_sft", dtype), out)
    return out
