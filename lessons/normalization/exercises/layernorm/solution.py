"""LayerNorm from scratch: (x − mean) / √(variance + ε) · weight + bias."""

import torch
from torch import Tensor, nn


class LayerNorm(nn.Module):
    def __init__(self, size: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))  # [size]
        self.bias = nn.Parameter(torch.zeros(size))  # [size]

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x [..., size]; shape and dtype stay."""
        # hole: return x
        # 1. in float32: subtract the mean over the last axis
        # 2. divide by the root of the variance (the mean of the squares of what is left) plus eps
        # 3. back to the dtype of x, times the weight, plus the bias
        wide = x.float()  # [..., size]
        centred = wide - wide.mean(-1, keepdim=True)  # [..., size]
        variance = centred.pow(2).mean(-1, keepdim=True)  # [..., 1]
        normalised = centred * torch.rsqrt(variance + self.eps)  # [..., size]
        return normalised.to(x.dtype) * self.weight + self.bias  # [..., size]
        # end hole
