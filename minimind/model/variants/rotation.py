"""Rotary positions by somebody else's function in place of the model's own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from minimind.model.transformer import MiniMind
from minimind.model.variants.attention import adjusted_cores
from minimind.model.variants.positions import set_positions

Turn = Callable[[Tensor, Tensor], Tensor]
"""Takes x [batch, heads, time, head] and positions [time]; returns x turned."""


class TurningCore(nn.Module):
    """Turns queries and keys by `turn`, then hands them to the core inside, which stays as it is."""

    def __init__(self, core: nn.Module, turn: Turn) -> None:
        super().__init__()
        self.core = core
        self.turn = turn

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Arguments and result as of `AttentionCore.forward`, queries and keys not yet turned."""
        positions = torch.arange(keys.shape[2], device=keys.device)  # [length]
        queries = self.turn(queries, positions[-queries.shape[2] :])  # [batch, heads, time, head]
        keys = self.turn(keys, positions)  # [batch, groups, length, head]
        mixed: Tensor = self.core(queries, keys, values, mask)  # [batch, heads, time, head]
        return mixed


def set_rotation(model: MiniMind, turn: Turn) -> None:
    """Let `turn` turn queries and keys, counted from the start of the sequence; the model's own rotation is left out.

    Positions given to `MiniMind.forward` are not heeded: only distances count where queries and keys are turned alike.
    A cache then holds keys that are not turned yet. Called again, the new function takes the place of the old one.
    """
    set_positions(model, "none")
    for adjusted in adjusted_cores(model):
        if isinstance(adjusted.core, TurningCore):
            adjusted.core.turn = turn
        else:
            adjusted.core = TurningCore(adjusted.core, turn).train(adjusted.training)
