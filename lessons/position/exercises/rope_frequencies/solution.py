"""How fast each pair of a head's components turns: base^(-2i/d), in radians a position."""

import torch
from torch import Tensor


def rope_frequencies(head_size: int, base: float) -> Tensor:
    """One float32 number for each of the head_size/2 pairs, the fastest first."""
    # hole: return torch.zeros(head_size // 2)
    # 1. the exponent of each pair: 2i/d for i = 0 … d/2-1
    # 2. base to the power of minus that exponent
    exponents = torch.arange(0, head_size, 2).float() / head_size  # [head/2]
    return base**-exponents  # [head/2]
    # end hole
