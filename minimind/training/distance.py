"""How far a model's probabilities are from the text and from another model's, without ever holding all the scores."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from minimind.data.packing import IGNORED
from minimind.training.loss import counted_rows

_ROWS = 512
"""Positions whose scores exist at the same time, in each of the two models."""


class Distances(NamedTuple):
    """Sums over the positions that count, in nats, float32.

    mixed           α · cross_entropy + (1-α) · divergence, with a gradient
    cross_entropy   -log p(label)
    divergence      T² · KL(other ‖ model), both at the temperature T
    """

    mixed: Tensor
    cross_entropy: Tensor
    divergence: Tensor


class _ChunkedDistances(torch.autograd.Function):
    """`Distances` of rows, with both gradients made on the way.

    With q = softmax(scores), qT and pT those of model and other at T, the scores' gradient is
    α · (q - onehot) + (1-α) · T · (qT - pT). Each chunk's scores are forgotten at once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        other: tuple[Tensor, Tensor],
        labels: Tensor,
        alpha: float,
        temperature: float,
        wanted: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sums = hidden.new_zeros(2, dtype=torch.float32)  # [2]
        hidden_gradient = torch.empty_like(hidden) if wanted else None  # [positions, hidden]
        trained = wanted and ctx.needs_input_grad[1]  # a layer that LoRA leaves alone needs no gradient
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if trained else None  # [vocabulary, hidden]
        for start in range(0, len(hidden), _ROWS):
            rows = slice(start, start + _ROWS)
            scores = F.linear(hidden[rows], weight).float()  # [rows, vocabulary]
            others = F.linear(other[0][rows], other[1]).float()  # [rows, vocabulary]
            found, gradient = _of_rows(scores, others, labels[rows], alpha, temperature)  # [2], [rows, vocabulary]
            sums += found  # [2]
            gradient = gradient.type_as(hidden)  # [rows, vocabulary]
            if hidden_gradient is not None:
                hidden_gradient[rows] = gradient @ weight  # [rows, hidden]
            if weight_gradient is not None:
                weight_gradient += gradient.T @ hidden[rows]  # [vocabulary, hidden]
        ctx.save_for_backward(hidden_gradient, None if weight_gradient is None else weight_gradient.type_as(weight))
        cross_entropy, divergence = sums.unbind()  # 2 × []
        ctx.mark_non_differentiable(cross_entropy, divergence)
        return alpha * cross_entropy + (1 - alpha) * divergence, cross_entropy, divergence

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        scale = output_gradients[0]  # []
        scaled = (None if gradient is None else gradient * scale.type_as(gradient) for gradient in ctx.saved_tensors)
        return (*scaled, None, None, None, None, None)


def _of_rows(scores: Tensor, others: Tensor, labels: Tensor, alpha: float, temperature: float) -> tuple[Tensor, Tensor]:
    """The summed cross-entropy and T² · KL [2] of float32 `scores` and `others` [rows, vocabulary], and the gradient
    of their mixture [rows, vocabulary].
    """
    counts = (labels[:, None] != IGNORED).float()  # [rows, 1]
    targets = labels[:, None].clamp(min=0)  # [rows, 1]
    log_q = scores.log_softmax(-1)  # [rows, vocabulary]
    log_q_t, log_p_t = (some.div(temperature).log_softmax(-1) for some in (scores, others))  # 2 × [rows, vocabulary]
    p_t = log_p_t.exp()  # [rows, vocabulary]
    cross_entropy = -(log_q.gather(1, targets) * counts).sum()  # []
    divergence = temperature**2 * ((log_p_t - log_q_t).mul_(p_t) * counts).sum()  # []
    gradient = log_q.exp_()  # [rows, vocabulary]
    gradient.scatter_add_(1, targets, gradient.new_full(targets.shape, -1.0))  # [rows, vocabulary]
    gradient.mul_(alpha).add_(log_q_t.exp_().sub_(p_t), alpha=(1 - alpha) * temperature)  # [rows, vocabulary]
    return torch.stack((cross_entropy, divergence)), gradient.mul_(counts)  # [2], [rows, vocabulary]


def summed_distances(
    hidden: tuple[Tensor, Tensor], weights: tuple[Tensor, Tensor], labels: Tensor, alpha: float, temperature: float
) -> Distances:
    """The distances of a model from the text and from another model, over the positions whose label counts.

    `hidden` are the vectors [batch, time, hidden] before the output layers of the model and of the other, whose widths
    may differ, `weights` those layers [vocabulary, hidden]; `labels` [batch, time] are tokens or -100. Only the model
    gets gradients. Without any label all sums are 0, with gradients of zeros.
    """
    _, (own, others), targets = counted_rows(hidden, labels)
    arguments = (own, weights[0], (others, weights[1]), targets, alpha, temperature, torch.is_grad_enabled())
    return Distances(*_ChunkedDistances.apply(*arguments))  # type: ignore[no-untyped-call]
