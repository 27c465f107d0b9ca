"""Rotary positions: turn each pair of components by its position times its frequency."""

import torch
from torch import Tensor


def apply_rope(x: Tensor, positions: Tensor, base: float = 10_000.0) -> Tensor:
    """Turn x [batch, heads, time, head]; positions [time] says where each of its times stands."""
    # hole: return x
    # 1. frequencies of the head/2 pairs, and angles [time, head/2], in float32
    # 2. the two halves of the head: component i is paired with component i + head/2
    # 3. turn each pair; put the halves together; back to the dtype of x
    half = x.shape[-1] // 2
    frequencies = base ** (-torch.arange(half).float() / half)  # [head/2]
    angles = positions.float()[:, None] * frequencies  # [time, head/2]
    cosine, sine = angles.cos(), angles.sin()  # 2 × [time, head/2]
    first, second = x.float().chunk(2, dim=-1)  # 2 × [batch, heads, time, head/2]
    turned = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    return turned.to(x.dtype)  # [batch, heads, time, head]
    # end hole
