"""How wide should the middle be? The expansion ratio is varied, and the same parameters are spent on depth instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from minimind.events import Claim, Event, Level, Scalars, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results
from minimind.lab.races import NAMES, Race, run_race, variant
from minimind.lab.verdicts import agree, all_hold, is_lower, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.feed_forward import FeedForwardKind, set_feed_forward

SAID_STEPS = 150


@dataclass(frozen=True)
class Width:
    """One arm: how many times wider than the stream the middle is (0: no feed-forward at all), and how many layers."""

    ratio: float
    layers: int
    name: Text


WIDTHS = {
    "four": Width(4, 2, Text("×4", "×4")),
    "eight": Width(8, 2, Text("×8", "×8")),
    "one": Width(1, 2, Text("×1", "×1")),
    "quarter": Width(0.25, 2, Text("×¼", "×¼")),
    "none": Width(0, 2, Text("none", "没有")),
    "deep_one": Width(1, 4, Text("×1, four layers", "×1，四层")),
    "deep_none": Width(0, 6, Text("none, six layers", "没有，六层")),
}
DEEP = ("deep_one", "deep_none")
ARMS = {name: width.name for name, width in WIDTHS.items()}


@experiment(
    title=Text("How wide is the middle?", "中间要多宽？"),
    question=Text(
        "The feed-forward is a quarter, once, four or eight times as wide as the stream, or missing. What does width buy, "
        "and would the same parameters be better spent on more layers?",
        "前馈层的宽度是残差流的四分之一、一倍、四倍、八倍，或干脆没有。宽度能换来什么？同样的参数拿去加层会更好吗？",
    ),
    parameters={
        "activation": Parameter(Text("activation", "激活函数"), choices=("relu", "gelu", "silu", "linear")),
        "rate": Parameter(Text("learning rate", "学习率"), choices=(0.001, 0.003, 0.01)),
        "steps": Parameter(Text("training steps", "训练步数"), low=5, high=3000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 180},
    deep={"seeds": 5, "steps": 600},
    smoke={"seeds": 1, "steps": 5},
    predict=Text(
        "Three networks with the same number of parameters: two layers with a ×4 feed-forward, four layers with ×1, or "
        "six layers of attention alone. Which has the highest loss?",
        "三个参数量相同的网络：两层、前馈 ×4；四层、前馈 ×1；六层、只有注意力。哪个损失最高？",
    ),
    choices=(
        Text("two layers, ×4", "两层，×4"),
        Text("four layers, ×1", "四层，×1"),
        Text("six layers, attention only", "六层，只有注意力"),
    ),
    names={
        **NAMES,
        "size": Text("Held-out loss by parameters", "留出集损失与参数量"),
        "parameters": Text("parameters", "参数量"),
        "two_layers": Text("two layers", "两层"),
        **ARMS,
    },
)
def expansion(activation: str = "relu", rate: float = 0.003, steps: int = 250, seeds: int = 3) -> Iterator[Event]:
    """Plain feed-forward layers of several widths on the same text, and two deeper stacks of the size of ×4."""
    kinds: dict[str, FeedForwardKind] = {"relu": "relu", "gelu": "gelu", "silu": "silu", "linear": "linear"}
    arms = [
        Arm(
            name,
            variant("T0", _change(kinds[activation], width.ratio), width.layers),
            {"ratio": f"{width.ratio:g}", "layers": str(width.layers)},
        )
        for name, width in WIDTHS.items()
    ]
    results: Results = yield from run_race(Race(arms, steps, seeds, learning_rate=rate))
    sizes = {arm.name: arm.build(0).parameter_count() for arm in arms}
    for name in DEEP:
        yield Level("size", name, results.mean(name))
    for name in sorted(set(WIDTHS) - set(DEEP), key=lambda name: sizes[name]):
        yield Scalars(sizes[name], {"two_layers": results.mean(name)}, axis="parameters", chart="size")
    yield from _claims(results, sizes, said=steps >= SAID_STEPS)


def _change(kind: FeedForwardKind, ratio: float) -> Callable[[MiniMind], None]:
    def change(model: MiniMind) -> None:
        set_feed_forward(model, kind if ratio else "none", ratio or 1.0)

    return change


def _claims(results: Results, sizes: dict[str, int], *, said: bool) -> Iterator[Event]:
    rivals = ("four", *DEEP)
    worst = max(rivals, key=results.mean)
    yield Claim(
        "prediction",
        Text(f"the highest: {ARMS[worst].en}", f"最高的是：{ARMS[worst].zh}"),
        {"choice": rivals.index(worst)},
        True if said else None,
    )
    yield Claim(
        "feed_forward_pays",
        Text("Without any feed-forward the network learns clearly less", "完全没有前馈层，学到的明显更少"),
        means(four=results.of("four"), none=results.of("none")),
        is_lower(results.of("four"), results.of("none")) if said else None,
    )
    yield Claim(
        "same_parameters",
        Text(
            "The same parameters as layers of attention alone do worse",
            "同样多的参数，只用来堆注意力层，效果更差",
        ),
        means(four=results.of("four"), deep_none=results.of("deep_none"), deep_one=results.of("deep_one"))
        | {"parameters": sizes["four"], "deep_parameters": sizes["deep_none"]},
        is_lower(results.of("four"), results.of("deep_none")) if said else None,
    )
    steps = ("none", "quarter", "one", "four")
    yield Claim(
        "wider_is_better_at_first",
        Text(
            "From none to ×¼, to ×1, to ×4 the loss falls at every step",
            "从没有到 ×¼、到 ×1、到 ×4，每一步损失都下降",
        ),
        means(**{name: results.of(name) for name in steps}),
        all_hold([is_lower(results.of(b), results.of(a)) for a, b in pairwise(steps)]) if said else None,
    )
    first = [a - b for a, b in zip(results.of("quarter"), results.of("four"), strict=True)]
    last = [a - b for a, b in zip(results.of("four"), results.of("eight"), strict=True)]
    yield Claim(
        "returns_diminish",
        Text(
            "From ×4 to ×8 hardly anything is gained any more",
            "从 ×4 到 ×8，几乎不再有收获",
        ),
        means(first=first, last=last, four=results.of("four"), eight=results.of("eight")),
        agree([abs(late) < early / 3 for late, early in zip(last, first, strict=True)]) if said else None,
    )
