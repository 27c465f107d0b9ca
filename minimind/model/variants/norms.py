"""Other norms, or none. Where they stand is `minimind.model.variants.blocks.set_norm_place`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import nn

from minimind.config import ModelConfig
from minimind.model.transformer import MiniMind, RMSNorm
from minimind.model.variants.blocks import NAMES
from minimind.model.variants.parts import Absent, install_part

NormKind = Literal["rms", "layer", "none"]

NORMS: dict[NormKind, Callable[[ModelConfig], nn.Module]] = {
    "rms": lambda config: RMSNorm(config.hidden_size, config.rms_norm_eps),
    "layer": lambda config: nn.LayerNorm(config.hidden_size, config.rms_norm_eps),
    "none": nn.Identity,
}


def replace_norms(model: MiniMind, kind: NormKind) -> None:
    """Put a fresh norm of `kind` in place of every norm of the residual stream: those of a block, and the last one.

    Where a part was taken out, its norm stays out. The norms on queries and keys (``config.qk_norm``) are another
    technique and stay as they are.
    """
    weight = model.model.embed_tokens.weight

    def renew(owner: nn.Module, name: str) -> None:
        setattr(owner, name, NORMS[kind](model.config).to(weight.device, weight.dtype))

    renew(model.model, "norm")
    for block in model.model.layers:
        for part, *norms in NAMES.values():
            for name in norms:
                if hasattr(block, name) and not isinstance(getattr(block, part), Absent):
                    renew(block, name)


def install_norms(model: MiniMind, factory: Callable[[int, float], nn.Module]) -> None:
    """Put a learner's norm, made from size and ε, in place of every norm of the residual stream (see `install_part`)."""
    for path in ("*layernorm", "model.norm"):
        install_part(model, path, lambda _old: factory(model.config.hidden_size, model.config.rms_norm_eps))
