"""Attention in tiles, with a running maximum and sum."""

import torch
from torch import Tensor


def tiled_attention(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor,
    tile: int,
) -> Tensor:
    """Look at `tile` keys at a time.

    queries: [..., time, head]
    keys, values: [..., length, head]
    mask: [..., time, length], bool, True where a query may look;
    a tile may allow a query nothing at all
    """
    # hole: return queries
    # 1. start: largest = -infinity, total = 0, both
    #    [..., time, 1]; mixed = 0, [..., time, head]
    # 2. each tile: its scores, the new largest score,
    #    and exp of the scores less that
    # 3. before adding it, shrink total and mixed by
    #    exp(old largest - new largest)
    # 4. -inf - -inf is NaN: mind a query that has been
    #    allowed nothing so far
    largest = torch.full_like(queries[..., :1], -torch.inf)
    total = torch.zeros_like(largest)
    mixed = torch.zeros_like(queries)
    for first in range(0, keys.shape[-2], tile):
        here = slice(first, first + tile)
        scores = queries @ keys[..., here, :].transpose(-2, -1)
        scores = scores / queries.shape[-1] ** 0.5
        scores = scores.masked_fill(~mask[..., here], -torch.inf)
        # [..., time, tile]
        new = torch.maximum(largest, scores.amax(-1, keepdim=True))
        anchor = new.masked_fill(new == -torch.inf, 0.0)
        shrink = (largest - anchor).exp()  # [..., time, 1]
        weights = (scores - anchor).exp()  # [..., time, tile]
        total = total * shrink + weights.sum(-1, keepdim=True)
        mixed = mixed * shrink + weights @ values[..., here, :]
        largest = new
    return mixed / total  # [..., time, head]
    # end hole
