"""The cross-entropy of the next token, computed without ever holding all the scores at once."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from minimind.data.packing import IGNORED, Batch
from minimind.model.moe import load_balancing_loss
from minimind.model.transformer import MiniMind
from minimind.training.attention import document_mask
from minimind.training.kernels.library import Kernels
from minimind.training.kernels.modules import loss_kernels, reads_documents

_ROWS = 1024
"""Positions whose scores exist at the same time: 8 MB in float32 for 2,048 tokens, 26 MB for 6,400."""
_MULTIPLE = 256
"""Positions are padded to a multiple of this: the CPU's matrix products are compiled and kept for each size they meet."""


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum of -log softmax(hidden · weightᵀ)[label], a few rows at a time, with both gradients made on the way.

    The gradient of the scores is softmax - onehot, known as soon as the scores are. So each chunk's scores can be
    forgotten at once, where the plain way keeps [positions, vocabulary] in float32 until the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor, wanted: bool, kernels: Kernels | None
    ) -> Tensor:
        multiply = kernels.multiply if kernels is not None and kernels.serve(hidden, weight) else _multiply
        total = hidden.new_zeros((), dtype=torch.float32)  # []
        hidden_gradient = torch.empty_like(hidden) if wanted else None  # [positions, hidden]
        trained = wanted and ctx.needs_input_grad[1]  # a layer that LoRA leaves alone needs no gradient
        weight_gradient = torch.zeros_like(weight, dtype=torch.float32) if trained else None  # [vocabulary, hidden]
        for start in range(0, hidden.shape[0], _ROWS):
            rows = slice(start, start + _ROWS)
            scores = multiply(hidden[rows], weight)  # [rows, vocabulary]
            nats, scores = _losses_and_gradients(scores, labels[rows], wanted, kernels)  # [rows], [rows, vocabulary]
            total += nats.sum()  # []
            if hidden_gradient is not None:
                hidden_gradient[rows] = multiply(scores, weight.T)  # [rows, hidden]
            if weight_gradient is not None:
                weight_gradient += multiply(scores.T, hidden[rows].T)  # [vocabulary, hidden]
        ctx.save_for_backward(hidden_gradient, None if weight_gradient is None else weight_gradient.type_as(weight))
        return total

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        scale = output_gradients[0]  # []
        scaled = (None if gradient is None else gradient * scale.type_as(gradient) for gradient in ctx.saved_tensors)
        return (*scaled, None, None, None)


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    """left · rightᵀ."""
    return left @ right.T  # [rows, columns]


def _losses_and_gradients(
    scores: Tensor, labels: Tensor, wanted: bool, kernels: Kernels | None
) -> tuple[Tensor, Tensor]:
    """-log softmax(scores)[label] of each row in float32, 0 without a label, and its gradient, softmax - onehot.

    `scores` [rows, vocabulary] are used up. The gradient has their dtype; where it is not `wanted` it is anything.
    """
    if kernels is not None and kernels.serve(scores):
        losses = scores.new_empty(len(scores), dtype=torch.float32)  # [rows]
        kernels("cross_entropy", scores, labels, losses, *scores.shape, int(wanted))
        return losses, scores
    targets = labels[:, None].clamp(min=0)  # [rows, 1]
    counts = (labels[:, None] != IGNORED).float()  # [rows, 1]
    probability = torch.softmax(scores, -1, dtype=torch.float32)  # [rows, vocabulary]
    # log Σ exp(score) from the likeliest token, without a second pass of exponentials over the vocabulary.
    normaliser = scores.amax(-1).float() - probability.amax(-1).log()  # [rows]
    losses = (normaliser - scores.gather(1, targets)[:, 0].float()) * counts[:, 0]  # [rows]
    if not wanted:
        return losses, scores
    probability.scatter_add_(1, targets, probability.new_full(targets.shape, -1.0))  # [rows, vocabulary]
    return losses, probability.mul_(counts).type_as(scores)  # [rows], [rows, vocabulary]


def summed_cross_entropy(
    hidden: Tensor, weight: Tensor, labels: Tensor, kernels: Kernels | None = None
) -> tuple[Tensor, int]:
    """The summed loss in nats over the positions whose label counts, and how many those are.

    `hidden` [batch, time, hidden] are the vectors before the output layer, `weight` [vocabulary, hidden] is that layer,
    `labels` [batch, time] the token that follows each position or -100. Positions without a label cost nothing. With no
    label at all the sum is 0 with a gradient of zeros, never NaN.
    """
    counted, (chosen,), targets = counted_rows((hidden,), labels)
    loss: Tensor = _ChunkedCrossEntropy.apply(chosen, weight, targets, torch.is_grad_enabled(), kernels)  # type: ignore[no-untyped-call]
    return loss, len(counted)


def counted_rows(hidden: tuple[Tensor, ...], labels: Tensor) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
    """Which positions of `labels` [batch, time] have one: int64 [positions], counted through the rows.

    And, of those, the vectors of each of `hidden` [batch, time, its hidden] and the labels, padded at their ends to a
    multiple of 256 positions with labels of -100.
    """
    flat = labels.flatten()  # [batch · time]
    counted = (flat != IGNORED).nonzero()[:, 0]  # [positions]
    padding = -len(counted) % _MULTIPLE
    places = F.pad(counted, (0, padding))  # [positions + padding]
    chosen = tuple(vectors.flatten(0, 1)[places] for vectors in hidden)  # [positions + padding, hidden] each
    return counted, chosen, F.pad(flat[counted], (0, padding), value=IGNORED)  # … and [positions + padding]


def next_token_loss(model: MiniMind, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Mean cross-entropy of the next token over the labels that count, in nats, each document seeing only itself.

    The model may add what it needs to stay in shape (see `balanced`).
    """
    hidden = packed_hidden(model, batch)  # [batch, time, hidden]
    total, count = summed_cross_entropy(hidden, model.lm_head.weight, batch.labels, loss_kernels(model))
    loss = total / max(count, 1)  # []
    return balanced(model, loss, {"loss": float(loss.detach())})


def packed_hidden(model: MiniMind, batch: Batch) -> Tensor:
    """The vectors [batch, time, hidden] before the output layer of `model`, each document seeing only itself."""
    mask = batch.documents if reads_documents(model) else document_mask(batch.documents)  # [b, t] or [b, 1, t, t]
    return model.hidden(batch.tokens, positions=batch.positions, mask=mask)  # [batch, time, hidden]


def balanced(model: MiniMind, loss: Tensor, scalars: dict[str, float]) -> tuple[Tensor, dict[str, float]]:
    """`loss` with the load balancing of a mixture of experts added, where `model` is one, after its forward pass.

    That is reported apart, so that the loss of every architecture means the same.
    """
    balance = load_balancing_loss(model)
    if balance is None:
        return loss, scalars
    return loss + balance, scalars | {"load_balancing_loss": float(balance.detach())}


def token_log_probabilities(model: MiniMind, batch: Batch, temperature: float = 1.0) -> Tensor:
    """log p(label | what stands before it in its document) at each position [batch, time], float32; 0 without a label.

    With gradients where they are switched on. What lies between is computed anew in the backward pass, a few rows at a
    time, so that all the scores never exist at once.
    """
    return label_log_probabilities(model, packed_hidden(model, batch), batch.labels, temperature)  # [batch, time]


def label_log_probabilities(model: MiniMind, hidden: Tensor, labels: Tensor, temperature: float = 1.0) -> Tensor:
    """The same from the vectors [batch, time, hidden] before the output layer of `model`."""
    counted, (chosen,), wanted_labels = counted_rows((hidden,), labels)
    weight = model.lm_head.weight  # [vocabulary, hidden]

    def scored(rows: Tensor, wanted: Tensor) -> Tensor:
        scores = F.linear(rows, weight).float() / temperature  # [rows, vocabulary]
        return scores.gather(1, wanted[:, None].clamp(min=0))[:, 0] - scores.logsumexp(1)  # [rows]

    values = hidden.float().sum(-1).flatten() * 0  # [batch · time]
    for start in range(0, len(counted), _ROWS):
        rows = slice(start, start + _ROWS)
        part: Tensor = checkpoint(scored, chosen[rows], wanted_labels[rows], use_reentrant=False)  # [rows]
        values = values.index_put((counted[rows],), part[: len(counted) - start])  # [batch · time]
    return values.view_as(labels)  # [batch, time]
