"""What experiments on the feed-forward share: looking at its middle, taking sublayers out, networks that learn facts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minimind.lab.arms import Plan
from minimind.lab.tasks import Facts, accuracy, task_model
from minimind.lab.verdicts import means
from minimind.model.transformer import MiniMind
from minimind.model.variants.blocks import NAMES, Sublayer
from minimind.model.variants.feed_forward import FeedForwardKind, set_feed_forward

SEEDS = "seeds"
WIDTH, HEADS = 32, 2
"""Of the networks that learn facts."""


def percents(**shares: Sequence[float]) -> dict[str, float]:
    """The means over seeds of shares of 1, in percent, and how many ``seeds``: what a `Claim` has measured."""
    return {name: value if name == SEEDS else 100 * value for name, value in means(**shares).items()}


@torch.no_grad()
def inner_activations(model: MiniMind, tokens: Tensor) -> list[Tensor]:
    """What every feed-forward layer of `model` hands to its ``down_proj``: one [batch, time, feed-forward] a layer.

    `tokens` is [batch, time]. Layers without a feed-forward are left out.
    """
    seen: list[Tensor] = []

    def remember(_module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0])

    with ExitStack() as hooks:
        for block in model.model.layers:
            down = getattr(block.mlp, "down_proj", None)
            if isinstance(down, nn.Module):
                hooks.callback(down.register_forward_pre_hook(remember).remove)
        model.hidden(tokens)
    return seen


@contextmanager
def silenced(model: MiniMind, layer: int, sublayer: Sublayer) -> Iterator[None]:
    """While open, one sublayer of a trained network adds nothing to the stream: zero ablation."""

    def nothing(_module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        return torch.zeros_like(output)  # [batch, time, hidden]

    handle = model.model.layers[layer].get_submodule(NAMES[sublayer][0]).register_forward_hook(nothing)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def neuron_off(model: MiniMind, layer: int, neuron: int) -> Iterator[None]:
    """While open, one neuron of one feed-forward layer hands 0 to ``down_proj``, whatever comes in."""

    def without(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
        changed = inputs[0].clone()  # [batch, time, feed-forward]
        changed[..., neuron] = 0
        return (changed,)

    handle = model.model.layers[layer].get_submodule("mlp.down_proj").register_forward_pre_hook(without)
    try:
        yield
    finally:
        handle.remove()


def facts_network(
    facts: Facts, layers: int, kind: FeedForwardKind = "relu", ratio: float = 4.0
) -> Callable[[int], MiniMind]:
    """How to build, for a seed, a small network for `facts` with that many layers and that feed-forward (or ``none``)."""

    def change(model: MiniMind) -> None:
        set_feed_forward(model, kind, ratio)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.reset_parameters()

    return lambda seed: task_model(
        facts,
        seed=seed,
        change=change,
        hidden_size=WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
    )


def facts_plan(facts: Facts, steps: int, seeds: int, learning_rate: float = 3e-3) -> Plan:
    """Learn `facts` by heart: random batches of 64 of them; measured is ``recall``, the share of all that is known."""
    tokens, labels = facts.facts()
    return Plan(
        draw=lambda generator: facts.draw(generator, 64),
        measures={"recall": lambda model: accuracy(model, tokens, labels)},
        steps=steps,
        seeds=seeds,
        learning_rate=learning_rate,
        evaluate_every=max(1, steps // 10),
        chart="loss",
    )


def recall_without(facts: Facts, layer: int, sublayer: Sublayer) -> Callable[[MiniMind], float]:
    """A measure: the share of `facts` that is still known when a sublayer is silenced (see `silenced`); 0 to 1."""
    tokens, labels = facts.facts()

    def measure(model: MiniMind) -> float:
        with silenced(model, layer, sublayer):
            return accuracy(model, tokens, labels)

    return measure
