"""A function in the place of what every attention computes from queries, keys and values."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from minimind.model.transformer import MiniMind, causal_mask
from minimind.model.variants.parts import attentions

CoreFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From queries [batch, heads, time, head], keys and values [batch, groups or heads, length, head] and a mask (bool,
broadcastable to [batch, heads, time, length], True where a query may look) to [batch, heads, time, head]."""


class FunctionCore(nn.Module):
    """Calls `function` as `AttentionCore` is called, always with a mask.

    With `repeat` it is given as many key and value heads as query heads: each one stands next to its copies.
    """

    def __init__(self, function: CoreFunction, *, repeat: bool) -> None:
        super().__init__()
        self.function = function
        self.repeat = repeat

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Arguments and result as of `AttentionCore.forward`."""
        if mask is None:
            mask = causal_mask(queries.shape[2], keys.shape[2], queries.device)  # [time, length]
        if self.repeat:
            times = queries.shape[1] // keys.shape[1]
            keys = keys.repeat_interleave(times, dim=1)  # [batch, heads, length, head]
            values = values.repeat_interleave(times, dim=1)  # [batch, heads, length, head]
        return self.function(queries, keys, values, mask)  # [batch, heads, time, head]


def install_core(model: MiniMind, function: CoreFunction, *, repeat: bool = True) -> None:
    """Let every attention of `model` compute `function` in place of softmax(QKᵀ/√d)V; its parameters stay.

    Raises UserError where a block has an attention that is not ours.
    """
    for attention in attentions(model):
        core = FunctionCore(function, repeat=repeat).train(attention.core.training)
        attention.core = core  # type: ignore[assignment]  # called in the same way


def allowed_scores(queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
    """QKᵀ/√d [..., time, length] of `queries` [..., time, head] and `keys` [..., length, head], -∞ where `mask` is False."""
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])  # [..., time, length]
    return scores.masked_fill(~mask, -math.inf)  # [..., time, length]
