"""The causal mask: no query looks at what comes after it."""

import torch
from torch import Tensor


def causal_weights(scores: Tensor) -> Tensor:
    """Turn scores [..., time, length] into weights.

    Softmax over the past and oneself. The queries are the last
    `time` of `length` positions: a cache holds the keys before.
    """
    # hole: return scores.softmax(-1)
    # 1. how many keys stand before the first query?
    # 2. True where query i may look at key j
    # 3. -infinity elsewhere, then softmax
    time, length = scores.shape[-2:]
    allowed = torch.ones(time, length, dtype=torch.bool)
    allowed = allowed.tril(length - time)  # [time, length]
    return scores.masked_fill(~allowed, -torch.inf).softmax(-1)
    # end hole
