"""Grouped-query attention: several query heads share one head of keys and values."""

import torch.nn.functional as F
from torch import Tensor


def grouped_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Let `queries` [batch, heads, time, head] look at `keys` and `values` [batch, groups, length, head].

    Neighbouring query heads share a group: with 8 heads and 2 groups, heads 0 to 3 use group 0.
    """
    # hole: return queries
    # 1. how many query heads share a group?
    # 2. give each query head its group's keys and values
    # 3. attention as always: F.scaled_dot_product_attention takes attn_mask
    times = queries.shape[1] // keys.shape[1]
    keys = keys.repeat_interleave(times, dim=1)  # [batch, heads, length, head]
    values = values.repeat_interleave(times, dim=1)  # [batch, heads, length, head]
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)  # [batch, heads, time, head]
    # end hole
