"""RMSNorm from scratch: x / √(mean(x²) + ε) · weight."""

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))  # [size]

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [..., size]; shape and dtype stay."""
        # hole: return x
        # 1. in float32: mean of the squares, last axis kept as 1
        # 2. divide by the root of that mean plus eps
        # 3. back to the dtype of x, times the weight
        wide = x.float()  # [..., size]; 256² overflows float16
        mean_square = wide.pow(2).mean(-1, keepdim=True)  # [..., 1]
        normalised = wide * torch.rsqrt(mean_square + self.eps)  # [..., size]
        return normalised.to(x.dtype) * self.weight  # [..., size]
        # end hole
