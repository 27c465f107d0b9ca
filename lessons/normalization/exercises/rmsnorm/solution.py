"""RMSNorm from scratch: y = x / √(mean(x²) + ε) · weight, over the last axis."""

import torch
from torch import Tensor, nn


class RMSNorm(nn.Module):
    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))  # [size]

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [..., size]; the result has its shape and dtype."""
        wide = x.float()  # [..., size], because 256² is already infinite in float16
        mean_square = wide.pow(2).mean(-1, keepdim=True)  # [..., 1]
        normalised = wide * torch.rsqrt(mean_square + self.eps)  # [..., size]
        return normalised.to(x.dtype) * self.weight  # [..., size]
