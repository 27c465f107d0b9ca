"""The kernels as differentiable functions of tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from minimind.training.kernels.library import Kernels


class RMSNormFunction(torch.autograd.Function):
    """x · rsqrt(mean(x²) + eps) · weight over the last axis."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, kernels: Kernels) -> Tensor:
        x = x.contiguous()  # [..., size]
        ctx.save_for_backward(x, weight)
        ctx.eps, ctx.kernels = eps, kernels
        result = torch.empty_like(x)  # [..., size]
        kernels("rms_norm", x, weight, result, x.numel() // x.shape[-1], x.shape[-1], eps)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        dx, dweight = torch.empty_like(x), torch.empty_like(weight)  # [..., size], [size]
        rows, size = x.numel() // x.shape[-1], x.shape[-1]
        ctx.kernels("rms_norm_gradient", x, weight, gradient.contiguous(), dx, dweight, rows, size, ctx.eps)
        return dx, dweight, None, None


class SwiGLUFunction(torch.autograd.Function):
    """silu(gate) ⊙ up."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, kernels: Kernels) -> Tensor:
        gate, up = gate.contiguous(), up.contiguous()  # 2 × [..., size]
        ctx.save_for_backward(gate, up)
        ctx.kernels = kernels
        result = torch.empty_like(gate)  # [..., size]
        kernels("swiglu", gate, up, result, gate.numel())
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        gate, up = ctx.saved_tensors
        dgate, dup = torch.empty_like(gate), torch.empty_like(up)  # 2 × [..., size]
        ctx.kernels("swiglu_gradient", gate, up, gradient.contiguous(), dgate, dup, gate.numel())
        return dgate, dup, None


class RotateFunction(torch.autograd.Function):
    """Norm (where there is a weight) and rotary positions of queries or keys `x` [batch, time, heads, head].

    `cosine` and `sine` [batch, time, head/2] are float32.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, cosine: Tensor, sine: Tensor, eps: float, kernels: Kernels
    ) -> Tensor:
        x = x.contiguous()  # [batch, time, heads, head]
        ctx.save_for_backward(x if weight is not None else None, weight, cosine, sine)
        ctx.eps, ctx.kernels = eps, kernels
        result = torch.empty_like(x)  # [batch, time, heads, head]
        kernels("rotate", x, weight, cosine, sine, result, *_rows(x), eps)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None, None, None, None]:
        x, weight, cosine, sine = ctx.saved_tensors
        gradient = gradient.contiguous()  # [batch, time, heads, head]
        dx = torch.empty_like(gradient)  # [batch, time, heads, head]
        dweight = None if weight is None else torch.empty_like(weight)  # [head]
        tables = (x, weight, cosine, sine)
        ctx.kernels("rotate_gradient", *tables, gradient, dx, dweight, *_rows(gradient), ctx.eps)
        return dx, dweight, None, None, None, None


def _rows(x: Tensor) -> tuple[int, int, int]:
    """Tokens, heads and width of a head."""
    return x.shape[0] * x.shape[1], x.shape[2], x.shape[3]


class AttendFunction(torch.autograd.Function):
    """Causal attention within documents; no scores are kept.

    `queries` [batch, time, heads, head], `keys` and `values` [batch, time, groups, head]; `documents` [batch, time],
    int64, numbers the document of each position.
    """

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, values: Tensor, documents: Tensor, kernels: Kernels) -> Tensor:
        values = values.contiguous()  # [batch, time, groups, head]
        out = torch.empty_like(queries)  # [batch, time, heads, head]
        log_sums = queries.new_empty(queries.shape[:3], dtype=torch.float32)  # [batch, time, heads]
        ctx.shape = (*queries.shape[:3], keys.shape[2], queries.shape[3])
        ctx.kernels = kernels
        kernels("attend", queries, keys, values, documents, out, log_sums, *ctx.shape)
        ctx.save_for_backward(queries, keys, values, documents, out, log_sums)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        saved = ctx.saved_tensors
        results = tuple(torch.empty_like(tensor) for tensor in saved[:3])  # as queries, keys and values
        ctx.kernels("attend_gradient", *saved, gradient.contiguous(), *results, *ctx.shape)
        queries, keys, values = results
        return queries, keys, values, None, None


class LinearFunction(torch.autograd.Function):
    """x · weightᵀ and its gradients as products of `Kernels.multiply`; `weight` [out, in]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, kernels: Kernels) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.kernels = kernels
        return kernels.multiply(x.flatten(0, -2), weight).view(*x.shape[:-1], -1)  # [..., out]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        rows = gradient.flatten(0, -2)  # [rows, out]
        dx = ctx.kernels.multiply(rows, weight.T).view(x.shape)  # [..., in]
        trained = ctx.needs_input_grad[1]  # a weight that LoRA leaves alone needs no gradient
        return dx, ctx.kernels.multiply(rows.T, x.flatten(0, -2).T) if trained else None, None
