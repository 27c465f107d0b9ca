"""Feed-forward layers with other activations, gated or not, wider or narrower, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from minimind.errors import UserError
from minimind.model.transformer import FeedForward, MiniMind
from minimind.model.variants.blocks import remove_part
from minimind.model.variants.positions import INITIAL_SPREAD

FeedForwardKind = Literal["linear", "relu", "gelu", "silu", "relu2", "swiglu", "geglu", "reglu", "none"]

PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "relu2": lambda x: F.relu(x).square(),
}
"""So et al. 2021, "Primer: Searching for Efficient Transformers", section 3, found the squared ReLU."""
GATED: dict[str, Callable[[Tensor], Tensor]] = {"swiglu": F.silu, "geglu": F.gelu, "reglu": F.relu}
"""Shazeer 2020, "GLU Variants Improve Transformer", equation 6."""


class PlainFeedForward(nn.Module):
    """down(activation(up(x))), for each position by itself. Vaswani et al. 2017, equation 2, without biases."""

    def __init__(self, hidden: int, size: int, activation: Callable[[Tensor], Tensor], dropout: float = 0.0) -> None:
        super().__init__()
        self.up_proj = nn.Linear(hidden, size, bias=False)
        self.down_proj = nn.Linear(size, hidden, bias=False)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform `x` [batch, time, hidden]; the result has its shape."""
        spread = self.activation(self.up_proj(x))  # [batch, time, feed-forward]
        update: Tensor = self.dropout(self.down_proj(spread))  # [batch, time, hidden]
        return update


def feed_forward_width(kind: FeedForwardKind, hidden: int, ratio: float) -> int:
    """How wide the layer is in the middle: `ratio` · `hidden`, and two thirds of that for the gated kinds.

    A gated layer has three matrices instead of two, so that both kinds have about 2 · `ratio` · `hidden`² parameters:
    within 1 % wherever the plain layer is at least 75 wide, else as near as whole neurons allow.
    """
    return max(1, round(hidden * ratio * (2 / 3 if kind in GATED else 1)))


def set_feed_forward(model: MiniMind, kind: FeedForwardKind, ratio: float = 4.0) -> None:
    """Put a feed-forward layer of `kind`, `ratio` times as wide as the stream, in place of every block's.

    Matrices that keep their name and shape keep their values, others are initialised anew. ``none`` takes the layer
    and its norm out. Raises UserError for a kind there is not, a ratio that is not positive, or a mixture of experts.
    """
    if kind not in get_args(FeedForwardKind) or ratio <= 0 or model.config.use_moe:
        raise UserError(
            f"no feed-forward {kind!r} at ratio {ratio:g}: kinds are {', '.join(get_args(FeedForwardKind))}, the ratio "
            "is positive, and the model is no mixture of experts",
            f"没有比例为 {ratio:g} 的前馈层 {kind!r}：种类有 {'、'.join(get_args(FeedForwardKind))}，"
            "比例须为正数，且模型不能是混合专家",
        )
    if kind == "none":
        remove_part(model, "feed_forward")
        return
    weight = model.model.embed_tokens.weight
    for block in model.model.layers:
        old = block.get_submodule("mlp")
        new = _make(model, kind, ratio).to(weight.device, weight.dtype).train(old.training)
        known = dict(old.named_parameters())
        for name, parameter in dict(new.named_parameters()).items():
            kept = known.get(name)
            if kept is not None and kept.shape == parameter.shape:
                owner, _, leaf = name.rpartition(".")
                setattr(new.get_submodule(owner), leaf, kept)
            else:
                nn.init.normal_(parameter, std=INITIAL_SPREAD)
        block.mlp = new


def _make(model: MiniMind, kind: FeedForwardKind, ratio: float) -> nn.Module:
    config = model.config
    size = feed_forward_width(kind, config.hidden_size, ratio)
    if kind in PLAIN:
        return PlainFeedForward(config.hidden_size, size, PLAIN[kind], config.dropout)
    made = FeedForward(config, size)
    made.activation = GATED[kind]
    return made
