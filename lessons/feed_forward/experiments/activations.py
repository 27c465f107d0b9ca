"""Which activation? Eight feed-forward layers of the same size on the same text, and what their neurons do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from minimind.events import Claim, Event, Heatmap, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results
from minimind.lab.feed_forward import inner_activations, percents
from minimind.lab.races import NAMES, Race, run_race, variant
from minimind.lab.text import byte_text
from minimind.lab.tiny import BATCH_SIZES, SIZES, Size
from minimind.lab.verdicts import agree, all_hold, is_lower, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.feed_forward import FeedForwardKind, feed_forward_width, set_feed_forward

SIZE: Size = "T0"
RATIO, SAID_STEPS = 4.0, 150
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
CANDIDATES: tuple[FeedForwardKind, ...] = ("relu", "gelu", "silu", "swiglu")
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
    quick={"seeds": 1, "steps": 150},
    deep={"seeds": 5, "steps": 800},
    smoke={"seeds": 1, "steps": 5},
    predict=Text(
        "Same size, same text, 250 steps. Which of these four ends with the lowest loss?",
        "同样大小，同样的文本，250 步。这四种里，哪种最后的损失最低？",
    ),
    choices=tuple(KINDS[kind] for kind in CANDIDATES),
    names={**NAMES, **{str(kind): name for kind, name in KINDS.items()}},
)
def activations(rate: float = 0.003, steps: int = 250, seeds: int = 3) -> Iterator[Event]:
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
    best = min(CANDIDATES, key=results.mean)
    yield Claim(
        "prediction",
        Text(f"the lowest: {KINDS[best].en}", f"最低的是：{KINDS[best].zh}"),
        {"choice": CANDIDATES.index(best)},
        True if said else None,
    )
    yield Claim(
        "bending_pays",
        Text("With ReLU the network learns clearly more than without an activation", "用 ReLU 学到的明显比没有激活多"),
        means(linear=results.of("linear"), relu=results.of("relu"), relu2=results.of("relu2")),
        is_lower(results.of("relu"), results.of("linear")) if said else None,
    )
    yield Claim(
        "relu_is_ahead",
        Text(
            "In so short a run ReLU is ahead of every smooth activation, gated or not",
            "在这么短的训练里，ReLU 领先于每一种平滑的激活，带门的也一样",
        ),
        means(relu=results.of("relu"), **{kind: results.of(kind) for kind in SMOOTH}),
        all_hold([is_lower(results.of("relu"), results.of(kind)) for kind in SMOOTH]) if said else None,
    )
    closest = [min(losses) for losses in zip(*(results.of(kind) for kind in SMOOTH), strict=True)]
    lines = list(zip(results.of("linear"), results.of("relu"), closest, strict=True))
    yield Claim(
        "smooth_starts_straight",
        Text(
            "Even the best smooth activation has gained less than two thirds of what ReLU has over none",
            "就连最好的平滑激活，比无激活多得的也不到 ReLU 的三分之二",
        ),
        means(
            smooth=[linear - smooth for linear, _, smooth in lines], relu=[linear - relu for linear, relu, _ in lines]
        ),
        agree([linear - smooth < 2 / 3 * (linear - relu) for linear, relu, smooth in lines]) if said else None,
    )
    yield from _zeros_claims(results, said=said)


def _zeros_claims(results: Results, *, said: bool) -> Iterator[Event]:
    zeros, dead = results.of("relu", "zeros"), results.of("relu", "dead")
    yield Claim(
        "relu_is_sparse",
        Text(
            "With ReLU at least a third of the inner activations is exactly zero, with smooth activations hardly any",
            "用 ReLU，内部激活值至少三分之一恰好为零；用平滑的激活则几乎没有",
        ),
        percents(
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
        percents(dead=dead, zeros=zeros, relu2=results.of("relu2", "dead"), reglu=results.of("reglu", "dead")),
        agree([5 * gone < silent for gone, silent in zip(dead, zeros, strict=True)]) if said else None,
    )
