"""Other ways to say where a token stands, none at all, and rotary positions stretched over a longer text."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from minimind.errors import UserError
from minimind.model.cache import Cache, LayerCache
from minimind.model.transformer import Attention, MiniMind, Transformer
from minimind.model.variants.attention import adjusted_cores
from minimind.model.variants.parts import attentions, recast

Positions = Literal["rotary", "none", "learned", "sinusoidal", "alibi"]
Scaling = Literal["none", "interpolate", "ntk", "yarn"]

INITIAL_SPREAD = 0.02
"""The standard deviation of an untrained token embedding, to which what is added to it is fitted."""


class UnturnedAttention(Attention):
    """Attention without rotary positions: every angle is 0."""

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None = None, cache: LayerCache | None = None
    ) -> Tensor:
        """As `Attention.forward`, whatever the angles in `rotary`."""
        cosine, sine = rotary
        return super().forward(x, (torch.ones_like(cosine), torch.zeros_like(sine)), mask, cache)


class LearnedPositions(nn.Module):
    """A trained vector for each of `count` positions. Later ones get the last vector: nothing was learnt about them.

    Gehring et al. 2017, "Convolutional Sequence to Sequence Learning", section 3.1.
    """

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, size) * INITIAL_SPREAD)  # [count, hidden]

    def forward(self, positions: Tensor) -> Tensor:
        """The vectors [batch or 1, time, hidden] of `positions` [batch or 1, time]."""
        return self.weight[positions.clamp(max=len(self.weight) - 1)]  # [batch or 1, time, hidden]


class SinusoidalPositions(nn.Module):
    """Sines and cosines of wavelengths from 2π to 10,000 · 2π, no parameters, defined for every position.

    Vaswani et al. 2017, "Attention Is All You Need", section 3.5. There the embeddings have a spread of 1; here of
    0.02, and the sinusoids are as much smaller, so that neither drowns the other.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, positions: Tensor) -> Tensor:
        """The vectors [batch or 1, time, hidden] of `positions` [batch or 1, time]."""
        exponents = torch.arange(0, self.size, 2, device=positions.device) / self.size  # [ceil(hidden/2)]
        angles = positions[..., None] * 10_000.0**-exponents  # [batch or 1, time, ceil(hidden/2)]
        pairs = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)  # [batch or 1, time, hidden or one more]
        return INITIAL_SPREAD * pairs[..., : self.size]  # [batch or 1, time, hidden]


class PositionedTransformer(Transformer):
    """A Transformer that adds `position_embeddings` of the positions to the embeddings, or divides positions."""

    position_embeddings: nn.Module | None
    divisor: float

    def forward(
        self, tokens: Tensor, positions: Tensor | None = None, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """As `Transformer.forward`: `tokens` [batch, time] to [batch, time, hidden]."""
        if positions is None:
            past = 0 if cache is None else cache.length
            positions = torch.arange(past, past + tokens.shape[1], device=tokens.device)[None]  # [1, time]
        with ExitStack() as hooks:
            if self.position_embeddings is not None:
                vectors: Tensor = self.position_embeddings(positions)  # [batch or 1, time, hidden]

                def add(_module: nn.Module, _inputs: tuple[Any, ...], embedded: Tensor) -> Tensor:
                    return embedded + vectors.type_as(embedded)  # [batch, time, hidden]

                hooks.callback(self.embed_tokens.register_forward_hook(add).remove)
            divided = positions if self.divisor == 1 else positions / self.divisor  # [batch or 1, time]
            stream: Tensor = super().forward(tokens, divided, mask, cache)  # [batch, time, hidden]
        return stream


def alibi_slopes(heads: int) -> tuple[float, ...]:
    """How steeply each head prefers the near: 2^(-8/n), 2^(-16/n) … 2^-8 for `heads` n that is a power of two.

    For other numbers the paper's authors take the slopes for the power of two below, and every other one of those for
    the power above. Press, Smith and Lewis 2022, section 3.
    """
    below = 1 << (heads.bit_length() - 1)
    slopes = [2 ** (-8 * i / below) for i in range(1, below + 1)]
    between = [2 ** (-4 * i / below) for i in range(1, 2 * below + 1, 2)]
    return tuple(slopes + between[: heads - below])


def set_positions(model: MiniMind, positions: Positions) -> None:
    """Tell the model where tokens stand by ``rotary`` angles (as released), or in another way, or not at all.

    ``none``        only the causal mask tells positions apart
    ``learned``     a vector for each of ``config.max_position_embeddings`` positions; beyond, the last one serves
    ``sinusoidal``  fixed vectors
    ``alibi``       the further away a key, the lower its score, with a slope for each head; no vectors, no angles

    All can be trained, and evaluated on longer texts. Stretching (`scale_positions`) is undone.
    """
    scale_positions(model, "none")
    kind = Attention if positions == "rotary" else UnturnedAttention
    attentions(model)
    for block in model.model.layers:
        if isinstance(block.self_attn, Attention):
            block.self_attn = recast(block.self_attn, kind)
    slopes = alibi_slopes(model.config.num_attention_heads) if positions == "alibi" else None
    for core in adjusted_cores(model):
        core.slopes = slopes
    stack, weight = _positioned(model), model.model.embed_tokens.weight
    stack.position_embeddings = None
    if positions == "learned":
        made = LearnedPositions(model.config.max_position_embeddings, model.config.hidden_size)
        stack.position_embeddings = made.to(weight.device, weight.dtype)
    elif positions == "sinusoidal":
        stack.position_embeddings = SinusoidalPositions(model.config.hidden_size)


def scale_positions(model: MiniMind, scaling: Scaling, factor: float = 1.0) -> None:
    """Squeeze the rotary positions of a text `factor` times as long as ``config.max_position_embeddings`` into it.

    ``interpolate``  positions are divided by the factor s (Chen et al. 2023, "Extending Context Window of Large Language
                     Models via Positional Interpolation", equation 4)
    ``ntk``          the base becomes θ · s^(d/(d-2)), which divides the slowest frequency by s and leaves the fastest
                     ("NTK-aware" in Peng et al. 2023, "YaRN", section 3.1)
    ``yarn``         fast pairs stay, slow ones are divided, attention is sharpened by 0.1 ln s + 1 (Peng et al. 2023,
                     sections 3.2 and 3.4)
    ``none``         the positions of the config again

    Nothing is trained; ``model.config`` stays what it was. Raises UserError for a factor below 1, or where the model's
    positions are not rotary.
    """
    if factor < 1:
        raise UserError(
            f"the positions cannot be stretched by {factor:g}: take a factor of 1 or more",
            f"位置无法按 {factor:g} 拉伸：请用不小于 1 的倍数",
        )
    if scaling != "none" and any(isinstance(attention, UnturnedAttention) for attention in attentions(model)):
        raise UserError(
            "only rotary positions can be stretched: this model's are not rotary",
            "只有旋转位置编码可以拉伸：该模型的位置编码不是旋转式的",
        )
    config, width = model.config, model.config.head_size
    stack = _positioned(model)
    stack.divisor = factor if scaling == "interpolate" else 1.0
    if scaling == "ntk":
        config = replace(config, rope_theta=config.rope_theta * factor ** (width / max(1, width - 2)))
    elif scaling == "yarn":
        config = replace(
            config,
            inference_rope_scaling=True,
            rope_scaling_type="yarn",
            rope_scaling_factor=factor,
            original_max_position_embeddings=config.max_position_embeddings,
            max_position_embeddings=math.ceil(config.max_position_embeddings * factor),
            attention_factor=0.1 * math.log(factor) + 1,
        )
    stack.config = config


def _positioned(model: MiniMind) -> PositionedTransformer:
    """The model's stack, made adjustable where it was not yet."""
    if not isinstance(model.model, PositionedTransformer):
        stack = recast(model.model, PositionedTransformer)
        stack.position_embeddings = None
        stack.divisor = 1.0
        model.model = stack
    return model.model
