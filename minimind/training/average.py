"""A running average of the weights, which is often a better model than the weights it follows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_EARLY = 10
"""Updates after which the average begins to be as slow as asked: until then it would remember the random beginning."""


class WeightAverage:
    """average ← d · average + (1 - d) · weights after each update, d = min(decay, (1 + n) / (10 + n)) at update n.

    Polyak and Juditsky 1992, "Acceleration of Stochastic Approximation by Averaging", in the exponential form of
    Tarvainen and Valpola 2017, "Mean teachers are better role models", section 3.
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        """Begins as a copy of `weights`, which stay the tensors that are followed; `decay` is in (0, 1)."""
        self.weights = weights
        self.decay = decay
        self.updates = 0
        self.tensors = {name: weight.detach().clone() for name, weight in weights.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now."""
        decay = min(self.decay, (1 + self.updates) / (_EARLY + self.updates))
        self.updates += 1
        for name, average in self.tensors.items():
            average.lerp_(self.weights[name], 1 - decay)

    @torch.no_grad()
    def reset(self) -> None:
        """Begin again with the weights as they are now."""
        for name, average in self.tensors.items():
            average.copy_(self.weights[name])

    @torch.no_grad()
    def exchange(self) -> None:
        """Put the average where the weights are and keep those here; a second time undoes it."""
        for name, average in self.tensors.items():
            kept = self.weights[name].detach().clone()
            self.weights[name].copy_(average)
            average.copy_(kept)
