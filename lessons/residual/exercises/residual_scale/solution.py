"""A residual connection whose branches are scaled so that the stream keeps its size."""

import math

from torch import Tensor, nn


class ScaledResidual(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor, update: Tensor) -> Tensor:
        """Add what a sublayer made, update [..., size], to the stream x [..., size]; a model has 2 · layers of them."""
        # hole: return x
        # 1. how many updates does a model of `layers` layers add in all?
        # 2. scale each so that together they have about the variance of one
        # 3. leave x itself alone
        factor = 1 / math.sqrt(2 * self.layers)
        return x + factor * update  # [..., size]
        # end hole
