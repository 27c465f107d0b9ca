"""One residual connection around both sublayers, one around each, or none: is one enough?

The networks have the same parameters; only what is added differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

from minimind.events import Claim, Event, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results
from minimind.lab.races import NAMES, Race, run_race, variant
from minimind.lab.verdicts import is_lower, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.arrangement import Residual
from minimind.model.variants.blocks import set_residual

RESIDUALS: tuple[Residual, ...] = get_args(Residual)
SAID_STEPS = 120


@experiment(
    title=Text("One residual or two?", "一条残差还是两条？"),
    question=Text(
        "A block adds twice: after the attention and after the feed-forward. Would once be enough?",
        "一个块相加两次：注意力之后、前馈之后。只加一次够不够？",
    ),
    parameters={
        "shallow": Parameter(Text("layers, shallow", "层数（浅）"), choices=(1, 2)),
        "deep": Parameter(Text("layers, deep", "层数（深）"), choices=(4, 8, 12)),
        "steps": Parameter(Text("training steps", "训练步数"), low=5, high=1000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 125},
    deep={"seeds": 5, "steps": 800},
    smoke={"seeds": 1, "steps": 5, "deep": 4},
    predict=Text(
        "One residual around the whole block instead of one around each sublayer. What becomes of the held-out loss?",
        "只用一条残差绕过整个块，而不是每个子层各一条。留出集损失会怎样？",
    ),
    choices=(
        Text("about the same: there is still a way past every block", "差不多：每个块仍有路可绕"),
        Text("clearly higher, but lower than without any", "明显更高，但比一条都没有要低"),
        Text("as high as without any", "和一条都没有一样高"),
    ),
    names=dict(NAMES),
)
def one_residual(shallow: int = 2, deep: int = 8, steps: int = 260, seeds: int = 3) -> Iterator[Event]:
    """Train the three at two depths."""
    arms = [
        Arm(
            f"{residual} {layers}",
            variant("T0", _changed(residual), layers),
            {"residual": residual, "layers": str(layers)},
        )
        for layers in (shallow, deep)
        for residual in RESIDUALS
    ]
    results = yield from run_race(Race(arms, steps, seeds))
    yield from _claims(results, shallow, deep, steps >= SAID_STEPS)


def _changed(residual: Residual) -> Callable[[MiniMind], None]:
    return lambda model: set_residual(model, residual)


def _claims(results: Results, shallow: int, deep: int, said: bool) -> Iterator[Event]:
    both, none, one = (results.mean(f"{residual} {deep}") for residual in RESIDUALS)
    choice = 0 if one - both < 0.1 else 2 if none - one < 0.1 else 1
    yield Claim(
        "prediction",
        Text(
            f"around each {both:.2f}, around both {one:.2f}, none {none:.2f}",
            f"各绕一条 {both:.2f}，共绕一条 {one:.2f}，没有 {none:.2f}",
        ),
        {"choice": choice, "both": both, "one": one, "none": none, "layers": deep},
        True,
    )
    for name, layers in (("shallow", shallow), ("deep", deep)):
        yield Claim(
            f"two_beat_one_{name}",
            Text(f"With {layers} layers, two residuals beat one", f"{layers} 层时，两条残差胜过一条"),
            means(both=results.of(f"both {layers}"), one=results.of(f"one {layers}")),
            is_lower(results.of(f"both {layers}"), results.of(f"one {layers}")) if said else None,
        )
    yield Claim(
        "one_beats_none",
        Text("One residual is still better than none", "一条残差仍然好过没有"),
        means(one=results.of(f"one {deep}"), none=results.of(f"none {deep}")),
        is_lower(results.of(f"one {deep}"), results.of(f"none {deep}")) if said else None,
    )
