"""Other networks out of the same one, made from outside: the network itself has no switches.

Experiments compare what a part is good for by taking it out or moving it; a learner puts their own part in and trains.
Every function changes `model` in place. Parameters that stay keep their names and their tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor, nn

from minimind.config import ModelConfig
from minimind.errors import UserError
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


def install_part(model: MiniMind, path: str, factory: Callable[[nn.Module], nn.Module]) -> list[str]:
    """Replace the modules whose dotted name matches `path` by what `factory` makes of each; returns their names.

    `path` may hold ``*``, which also spans dots: ``*norm`` is every norm, ``model.layers.0.mlp`` one feed-forward.
    A new part takes over the parameters of the old one, so it must have parameters of the same names and shapes.
    Raises UserError where nothing matches or where they differ.
    """
    replaced: list[str] = []
    for name in [name for name, _ in model.named_modules() if fnmatchcase(name, path)]:
        if any(name.startswith(f"{done}.") for done in replaced):
            continue
        old = model.get_submodule(name)
        new = factory(old)
        try:
            new.load_state_dict(old.state_dict(), strict=True)
        except RuntimeError:
            wanted, given = (
                ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in part.state_dict().items()) or "—"
                for part in (old, new)
            )
            raise UserError(
                f"the part for {name} has the parameters {given}; it needs {wanted}",
                f"用于 {name} 的部件的参数是 {given}；应为 {wanted}",
            ) from None
        like = next(old.parameters(), model.model.embed_tokens.weight)
        model.set_submodule(name, new.to(like.device, like.dtype).train(old.training), strict=True)
        replaced.append(name)
    if not replaced:
        raise UserError(
            f"no part of the model is called {path!r}: names look like model.layers.0.input_layernorm",
            f"模型中没有名为 {path!r} 的部件：名称形如 model.layers.0.input_layernorm",
        )
    return replaced
