"""The sinusoidal positions of the first Transformer: a sine and a cosine of each frequency."""

import torch
from torch import Tensor


def sinusoidal_positions(time: int, size: int, base: float = 10_000.0) -> Tensor:
    """The table [time, size] that is added to the embeddings of positions 0 … time-1."""
    # hole: return torch.zeros(time, size)
    # 1. angles [time, size/2]: position times base^(-2i/size)
    # 2. component 2i is the sine, component 2i+1 the cosine of the same angle
    frequencies = base ** (-torch.arange(0, size, 2).float() / size)  # [size/2]
    angles = torch.arange(time).float()[:, None] * frequencies  # [time, size/2]
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)  # [time, size]
    # end hole
