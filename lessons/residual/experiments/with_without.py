"""Residual connections and norms, each there or not: which deep stacks learn anything?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from minimind.events import Claim, Event, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results
from minimind.lab.floors import ngram_loss, uniform_loss
from minimind.lab.races import NAMES, Race, run_race, variant
from minimind.lab.text import byte_text
from minimind.lab.verdicts import agree, is_lower, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.blocks import set_residual
from minimind.model.variants.norms import replace_norms

SAID_STEPS = 80
CLEAR = 0.1
"""Nats below the byte frequencies that count as having learnt more than those."""
ARMS = {
    "both": Text("residual and norm", "残差和归一化"),
    "no_residual": Text("norm only", "只有归一化"),
    "no_norm": Text("residual only", "只有残差"),
    "neither": Text("neither", "都没有"),
}


def _without(*, residual: bool, norm: bool) -> Callable[[MiniMind], None]:
    def change(model: MiniMind) -> None:
        if not norm:
            replace_norms(model, "none")
        if not residual:
            set_residual(model, "none")

    return change


@experiment(
    title=Text("With and without a residual", "有残差和没有残差"),
    question=Text(
        "Take the residual connections out of a deep Transformer, or the norms, or both. What still learns?",
        "把深层 Transformer 的残差去掉，或把归一化去掉，或都去掉。哪些还能学？",
    ),
    parameters={
        "depth": Parameter(Text("layers", "层数"), low=1, high=32),
        "rate": Parameter(Text("learning rate", "学习率"), choices=(0.001, 0.003, 0.01)),
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=1000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 80},
    deep={"seeds": 5, "steps": 300, "depth": 16},
    smoke={"seeds": 1, "steps": 10, "depth": 2},
    predict=Text(
        "Twelve layers, a hundred steps. Which variants end clearly below the byte frequencies?",
        "十二层，一百步。哪些结构的损失会明显低于字节频率那条线？",
    ),
    choices=(
        Text("all four", "四种都会"),
        Text("all but the one with neither", "除了都没有的那种"),
        Text("the two with a residual", "有残差的两种"),
        Text("the two with a norm", "有归一化的两种"),
        Text("only the one with both", "只有两样都有的那种"),
        Text("another combination, or none", "其他组合，或都不会"),
    ),
    names={**NAMES, **ARMS},
)
def with_without(depth: int = 12, rate: float = 0.003, steps: int = 100, seeds: int = 3) -> Iterator[Event]:
    """Four arms from the same initial matrices, on the same batches."""
    settings = {"both": (True, True), "no_residual": (False, True), "no_norm": (True, False), "neither": (False, False)}
    arms = [
        Arm(
            name,
            variant("T0", _without(residual=residual, norm=norm), depth),
            {"residual": "yes" if residual else "no", "norm": "RMS" if norm else "none"},
        )
        for name, (residual, norm) in settings.items()
    ]
    results: Results = yield from run_race(Race(arms, steps, seeds, learning_rate=rate))
    yield from _claims(results, said=steps >= SAID_STEPS)


def _claims(results: Results, said: bool) -> Iterator[Event]:
    text = byte_text()
    frequencies = ngram_loss(text.train, text.held_out, 1)
    learnt = {name: agree([loss < frequencies - CLEAR for loss in results.of(name)]) is True for name in ARMS}
    patterns = {
        (True, True, True, True): 0,
        (True, True, True, False): 1,
        (True, False, True, False): 2,
        (True, True, False, False): 3,
        (True, False, False, False): 4,
    }
    found = patterns.get((learnt["both"], learnt["no_residual"], learnt["no_norm"], learnt["neither"]), 5)
    names = ", ".join(name for name, good in learnt.items() if good) or "—"
    yield Claim(
        "prediction", Text(f"below the frequencies: {names}", f"低于字节频率的：{names}"), {"choice": found}, True
    )
    yield Claim(
        "nothing_without_both",
        Text(
            "With neither the stack learns nothing: it stays at or above guessing evenly",
            "两样都没有，什么也学不到：停在均匀乱猜的水平或更差",
        ),
        means(neither=results.of("neither")) | {"uniform": uniform_loss()},
        agree([loss > uniform_loss() - CLEAR for loss in results.of("neither")]) if said else None,
    )
    yield Claim(
        "norm_alone_stalls",
        Text("With norms but no residual it learns byte frequencies at best", "只有归一化、没有残差，最多学到字节频率"),
        means(no_residual=results.of("no_residual"), both=results.of("both")) | {"frequencies": frequencies},
        agree([loss > frequencies - CLEAR for loss in results.of("no_residual")]) if said else None,
    )
    yield Claim(
        "residual_carries_it",
        Text("With the residual it learns, clearly more than without", "有了残差就学得动，明显胜过没有"),
        means(both=results.of("both"), no_residual=results.of("no_residual"), no_norm=results.of("no_norm")),
        is_lower(results.of("both"), results.of("no_residual"), CLEAR) if said else None,
    )
