"""Scaled dot-product attention: softmax(QKᵀ/√d)V under a mask."""

import torch
from torch import Tensor


def attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor,
) -> Tensor:
    """Mix values for each query.

    queries: [batch, heads, time, head]
    keys, values: [batch, heads, length, head]
    mask: [time, length], bool, True where a query may look
    """
    # hole: return queries
    # 1. scores: query · key, divided by the root of head
    # 2. -infinity where the mask is False
    # 3. softmax over the keys, then the weighted sum
    scores: Tensor = queries @ keys.transpose(-2, -1)
    scores = scores / queries.shape[-1] ** 0.5
    scores = scores.masked_fill(~mask, -torch.inf)
    # [batch, heads, time, length]
    return scores.softmax(-1) @ values
    # end hole
