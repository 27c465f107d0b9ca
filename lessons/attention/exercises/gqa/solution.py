"""Several query heads share one head of keys and values."""

import torch.nn.functional as F
from torch import Tensor


def grouped_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor,
) -> Tensor:
    """Neighbouring query heads share a group.

    With 8 heads and 2 groups, heads 0 to 3 use group 0.
    queries: [batch, heads, time, head]
    keys, values: [batch, groups, length, head]
    """
    # hole: return queries
    # 1. how many query heads share a group?
    # 2. give each query head its group's keys and values
    # 3. F.scaled_dot_product_attention takes attn_mask
    times = queries.shape[1] // keys.shape[1]
    keys = keys.repeat_interleave(times, dim=1)
    values = values.repeat_interleave(times, dim=1)
    # keys, values: [batch, heads, length, head]
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    # end hole
