"""Softmax over the last axis."""

from torch import Tensor


def softmax(x: Tensor) -> Tensor:
    """Probabilities from scores x [..., size]; they sum to 1 over the last axis."""
    # hole: return x
    # exponentials first, then divide by their sum
    exponentials = (x - x.amax(-1, keepdim=True)).exp()  # [..., size], at most 1
    return exponentials / exponentials.sum(-1, keepdim=True)  # [..., size]
    # end hole
