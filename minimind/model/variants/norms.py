"""Other norms, or none, and norms in another place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from minimind.config import ModelConfig
from minimind.model.cache import LayerCache
from minimind.model.transformer import Block, MiniMind, RMSNorm

NormKind = Literal["rms", "layer", "none"]
NormPlace = Literal["pre", "post"]

NORMS: dict[NormKind, Callable[[ModelConfig], nn.Module]] = {
    "rms": lambda config: RMSNorm(config.hidden_size, config.rms_norm_eps),
    "layer": lambda config: nn.LayerNorm(config.hidden_size, config.rms_norm_eps),
    "none": nn.Identity,
}


class PostNormBlock(Block):
    """The original Transformer's order: normalise after adding, so that the residual stream itself is rescaled.

    Vaswani et al. 2017, "Attention Is All You Need", section 3.1: LayerNorm(x + Sublayer(x)).
    """

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None = None, cache: LayerCache | None = None
    ) -> Tensor:
        """Update the residual stream `x` [batch, time, hidden]."""
        attended = self.input_layernorm(x + self.self_attn(x, rotary, mask, cache))  # [batch, time, hidden]
        updated: Tensor = self.post_attention_layernorm(attended + self.mlp(attended))  # [batch, time, hidden]
        return updated


BLOCKS: dict[NormPlace, type[Block]] = {"pre": Block, "post": PostNormBlock}


def replace_norms(model: MiniMind, kind: NormKind) -> None:
    """Put a fresh norm of `kind` in place of every norm of the residual stream: two a block, and the last one.

    The norms on queries and keys (``config.qk_norm``) are another technique and stay as they are.
    """
    weight = model.model.embed_tokens.weight
    for owner in [model.model, *model.model.layers]:
        for name in ("input_layernorm", "post_attention_layernorm", "norm"):
            if hasattr(owner, name):
                setattr(owner, name, NORMS[kind](model.config).to(weight.device, weight.dtype))


def set_norm_place(model: MiniMind, place: NormPlace) -> None:
    """Normalise before each part of a block (``pre``, as released) or after its addition (``post``).

    The last norm of the stack stays; after a post-norm block it has nearly nothing left to do.
    """
    layers = model.model.layers
    for index, old in enumerate(layers):
        with torch.device("meta"):
            new = BLOCKS[place](model.config).train(old.training)
        for name, part in old.named_children():
            setattr(new, name, part)
        layers[index] = new
