"""Attention in tiles: a running maximum, a running sum, and never all scores at once."""

import torch
from torch import Tensor


def tiled_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, tile: int) -> Tensor:
    """Mix `values` [..., length, head] for `queries` [..., time, head], looking at `tile` keys at a time.

    `mask` [..., time, length] (bool) is True where a query may look; some tiles may allow a query nothing at all.
    """
    # hole: return queries
    # 1. start: largest = -infinity, total = 0 (both [..., time, 1]), mixed = 0 ([..., time, head])
    # 2. for each tile: its scores, the new largest, and exp of the scores less that
    # 3. shrink total and mixed by exp(old largest - new largest) before adding the tile
    # 4. a query that has been allowed nothing so far has largest = -infinity: -inf - -inf is NaN
    largest = torch.full_like(queries[..., :1], -torch.inf)  # [..., time, 1]
    total, mixed = torch.zeros_like(largest), torch.zeros_like(queries)  # [..., time, 1], [..., time, head]
    for first in range(0, keys.shape[-2], tile):
        here = slice(first, first + tile)
        scores = queries @ keys[..., here, :].transpose(-2, -1) / queries.shape[-1] ** 0.5  # [..., time, tile]
        scores = scores.masked_fill(~mask[..., here], -torch.inf)  # [..., time, tile]
        new = torch.maximum(largest, scores.amax(-1, keepdim=True))  # [..., time, 1]
        anchor = new.masked_fill(new == -torch.inf, 0.0)  # [..., time, 1]
        shrink, weights = (largest - anchor).exp(), (scores - anchor).exp()  # [..., time, 1], [..., time, tile]
        total = total * shrink + weights.sum(-1, keepdim=True)  # [..., time, 1]
        mixed = mixed * shrink + weights @ values[..., here, :]  # [..., time, head]
        largest = new
    return mixed / total  # [..., time, head]
    # end hole
