"""Looking into a model while it works, by hooks: the network itself knows nothing of being watched."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minimind.errors import UserError
from minimind.model.transformer import AttentionCore, MiniMind, causal_mask


def weights_of(queries: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(QKᵀ/√d) by the textbook formula, float32, for the arguments of `AttentionCore.forward`.

    Takes `queries` [batch, heads, time, head] and `keys` [batch, groups, length, head]; each row of the result
    [batch, heads, time, length] sums to 1. A `mask` of numbers is added to the scores, as by PyTorch's function.
    Vaswani et al. 2017, "Attention Is All You Need", equation 1.
    """
    time, length = queries.shape[2], keys.shape[2]
    keys = keys.repeat_interleave(queries.shape[1] // keys.shape[1], dim=1)  # [batch, heads, length, head]
    scores = queries.float() @ keys.float().transpose(2, 3) / math.sqrt(queries.shape[3])
    allowed = causal_mask(time, length, queries.device) if mask is None else mask  # [time, length] or broadcastable
    if allowed.dtype != torch.bool:
        return (scores + allowed).softmax(-1)  # [batch, heads, time, length]
    return scores.masked_fill(~allowed, -math.inf).softmax(-1)  # [batch, heads, time, length]


@contextmanager
def watch_attention(model: MiniMind) -> Iterator[list[Tensor]]:
    """While open, the list holds the attention weights [batch, heads, time, length] of the latest forward pass.

    One tensor a layer, in order. Raises UserError where a layer's attention is not ours and has no core to look into.
    """
    cores: list[AttentionCore] = [m for m in model.modules() if isinstance(m, AttentionCore)]
    if len(cores) != model.config.num_hidden_layers:
        raise UserError(
            f"{model.config.num_hidden_layers - len(cores)} layer(s) of this model have an attention of their own: "
            "its weights cannot be watched",
            f"该模型有 {model.config.num_hidden_layers - len(cores)} 层使用了自带的注意力：无法观察其权重",
        )
    seen: list[Tensor] = []

    def remember(core: nn.Module, inputs: tuple[Any, ...]) -> None:
        if core is cores[0]:
            seen.clear()
        queries, keys, _, mask = inputs
        seen.append(weights_of(queries.detach(), keys.detach(), mask))

    with ExitStack() as hooks:
        for core in cores:
            hooks.callback(core.register_forward_pre_hook(remember).remove)
        yield seen


@torch.no_grad()
def attention_weights(
    model: MiniMind, tokens: Tensor, *, positions: Tensor | None = None, mask: Tensor | None = None
) -> list[Tensor]:
    """For each layer, how much each position of `tokens` [batch, time] looks at each: [batch, heads, time, time]."""
    with watch_attention(model) as seen:
        model.hidden(tokens, positions=positions, mask=mask)
    return seen


@torch.no_grad()
def residual_stream(model: MiniMind, tokens: Tensor) -> Tensor:
    """The residual stream of `tokens` [batch, time]: after the embedding and after each block, not normalised.

    Returns [layers + 1, batch, time, hidden].
    """
    stream: list[Tensor] = []

    def remember(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        stream.append(output)

    with ExitStack() as hooks:
        for module in (model.model.dropout, *model.model.layers):
            hooks.callback(module.register_forward_hook(remember).remove)
        model.hidden(tokens)
    return torch.stack(stream)  # [layers + 1, batch, time, hidden]


@torch.no_grad()
def logit_lens(model: MiniMind, tokens: Tensor) -> Tensor:
    """What the model would say if it stopped after each block: last norm and output layer on the residual stream.

    Takes `tokens` [batch, time]; returns [layers, batch, time, vocabulary], the last of which are the model's logits.
    After nostalgebraist 2020, "interpreting GPT: the logit lens".
    """
    logits: Tensor = model.lm_head(model.model.norm(residual_stream(model, tokens)[1:]))
    return logits  # [layers, batch, time, vocabulary]
