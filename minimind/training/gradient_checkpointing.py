"""Gradient checkpointing: what a block computes is forgotten at once and computed again when its gradient is wanted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from minimind.model.transformer import MiniMind

_FORWARD = "forward"


def install_gradient_checkpointing(model: MiniMind) -> None:
    """Let every block of `model` keep only its input for the backward pass; gradients stay the same to the last bit.

    Memory for activations falls from all that a block computes to what enters it, for one more forward pass an update.
    Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 3.
    """
    for block in model.model.layers:
        if _FORWARD not in vars(block):
            vars(block)[_FORWARD] = partial(_forward, block, block.forward)


def _forward(block: nn.Module, forward: Callable[..., Tensor], x: Tensor, *arguments: object) -> Tensor:
    """`forward` of `block`, forgetting where a backward pass will come; without one (a model that writes) as ever."""
    if not (block.training and torch.is_grad_enabled()):
        return forward(x, *arguments)
    result: Tensor = checkpoint(forward, x, *arguments, use_reentrant=False)
    return result
