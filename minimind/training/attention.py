"""The attention that trains fastest in bfloat16 on a CPU, put into a model from outside."""

from __future__ import annotations

import torch
from torch import Tensor

from minimind.model.transformer import AttentionCore, MiniMind


class _Bias:
    """The mask as numbers to add to scores, made once a batch and not once a layer: all cores of a model share one."""

    def __init__(self) -> None:
        self._mask: Tensor | None = None
        self._bias: Tensor | None = None

    def of(self, mask: Tensor, dtype: torch.dtype) -> Tensor:
        """0 where `mask` (bool) is True, -inf where it is False; the shape stays."""
        if self._bias is None or self._mask is not mask or self._bias.dtype != dtype:
            self._mask = mask
            self._bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, float("-inf"))
        return self._bias  # the shape of `mask`


class BatchedAttentionCore(AttentionCore):
    """softmax(QKᵀ/√d + bias)V as two batched matrix products, with the query heads of a group side by side.

    The same result as `AttentionCore`. PyTorch's own kernel is slow in bfloat16 on a CPU, above all backwards: this
    one took a third of its time at 256 tokens a row and a fifth at 128.
    """

    def __init__(self, bias: _Bias | None = None) -> None:
        super().__init__()
        self._bias = bias or _Bias()

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """As `AttentionCore.forward`. Without a mask (when a model writes) that one does the work."""
        if mask is None:
            return super().forward(queries, keys, values)  # [batch, heads, time, head]
        batch, heads, time, head = queries.shape
        groups, length = keys.shape[1:3]
        stacked = (queries * head**-0.5).reshape(
            batch * groups, -1, head
        )  # [batch · groups, heads/groups · time, head]
        flat_keys = keys.reshape(batch * groups, length, head)  # [batch · groups, length, head]
        flat_values = values.reshape(batch * groups, length, head)  # [batch · groups, length, head]
        scores = torch.bmm(stacked, flat_keys.transpose(1, 2))  # [batch · groups, heads/groups · time, length]
        scores = scores.view(batch, heads, time, length) + self._bias.of(mask, scores.dtype)  # [b, heads, time, length]
        weights = scores.softmax(-1).view(batch * groups, -1, length)  # [batch · groups, heads/groups · time, length]
        return torch.bmm(weights, flat_values).view(batch, heads, time, head)  # [batch, heads, time, head]


def install_fast_attention(model: MiniMind, dtype: torch.dtype, device: torch.device) -> bool:
    """Replace the attention cores of `model` where `BatchedAttentionCore` is the faster one; says whether it did.

    That is in bfloat16 on a CPU without dropout. A core that a learner put in stays.
    """
    if device.type != "cpu" or dtype != torch.bfloat16 or model.config.dropout > 0:
        return False
    bias, replaced = _Bias(), False
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is AttentionCore:
                setattr(module, name, BatchedAttentionCore(bias))
                replaced = True
    return replaced


def document_mask(documents: Tensor) -> Tensor:
    """Where each position of packed rows may look: at itself and what came before in its own document.

    `documents` [batch, time] numbers the document of each position. Returns bool [batch, 1, time, time], True = may.
    """
    time = documents.shape[1]
    same = documents[:, :, None] == documents[:, None, :]  # [batch, time, time]
    return (same & torch.ones(time, time, dtype=torch.bool, device=documents.device).tril())[:, None]  # [b, 1, t, t]
