"""Which activation? Eight feed-forward layers of the same size on the same text, and what their neurons do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from minimind.events import Claim, Event, Heatmap, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results
from minimind.lab.feed_forward import inner_activations
from minimind.lab.races import NAMES, Race, run_race, variant
from minimind.lab.text import byte_text
from minimind.lab.tiny import BATCH_SIZES, SIZES
from minimind.lab.verdicts import agree, is_lower, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.feed_forward import FeedForwardKind, feed_forward_width, set_feed_forward

SIZE, RATIO, SAID_STEPS = "T0", 4.0, 200
KINDS: dict[FeedForwardKind, Text] = {
    "relu": Text("ReLU", "ReLU"),
    "linear": Text("no activation", "无激活"),
    "gelu": Text("GELU", "GELU"),
    "silu": Text("SiLU", "SiLU"),
    "relu2": Text("ReLU²", "ReLU²"),
    "swiglu": Text("SwiGLU", "SwiGLU"),
    "geglu": Text("GeGLU", "GeGLU"),
    "reglu": Text("ReGLU", "ReGLU"),
}
BENT = tuple(kind for kind in KINDS if kind != "linear")
SMOOTH: tuple[FeedForwardKind, ...] = ("gelu", "silu", "swiglu", "geglu")
EDGES = (-3.0, -1.0, -0.3, -0.1, -0.01, 0.01, 0.1, 0.3, 1.0, 3.0)
"""Borders of the histogram, in units of the root mean square."""


@experiment(
    title=Text("Eight activations", "八种激活"),
    question=Text(
        "ReLU, GELU, SiLU, their gated relatives, or nothing at all, with the same number of parameters. Does it matter, "
        "and what do the neurons do?",
        "ReLU、GELU、SiLU、它们的门控版本，或什么都不加，参数量都相同。有区别吗？神经元又在做什么？",
    ),
    parameters={
        "rate": Parameter(Text("learning rate", "学习率"), choices=(0.001, 0.003, 0.01)),
        "steps": Parameter(Text("training steps", "训练步数"), low=5, high=3000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 120},
    deep={"seeds": 5, "steps": 800},
    smoke={"seeds": 1, "steps": 5},
    predict=Text(
        "Same size, same steps, three seeds. How large is the gap between the best and the worst of the seven real "
        "activations, compared with the spread of one of them over its seeds?",
        "同样大小，同样步数，三个种子。七种真正的激活里，最好与最差之差，和其中一种在不同种子间的波动相比如何？",
    ),
    choices=(
        Text("more than three times as large", "大三倍以上"),
        Text("between one and three times", "一到三倍之间"),
        Text("smaller than the spread", "比波动还小"),
    ),
    names={**NAMES, **KINDS},
)
def activations(rate: float = 0.01, steps: int = 250, seeds: int = 3) -> Iterator[Event]:
    """Plain kinds at four times the width of the stream, gated ones at two thirds of that."""
    width = SIZES[SIZE]["hidden_size"]
    arms = [
        Arm(
            kind,
            variant(SIZE, _change(kind)),
            {"activation": kind, "width": str(feed_forward_width(kind, width, RATIO))},
        )
        for kind in KINDS
    ]
    tokens = _tokens()
    race = Race(
        arms,
        steps,
        seeds,
        SIZE,
        rate,
        {
            "zeros": lambda model: zeros_and_dead(model, tokens)[0],
            "dead": lambda model: zeros_and_dead(model, tokens)[1],
        },
        {"zeros": Text("share of zeros", "零的比例"), "dead": Text("dead neurons", "死神经元")},
    )
    results: Results = yield from run_race(race)
    yield _histogram(results.models, tokens)
    yield from _claims(results, said=steps >= SAID_STEPS)


def _change(kind: FeedForwardKind) -> Callable[[MiniMind], None]:
    return lambda model: set_feed_forward(model, kind, RATIO)


def _tokens() -> Tensor:
    batches = byte_text().evaluation(BATCH_SIZES[SIZE], SIZES[SIZE]["max_position_embeddings"])
    return torch.cat([tokens for tokens, _ in batches])  # [batch, time]


def zeros_and_dead(model: MiniMind, tokens: Tensor) -> tuple[float, float]:
    """Shares, over all feed-forward layers: of inner activations that are 0, and of neurons that are 0 everywhere."""
    inner = torch.stack(inner_activations(model, tokens))  # [layers, batch, time, feed-forward]
    silent = inner == 0  # [layers, batch, time, feed-forward]
    return float(silent.float().mean()), float(silent.all(2).all(1).float().mean())


def _histogram(models: dict[str, MiniMind], tokens: Tensor) -> Event:
    """How large the inner activations are, one row a kind, in shares of all."""
    rows = []
    for model in models.values():
        values = torch.cat([layer.flatten() for layer in inner_activations(model, tokens)])  # [values]
        places = torch.bucketize(values / values.pow(2).mean().sqrt(), torch.tensor(EDGES))  # [values]
        rows.append(tuple((torch.bincount(places, minlength=len(EDGES) + 1) / len(values)).tolist()))
    labels = (f"<{EDGES[0]:g}", *(f"<{edge:g}" for edge in EDGES[1:]), f">{EDGES[-1]:g}")
    title = Text(
        "Where the inner activations lie (columns: in units of their RMS), as shares",
        "内部激活值的分布（列以各自的 RMS 为单位），按比例",
    )
    return Heatmap("histogram", tuple(rows), tuple(KINDS[kind].en for kind in KINDS), labels, low=0.0, title=title)


def _claims(results: Results, *, said: bool) -> Iterator[Event]:
    average = {kind: results.mean(kind) for kind in BENT}
    best, worst = min(average, key=lambda kind: average[kind]), max(average, key=lambda kind: average[kind])
    gap = average[worst] - average[best]
    spread = sum(max(results.of(kind)) - min(results.of(kind)) for kind in BENT) / len(BENT)
    choice = 0 if gap > 3 * spread else 1 if gap > spread else 2
    yield Claim(
        "prediction",
        Text(f"gap {gap:.3f}, spread {spread:.3f} nats", f"差距 {gap:.3f}，波动 {spread:.3f} nats"),
        {"choice": choice, "gap": gap, "spread": spread},
        True if said and spread else None,
    )
    yield Claim(
        "bending_pays",
        Text("Every activation does better than none", "随便哪种激活都比没有强"),
        means(linear=results.of("linear"), best=results.of(best), worst=results.of(worst)),
        all(is_lower(results.of(kind), results.of("linear"), 0.0) for kind in BENT) or None if said else None,
    )
    pairs = list(zip(results.of("swiglu"), results.of("relu"), results.of("linear"), strict=True))
    yield Claim(
        "swiglu_is_no_leap",
        Text(
            "Between SwiGLU and plain ReLU lies less than half of what either gains over no activation",
            "SwiGLU 与普通 ReLU 之差，不到它们各自比无激活多得的一半",
        ),
        means(
            swiglu=results.of("swiglu"),
            relu=results.of("relu"),
            apart=[abs(swiglu - relu) for swiglu, relu, _ in pairs],
            gained=[linear - max(swiglu, relu) for swiglu, relu, linear in pairs],
        ),
        agree([2 * abs(swiglu - relu) < linear - max(swiglu, relu) for swiglu, relu, linear in pairs])
        if said
        else None,
    )
    zeros, dead = results.of("relu", "zeros"), results.of("relu", "dead")
    yield Claim(
        "relu_is_sparse",
        Text(
            "With ReLU at least a third of the inner activations is exactly zero, with smooth activations hardly any",
            "用 ReLU，内部激活值至少三分之一恰好为零；用平滑的激活则几乎没有",
        ),
        means(
            relu=zeros,
            relu2=results.of("relu2", "zeros"),
            reglu=results.of("reglu", "zeros"),
            gelu=results.of("gelu", "zeros"),
        ),
        agree([share > 1 / 3 for share in zeros])
        and all(share < 0.05 for kind in SMOOTH for share in results.of(kind, "zeros")),
    )
    yield Claim(
        "silent_is_not_dead",
        Text(
            "Few of the ReLU neurons are dead, that is zero at every place of the held-out text",
            "死掉的 ReLU 神经元很少，即在留出文本的每个位置都为零的",
        ),
        means(dead=dead, zeros=zeros, relu2=results.of("relu2", "dead"), reglu=results.of("reglu", "dead")),
        agree([5 * gone < silent for gone, silent in zip(dead, zeros, strict=True)]) if said else None,
    )
