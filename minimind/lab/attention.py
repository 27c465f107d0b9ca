"""What the heads of a trained network look at, as numbers and as pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from minimind.events import Heatmap, Text
from minimind.model.probe import attention_weights
from minimind.model.transformer import AttentionCore, MiniMind


def on_itself(tokens: Tensor) -> Tensor:
    """For each position of `tokens` [batch, time]: itself. A mask [batch, time, time], query by key."""
    return torch.eye(tokens.shape[1], dtype=torch.bool).expand(len(tokens), -1, -1)  # [batch, time, time]


def on_one_before(tokens: Tensor) -> Tensor:
    """For each position of `tokens` [batch, time] the one before it; the first has none. A mask [batch, time, time]."""
    before = torch.ones(tokens.shape[1] - 1, dtype=torch.bool).diag(-1)  # [time, time]
    return before.expand(len(tokens), -1, -1)  # [batch, time, time]


def on_what_followed(tokens: Tensor) -> Tensor:
    """For each position of `tokens` [batch, time] those that followed the same token before: [batch, time, time].

    What an induction head looks at (Olsson et al. 2022, "In-context Learning and Induction Heads"); none where the
    token is new.
    """
    same = (tokens[:, :, None] == tokens[:, None, :]).tril(-1)  # [batch, time, time]
    return same.roll(1, -1).tril()  # [batch, time, time]


def share_on(model: MiniMind, tokens: Tensor, targets: Tensor) -> Tensor:
    """How much of its weight each head puts on `targets`, [layers, heads]; 0 to 1.

    `targets` [batch, time, time] marks, for each query of `tokens` [batch, time], keys; queries without any do not count.
    """
    weights = torch.stack(attention_weights(model, tokens))  # [layers, batch, heads, time, time]
    found = (weights * targets[:, None]).sum((1, 3, 4))  # [layers, heads]
    return found / targets.any(-1).sum()  # [layers, heads]


@torch.no_grad()
def largest_score(model: MiniMind, tokens: Tensor) -> float:
    """The largest |query · key| / √d of any allowed pair of positions of `tokens` [batch, time], in any layer and head."""
    largest = [0.0]

    def look(_core: nn.Module, inputs: tuple[Any, ...]) -> None:
        queries, keys = inputs[0], inputs[1]
        keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], dim=1)  # [batch, heads, time, head]
        scores = queries @ keys.transpose(2, 3) / math.sqrt(queries.shape[3])  # [batch, heads, time, time]
        largest.append(float(scores.abs().tril().max()))

    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, AttentionCore):
                hooks.callback(module.register_forward_pre_hook(look).remove)
        model.hidden(tokens)
    return max(largest) if all(map(math.isfinite, largest)) else math.inf


def weights_picture(name: str, weights: Tensor, labels: Sequence[str], title: Text) -> Heatmap:
    """The weights [time, length] of one head; what a query may not look at has no value where it is exactly 0."""
    rows = tuple(tuple(math.nan if value == 0 else value for value in row) for row in weights.tolist())
    queries = tuple(labels[-len(rows) :])
    return Heatmap(name, rows, queries, tuple(labels), low=0.0, high=1.0, title=title)


def byte_labels(tokens: Tensor) -> tuple[str, ...]:
    """A visible character for each byte of `tokens` [time]."""
    return tuple(chr(byte) if 32 < byte < 127 else "·" for byte in tokens.tolist())
