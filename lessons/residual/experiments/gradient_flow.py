"""How much gradient reaches each layer, with residual connections and without? Before training and during it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind.events import Claim, Event, Heatmap, Progress, Scalars, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.text import ByteText, byte_text
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import agree, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.blocks import set_residual

ARMS = {"residual": Text("with residual", "有残差"), "none": Text("without", "没有残差")}
BATCH, TIME = 8, 32
SAID_STEPS = 20
TINY = 1e-12
"""Norms below this are drawn as this: a logarithm needs something."""


@experiment(
    title=Text("Where the gradient goes", "梯度流到哪里"),
    question=Text(
        "The loss pulls at the last layer. How much of that pull arrives at the first?",
        "损失拉动的是最后一层。这股拉力有多少能传到第一层？",
    ),
    parameters={
        "depth": Parameter(Text("layers", "层数"), low=2, high=32),
        "steps": Parameter(Text("training steps", "训练步数"), low=0, high=300),
        "rate": Parameter(Text("learning rate", "学习率"), choices=(0.001, 0.003, 0.01)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1},
    deep={"seeds": 5, "steps": 200},
    smoke={"seeds": 1, "steps": 2, "depth": 12},
    predict=Text(
        "Sixteen layers with norms but without residual connections. After forty steps of training the first layer's "
        "gradient is, compared with the last one's …",
        "十六层，有归一化、没有残差。训练四十步之后，第一层的梯度与最后一层相比……",
    ),
    choices=(
        Text("about the same: norms keep it up", "差不多：归一化保住了它"),
        Text("about a thousandth", "大约千分之一"),
        Text("less than a hundred-thousandth", "不到十万分之一"),
    ),
    names={
        "first_step": Text("Gradient norm at the first step", "第一步的梯度范数"),
        "layer": Text("layer", "层"),
        **ARMS,
    },
)
def gradient_flow(depth: int = 16, steps: int = 40, rate: float = 0.003, seeds: int = 3) -> Iterator[Event]:
    """The norm of every layer's gradient at the first step of each seed, and through the training of the first."""
    text = byte_text()
    first: dict[str, list[list[float]]] = {name: [] for name in ARMS}
    total = len(ARMS) * (seeds + steps)
    done = 0
    for name in ARMS:
        for seed in range(seeds):
            first[name].append(_norms(_model(depth, name, seed), text, seed))
            done += 1
            yield Progress(done, total)
    for layer in range(depth):
        values = {name: max(TINY, statistics.median(norms[layer] for norms in first[name])) for name in ARMS}
        yield Scalars(layer + 1, values, axis="layer", chart="first_step")
    trained: dict[str, list[float]] = {}
    for name in ARMS:
        columns: list[list[float]] = []
        for norms in _train(_model(depth, name, 0), text, steps, rate):
            columns.append(norms)
            done += 1
            yield Progress(done, total)
            yield _heatmap(name, columns)
        trained[name] = columns[-1] if columns else first[name][0]
    yield Progress(total, total)
    yield from _claims(first, trained, steps)


def _model(depth: int, name: str, seed: int) -> MiniMind:
    model = tiny_model("T0", seed=seed, num_hidden_layers=depth)
    if name == "none":
        set_residual(model, "none")
    return model


def _backward(model: MiniMind, text: ByteText, generator: torch.Generator) -> list[float]:
    """One backward pass; returns the norm of each layer's gradient."""
    tokens, labels = text.batch(generator, BATCH, TIME)
    logits: Tensor = model(tokens)  # [batch, time, vocabulary]
    loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())  # []
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    norms = []
    for layer in model.model.layers:
        squares = [float(p.grad.pow(2).sum()) for p in layer.parameters() if p.grad is not None]
        norms.append(math.sqrt(sum(squares)))
    return norms


def _norms(model: MiniMind, text: ByteText, seed: int) -> list[float]:
    return _backward(model, text, torch.Generator().manual_seed(seed))


def _train(model: MiniMind, text: ByteText, steps: int, rate: float) -> Iterator[list[float]]:
    """The norms of each step's gradient, before it is applied."""
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    for _ in range(steps):
        yield _backward(model, text, generator)
        optimizer.step()


def _heatmap(name: str, columns: list[list[float]]) -> Event:
    every = max(1, len(columns) // 24)
    shown = columns[::every]
    rows = tuple(
        tuple(math.log10(max(TINY, norms[layer])) for norms in shown) for layer in reversed(range(len(shown[0])))
    )
    labels = tuple(f"{layer + 1}" for layer in reversed(range(len(shown[0]))))
    title = Text(
        f"log₁₀ of the gradient norm, layer × step: {ARMS[name].en}", f"梯度范数的 log₁₀，层 × 步：{ARMS[name].zh}"
    )
    return Heatmap(f"gradient_{name}", rows, labels, low=math.log10(TINY), high=0.0, title=title)


def _claims(first: dict[str, list[list[float]]], trained: dict[str, list[float]], steps: int) -> Iterator[Event]:
    ratios = {name: [norms[0] / max(norms[-1], TINY) for norms in rows] for name, rows in first.items()}
    later = {name: norms[0] / max(norms[-1], TINY) for name, norms in trained.items()}
    said = steps >= SAID_STEPS
    choice = 0 if later["none"] > 0.1 else 1 if later["none"] > 1e-5 else 2
    share = Text(f"{later['none']:.0e} of the last layer's", f"末层的 {later['none']:.0e}")
    yield Claim("prediction", share, {"choice": choice}, True)
    yield Claim(
        "residual_carries_the_gradient",
        Text(
            "With residual connections first and last layer are pulled about equally, before training and after",
            "有残差时，首层与末层受到的拉力差不多，训练前后都是如此",
        ),
        means(ratio=ratios["residual"]) | {"later": later["residual"]},
        agree([0.1 < ratio < 10 for ratio in [*ratios["residual"], later["residual"]]]),
    )
    yield Claim(
        "explodes_at_first",
        Text(
            "Without them, and with norms, the gradient at first grows on its way back: norms stretch what is small",
            "没有残差、只有归一化时，梯度起初反而越往回传越大：归一化会把小的拉大",
        ),
        means(ratio=ratios["none"]) | {"layers": len(first["none"][0])},
        agree([ratio > 3 for ratio in ratios["none"]]),
    )
    yield Claim(
        "then_it_dies",
        Text(
            "A few steps later nothing arrives any more: the first updates have wrecked the lower layers",
            "几步之后就什么也传不到了：最初的几次更新毁掉了下面的层",
        ),
        {"ratio": later["none"], "steps": steps},
        later["none"] < 1e-4 if said else None,
    )
