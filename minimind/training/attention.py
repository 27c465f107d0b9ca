"""Attention that trains faster than the model's own, put into it from outside: in bfloat16 on a CPU, and on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
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


class _Ends:
    """Where the documents of a flattened batch end, found once a batch and not once a layer."""

    def __init__(self) -> None:
        self._documents: Tensor | None = None
        self._ends: Tensor | None = None

    def of(self, documents: Tensor) -> Tensor:
        """int32 [documents + 1]: 0, and the position after the last of each; a row ends the document it is in."""
        if self._ends is None or self._documents is not documents:
            self._documents = documents
            begins = torch.ones_like(documents, dtype=torch.bool)  # [batch, time]
            begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
            starts = begins.flatten().nonzero()[:, 0]  # [documents]
            self._ends = F.pad(starts, (0, 1), value=documents.numel()).to(torch.int32)  # [documents + 1]
        return self._ends  # [documents + 1]


class VariableLengthCore(AttentionCore):
    """Flash attention over packed documents on a GPU, which is given their ends in place of a mask.

    PyTorch's ``varlen_attn`` (from 2.10 on) with causality as a window without a right side.
    Dao 2023, "FlashAttention-2".
    """

    def __init__(self, ends: _Ends | None = None) -> None:
        super().__init__()
        self._ends = ends or _Ends()

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """As `AttentionCore.forward`, where `mask` may also be the documents' numbers [batch, time] (int64)."""
        if mask is None or mask.dtype != torch.int64:
            return super().forward(queries, keys, values, mask)  # [batch, heads, time, head]
        from torch.nn.attention import varlen

        batch, _, time, _ = queries.shape
        ends = self._ends.of(mask)  # [documents + 1]
        q, k, v = (tensor.transpose(1, 2).flatten(0, 1) for tensor in (queries, keys, values))  # [b · t, heads, head]
        mixed = varlen.varlen_attn(q, k, v, ends, ends, time, time, window_size=(-1, 0), enable_gqa=True)
        assert isinstance(mixed, Tensor)
        return mixed.view(batch, time, *mixed.shape[1:]).transpose(1, 2)  # [batch, heads, time, head]


def install_fast_attention(model: MiniMind, dtype: torch.dtype, device: torch.device) -> bool:
    """Replace the attention cores of `model` where there is a faster one; says whether it did.

    That is in bfloat16, without dropout, on a CPU, and on a GPU where ``varlen_attn`` is there and gives what the plain
    core does. A core that a learner put in stays; on a GPU all layers must take documents, or none does.
    """
    if dtype != torch.bfloat16 or model.config.dropout > 0:
        return False
    owners = [module for module in model.modules() if type(getattr(module, "core", None)) is AttentionCore]
    make: Callable[[], AttentionCore]
    if device.type == "cpu":
        make = partial(BatchedAttentionCore, _Bias())
    elif device.type == "cuda" and len(owners) == len(model.model.layers) and _variable_lengths_work(model, device):
        make = partial(VariableLengthCore, _Ends())
    else:
        return False
    for owner in owners:
        owner.core = make()
    return bool(owners)


def _variable_lengths_work(model: MiniMind, device: torch.device) -> bool:
    """Try ``varlen_attn`` on the model's heads: whether output and gradients are the plain core's, up to bfloat16."""
    config = model.config
    shapes = [
        (2, heads, 64, config.head_size) for heads in (config.num_attention_heads, *[config.num_key_value_heads] * 2)
    ]
    results = []
    try:
        documents = torch.tensor([[0] * 40 + [1] * 24, [0] * 64], device=device)  # [batch, time]
        inputs = [torch.randn(shape, device=device, dtype=torch.bfloat16).requires_grad_() for shape in shapes]
        for core, mask in ((VariableLengthCore(), documents), (AttentionCore(), document_mask(documents))):
            output = core(inputs[0], inputs[1], inputs[2], mask)
            results.append([output, *torch.autograd.grad(output.float().pow(2).sum(), inputs)])
    except (ImportError, AttributeError, TypeError, RuntimeError, AssertionError):
        return False
    return all(torch.allclose(ours, theirs, rtol=0.05, atol=0.1) for ours, theirs in zip(*results, strict=True))


def document_mask(documents: Tensor) -> Tensor:
    """Where each position of packed rows may look: at itself and what came before in its own document.

    `documents` [batch, time] numbers the document of each position. Returns bool [batch, 1, time, time], True = may.
    """
    time = documents.shape[1]
    same = documents[:, :, None] == documents[:, None, :]  # [batch, time, time]
    return (same & torch.ones(time, time, dtype=torch.bool, device=documents.device).tril())[:, None]  # [b, 1, t, t]
