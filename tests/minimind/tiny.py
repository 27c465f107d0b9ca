"""A tokenizer and a model small enough to be made in a test, and their directory."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

from minimind.config import ModelConfig
from minimind.data.tokenizer import Tokenizer, train_tokenizer
from minimind.model.files import model_files
from minimind.model.transformer import MiniMind
from minimind.training import checkpoint

VOCABULARY = 320
TEXTS = ["the cat sat on the mat and the dog sat on the cat. ", "小猫坐在垫子上，小狗坐在小猫上。"] * 20


@functools.cache
def tiny_tokenizer() -> Tokenizer:
    """320 tokens, learned from two sentences."""
    return train_tokenizer(TEXTS, VOCABULARY)


def tiny_config(**changes: Any) -> ModelConfig:
    """Two layers of width 32."""
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    return ModelConfig(**(shape | {"vocab_size": VOCABULARY, "max_position_embeddings": 64} | changes))


def tiny_model(seed: int = 0, **changes: Any) -> MiniMind:
    """Random weights, large enough that its predictions are far from uniform."""
    torch.manual_seed(seed)
    model = MiniMind(tiny_config(**changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def save_tiny(root: Path, step: int = 100, metadata: dict[str, Any] | None = None, **changes: Any) -> Path:
    """A checkpoint of a tiny model under `root`; returns its directory."""
    scratch = root / "tokenizer"
    tiny_tokenizer().save(scratch)
    files = model_files(tiny_model(**changes), metadata or {"objective": "sft", "step": step})
    files |= {path.name: path.read_bytes() for path in scratch.iterdir()}
    return checkpoint.write(root, step, files, keep=5)
