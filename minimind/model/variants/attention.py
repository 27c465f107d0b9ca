"""Attention that sees the future, that does not scale its scores, that looks with its keys, or that prefers the near.

Numbers of query and key/value heads, and the norm on queries and keys, are settings of the config.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from minimind.errors import UserError
from minimind.model.transformer import MiniMind, causal_mask
from minimind.model.variants.parts import attentions

Mask = Literal["causal", "none"]
Tie = Literal["separate", "query_key", "key_value", "all"]

TIES: dict[Tie, tuple[tuple[str, str], ...]] = {
    "separate": (),
    "query_key": (("k_proj", "q_proj"),),
    "key_value": (("v_proj", "k_proj"),),
    "all": (("k_proj", "q_proj"), ("v_proj", "q_proj")),
}
"""Which projection takes over the matrix of which."""


class AdjustedCore(nn.Module):
    """Hands adjusted queries and a mask of its own to the `AttentionCore` inside, which stays as it is.

    That core, and a probe that hooks it, see what is really computed: the queries are multiplied by √d where the scores
    are not to be divided by it, and the mask holds what is added to the scores.
    """

    def __init__(self, core: nn.Module) -> None:
        super().__init__()
        self.core = core
        self.causal = True
        self.scaled = True
        self.slopes: tuple[float, ...] | None = None

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Arguments and result as of `AttentionCore.forward`; a `mask` that is given is obeyed, causal or not."""
        time, length = queries.shape[2], keys.shape[2]
        if mask is None and not self.causal:
            mask = torch.ones(time, length, dtype=torch.bool, device=queries.device)  # [time, length]
        if not self.scaled:
            queries = queries * math.sqrt(queries.shape[3])  # [batch, heads, time, head]
        if self.slopes is not None:
            allowed = causal_mask(time, length, queries.device) if mask is None else mask  # [time, length] or wider
            bias = distance_bias(self.slopes, time, length).to(queries)  # [heads, time, length]
            mask = bias.masked_fill(~allowed, -math.inf)  # [batch or none, heads, time, length]
        mixed: Tensor = self.core(queries, keys, values, mask)  # [batch, heads, time, head]
        return mixed


def distance_bias(slopes: tuple[float, ...], time: int, length: int) -> Tensor:
    """-slope · |distance| between each of the last `time` of `length` positions and each of all: [heads, time, length].

    Press, Smith and Lewis 2022, "Train Short, Test Long: Attention with Linear Biases", section 3. What comes later,
    which the paper's causal models never see, counts as far as what lies as far back.
    """
    queries = torch.arange(length - time, length)[:, None]  # [time, 1]
    distance = (queries - torch.arange(length)).abs()  # [time, length]
    return -torch.tensor(slopes)[:, None, None] * distance  # [heads, time, length]


def adjusted_cores(model: MiniMind) -> list[AdjustedCore]:
    """The core of every attention, made adjustable where it was not yet."""
    cores: list[AdjustedCore] = []
    for attention in attentions(model):
        core: nn.Module = attention.core
        if not isinstance(core, AdjustedCore):
            core = AdjustedCore(core).train(core.training)
            attention.core = core  # type: ignore[assignment]  # called in the same way
        cores.append(core)
    return cores


def set_mask(model: MiniMind, mask: Mask) -> None:
    """Let a position see itself and what came before it (``causal``, as released), or everything (``none``).

    Without the mask a cache is of no use: the keys it holds lack what comes later.
    """
    for core in adjusted_cores(model):
        core.causal = mask == "causal"


def set_scale(model: MiniMind, on: bool) -> None:
    """Divide the scores by √d before the softmax, as released, or not."""
    for core in adjusted_cores(model):
        core.scaled = on


def tie_projections(model: MiniMind, tie: Tie) -> None:
    """Use one matrix for several of queries, keys and values: what is shared is one parameter, and counts once.

    ``separate`` gives each a matrix of its own again, at first equal to the one it shared.
    Raises UserError where a query matrix is to serve as another and there are fewer key/value than query heads.
    """
    for attention in attentions(model):
        if tie in ("query_key", "all") and attention.q_proj.weight.shape != attention.k_proj.weight.shape:
            raise UserError(
                "queries cannot share their matrix: there are fewer key/value heads than query heads "
                "(make num_key_value_heads equal num_attention_heads)",
                "查询无法与别的投影共用矩阵：键值头数少于查询头数（请令 num_key_value_heads 等于 num_attention_heads）",
            )
        for name in ("k_proj", "v_proj"):
            projection = getattr(attention, name)
            projection.weight = nn.Parameter(projection.weight.detach().clone())  # [groups · head, hidden]
        for name, source in TIES[tie]:
            getattr(attention, name).weight = getattr(attention, source).weight  # [groups · head, hidden]
