"""Scaled dot-product attention: softmax(QKᵀ/√d)V, over the keys that the mask allows."""

import torch
from torch import Tensor


def attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Mix `values` [batch, heads, length, head] for each of `queries` [batch, heads, time, head].

    `mask` [time, length] (bool) is True where a query may look at a key.
    """
    # hole: return queries
    # 1. scores: every query with every key, divided by the root of head
    # 2. -infinity where the mask is False
    # 3. softmax over the keys, then the weighted sum of the values
    scores: Tensor = queries @ keys.transpose(-2, -1) / queries.shape[-1] ** 0.5  # [batch, heads, time, length]
    scores = scores.masked_fill(~mask, -torch.inf)  # [batch, heads, time, length]
    return scores.softmax(-1) @ values  # [batch, heads, time, head]
    # end hole
