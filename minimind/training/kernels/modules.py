"""Parts of the network that do their work with the kernels, put into a model from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind.model.cache import LayerCache
from minimind.model.transformer import Attention, AttentionCore, FeedForward, MiniMind, RMSNorm
from minimind.training.attention import VariableLengthCore
from minimind.training.kernels.functions import (
    AttendFunction,
    LinearFunction,
    RMSNormFunction,
    RotateFunction,
    SwiGLUFunction,
)
from minimind.training.kernels.library import Kernels

PARTS = frozenset({"attention", "norm", "swiglu", "loss", "linear"})
"""What the kernels can do."""
_LOSS = "loss_kernels"


class KernelRMSNorm(RMSNorm):
    """`RMSNorm` in one pass, with the weight of an old one."""

    def __init__(self, old: RMSNorm, kernels: Kernels) -> None:
        nn.Module.__init__(self)
        self.eps, self.weight, self._kernels = old.eps, old.weight, kernels

    def forward(self, x: Tensor) -> Tensor:
        """As `RMSNorm.forward`."""
        if not self._kernels.serve(x, self.weight):
            return super().forward(x)
        result: Tensor = RMSNormFunction.apply(x, self.weight, self.eps, self._kernels)  # type: ignore[no-untyped-call]
        return result  # [..., size]


class KernelLinear(nn.Linear):
    """`nn.Linear` without a bias whose products are those of `Kernels.multiply`, with the weight of an old one."""

    def __init__(self, old: nn.Linear, kernels: Kernels) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = old.in_features, old.out_features
        self.weight, self._kernels = old.weight, kernels
        self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        """As `nn.Linear.forward`."""
        if not self._kernels.serve(x, self.weight) or x.numel() == 0:
            return super().forward(x)
        result: Tensor = LinearFunction.apply(x, self.weight, self._kernels)  # type: ignore[no-untyped-call]
        return result  # [..., out]


class KernelFeedForward(FeedForward):
    """`FeedForward` whose gate and product are one pass, with the parts of an old one."""

    def __init__(self, old: FeedForward, kernels: Kernels) -> None:
        _take_over(self, old)
        self.activation, self._kernels = old.activation, kernels

    def forward(self, x: Tensor) -> Tensor:
        """As `FeedForward.forward`."""
        gate, up = self.gate_proj(x), self.up_proj(x)  # 2 × [batch, time, feed-forward]
        if not self._kernels.serve(gate, up):
            return super().forward(x)
        gated = SwiGLUFunction.apply(gate, up, self._kernels)  # type: ignore[no-untyped-call]
        update: Tensor = self.dropout(self.down_proj(gated))  # [batch, time, hidden]
        return update


class KernelAttention(Attention):
    """`Attention` over packed documents that never makes a mask or keeps a score, with the parts of an old one.

    Norm and rotation of queries and keys are one pass, and nothing is transposed on the way.
    """

    def __init__(self, old: Attention, kernels: Kernels) -> None:
        _take_over(self, old)
        self.head_size, self._kernels = old.head_size, kernels
        self.q_norm, self.k_norm = old.q_norm, old.k_norm

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None = None, cache: LayerCache | None = None
    ) -> Tensor:
        """As `Attention.forward`, where `mask` may also be the documents' numbers [batch, time] (int64)."""
        if cache is not None or mask is None or mask.dtype != torch.int64 or not self._kernels.serve(x):
            return super().forward(x, rotary, mask, cache)
        batch, time, _ = x.shape
        cosine, sine = (table[:, 0].expand(batch, -1, -1).contiguous() for table in rotary)  # 2 × [batch, time, head/2]
        queries, keys = (
            RotateFunction.apply(  # type: ignore[no-untyped-call]
                project(x).view(batch, time, -1, self.head_size),
                None if norm is None else norm.weight,
                cosine,
                sine,
                0.0 if norm is None else norm.eps,
                self._kernels,
            )
            for project, norm in ((self.q_proj, self.q_norm), (self.k_proj, self.k_norm))
        )  # [batch, time, heads, head], [batch, time, groups, head]
        values = self.v_proj(x).view(batch, time, -1, self.head_size)  # [batch, time, groups, head]
        mixed = AttendFunction.apply(queries, keys, values, mask, self._kernels)  # type: ignore[no-untyped-call]
        update: Tensor = self.dropout(self.o_proj(mixed.flatten(2)))  # [batch, time, hidden]
        return update


def _take_over(new: nn.Module, old: nn.Module) -> None:
    """Make `new` a module with the children of `old`."""
    nn.Module.__init__(new)
    for name, child in old.named_children():
        setattr(new, name, child)


def install_kernels(model: MiniMind, kernels: Kernels, parts: frozenset[str] = PARTS) -> None:
    """Let the kernels do what they can of a training step of `model`, whose parameters stay the same tensors.

    `parts` are some of PARTS. A part of the network that a learner put in stays as it is; attention is all or nothing,
    since every layer must take its mask in the same form.
    """
    attention = "attention" in parts and all(_plain_attention(block.self_attn) for block in model.model.layers)
    makers: dict[type[nn.Module], Callable[..., nn.Module]] = {}
    if "norm" in parts:
        makers[RMSNorm] = KernelRMSNorm
    if "swiglu" in parts:
        makers[FeedForward] = KernelFeedForward
    if attention:
        makers[Attention] = KernelAttention
    if "linear" in parts and kernels.onednn:
        makers[nn.Linear] = KernelLinear
    for owner, name, child in list(_children(model)):
        maker = makers.get(type(child))
        if maker is not None and _is_served(child):
            setattr(owner, name, maker(child, kernels))
    if "loss" in parts:
        setattr(model, _LOSS, kernels)


def loss_kernels(model: nn.Module) -> Kernels | None:
    """The kernels that are to compute the loss of `model`, if any are."""
    found = getattr(model, _LOSS, None)
    return found if isinstance(found, Kernels) else None


def reads_documents(model: MiniMind) -> bool:
    """Whether every layer of `model` takes the documents' numbers in place of a mask."""
    parts = [block.self_attn for block in model.model.layers]
    return all(
        isinstance(part, KernelAttention) or isinstance(getattr(part, "core", None), VariableLengthCore)
        for part in parts
    )


def _is_served(part: nn.Module) -> bool:
    """Whether `part` is set up for what the kernels compute: no bias, and silu as the gate."""
    return getattr(part, "bias", None) is None and getattr(part, "activation", F.silu) is F.silu


def _plain_attention(part: object) -> bool:
    """Whether `part` computes what `KernelAttention` does."""
    return (
        type(part) is Attention
        and type(part.core) is AttentionCore
        and part.core.dropout == 0.0
        and all(norm is None or isinstance(norm, RMSNorm) for norm in (part.q_norm, part.k_norm))
    )


def _children(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every module with its owner and name, the inner ones first."""
    for owner in reversed(list(model.modules())):
        for name, child in owner.named_children():
            yield owner, name, child
