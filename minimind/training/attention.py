"""The attention that trains fastest in bfloat16 on a CPU, put into a model from outside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from minimind.model.transformer import AttentionCore, MiniMind


class BatchedAttentionCore(nn.Module):
    """softmax(QKᵀ/√d + bias)V as two batched matrix products, with the query heads of a group side by side.

    The same result as `AttentionCore`. PyTorch's own kernel is slow in bfloat16 on a CPU, above all backwards: this
    one took a third of its time at 256 tokens a row and a fifth at 128.
    """

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        """Take `queries` [batch, heads, time, head], `keys` and `values` [batch, groups, time, head].

        `mask` [batch, 1, time, time] is added to the scores: 0 where a position may look, -inf where it may not.
        """
        batch, heads, time, head = queries.shape
        groups = keys.shape[1]
        stacked = (queries * head**-0.5).reshape(
            batch * groups, -1, head
        )  # [batch · groups, heads/groups · time, head]
        flat_keys = keys.reshape(batch * groups, time, head)  # [batch · groups, time, head]
        flat_values = values.reshape(batch * groups, time, head)  # [batch · groups, time, head]
        scores = torch.bmm(stacked, flat_keys.transpose(1, 2))  # [batch · groups, heads/groups · time, time]
        scores = scores.view(batch, heads, time, time) + mask  # [batch, heads, time, time]
        weights = scores.softmax(-1).view(batch * groups, -1, time)  # [batch · groups, heads/groups · time, time]
        return torch.bmm(weights, flat_values).view(batch, heads, time, head)  # [batch, heads, time, head]


def install_fast_attention(model: MiniMind, dtype: torch.dtype, device: torch.device) -> bool:
    """Replace the attention cores of `model` where `BatchedAttentionCore` is the faster one; says whether it did.

    That is in bfloat16 on a CPU without dropout. A core that a learner put in stays.
    """
    if device.type != "cpu" or dtype != torch.bfloat16 or model.config.dropout > 0:
        return False
    cores = [module for module in model.modules() if type(module) is AttentionCore]
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is AttentionCore:
                setattr(module, name, BatchedAttentionCore())
    return bool(cores)


def document_mask(documents: Tensor) -> Tensor:
    """Where each position of packed rows may look: at itself and what came before in its own document.

    `documents` [batch, time] numbers the document of each position. Returns bool [batch, 1, time, time], True = may.
    """
    time = documents.shape[1]
    same = documents[:, :, None] == documents[:, None, :]  # [batch, time, time]
    return (same & torch.ones(time, time, dtype=torch.bool, device=documents.device).tril())[:, None]  # [b, 1, t, t]


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A bool mask as numbers to add to scores: 0 where True, -inf where False. Made once a batch, not once a layer."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))  # as `mask`
