"""Does subtracting the mean help a Transformer? RMSNorm against LayerNorm, with and without its bias."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial

from torch import nn

from minimind.events import Claim, Event, Level, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, differences, on_text, results_table, train_arms
from minimind.lab.floors import ngram_loss
from minimind.lab.text import byte_text
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import means
from minimind.model.transformer import MiniMind
from minimind.model.variants.norms import replace_norms

TOLERANCE = 0.1
"""Nats; less than this between two arms is not called a difference."""
SAID_STEPS = 100


def layer_without_bias(model: MiniMind) -> None:
    """LayerNorm that cannot shift: its bias is taken away."""
    replace_norms(model, "layer")
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.register_parameter("bias", None)


CHANGES: dict[str, Callable[[MiniMind], None]] = {
    "rms": lambda model: replace_norms(model, "rms"),
    "layer": lambda model: replace_norms(model, "layer"),
    "layer_no_bias": layer_without_bias,
}


@experiment(
    title=Text("With or without the mean", "减不减均值"),
    question=Text(
        "RMSNorm leaves the mean alone. Does a Transformer miss it?",
        "RMSNorm 不管均值。Transformer 会因此变差吗？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=1000),
        "rate": Parameter(Text("learning rate", "学习率"), choices=(0.001, 0.003, 0.01)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 120},
    deep={"seeds": 5, "steps": 600},
    smoke={"seeds": 1, "steps": 10},
    predict=Text(
        "Same model, same batches, only the norm differs. Which ends with the lower loss on held-out text?",
        "模型、数据完全相同，只有归一化不同。哪个在留出文本上的损失更低？",
    ),
    choices=(
        Text("RMSNorm, clearly", "RMSNorm，明显更低"),
        Text("LayerNorm, clearly", "LayerNorm，明显更低"),
        Text("no clear difference", "没有明显差别"),
    ),
    names={
        "rms": Text("RMSNorm", "RMSNorm"),
        "layer": Text("LayerNorm", "LayerNorm"),
        "layer_no_bias": Text("LayerNorm, no bias", "LayerNorm，无偏置"),
        "loss": Text("Training loss (nats a byte)", "训练损失（nats/字节）"),
        "step": Text("step", "步"),
        "bigram": Text("bigram", "二元模型"),
    },
)
def recenter(steps: int = 200, rate: float = 0.003, seeds: int = 3) -> Iterator[Event]:
    """Train the three side by side on bytes."""
    text = byte_text()
    arms = [Arm(name, partial(_build, change), {"norm": name}, rate) for name, change in CHANGES.items()]
    yield differences(arms)
    yield Level("loss", "bigram", ngram_loss(text.train, text.held_out, 2))
    results: Results = yield from train_arms(arms, on_text(text, steps, seeds=seeds))
    yield results_table(
        arms,
        results,
        Text("Held-out loss (nats a byte)", "留出集损失（nats/字节）"),
        {"held_out": Text("mean", "平均")},
    )
    yield from _claims(results, steps)


def _build(change: Callable[[MiniMind], None], seed: int) -> MiniMind:
    return tiny_model("T1", seed=seed, change=change)


def _claims(results: Results, steps: int) -> Iterator[Event]:
    rms, layer, plain = (results.of(name) for name in ("rms", "layer", "layer_no_bias"))
    said = steps >= SAID_STEPS
    close = _close_on_average(rms, layer)
    lower = 2 if close else 0 if results.mean("rms") < results.mean("layer") else 1
    yield Claim(
        "prediction",
        Text("no clear difference", "没有明显差别") if lower == 2 else Text("a clear difference", "有明显差别"),
        {"choice": lower},
        True,
    )
    yield Claim(
        "the_mean_does_not_matter",
        Text(
            "On average over the seeds RMSNorm and LayerNorm end within a tenth of a nat of each other",
            "对各种子取平均，RMSNorm 与 LayerNorm 最后相差不到 0.1 nats",
        ),
        means(rms=rms, layer=layer),
        close if said else None,
    )
    yield Claim(
        "nor_does_the_bias",
        Text("Nor does LayerNorm's bias make a clear difference", "LayerNorm 的偏置也没有造成明显差别"),
        means(layer=layer, layer_no_bias=plain),
        _close_on_average(layer, plain) if said else None,
    )


def _close_on_average(first: list[float], second: list[float]) -> bool:
    """Whether the means over seeds are closer than the tolerance: single seeds differ by as much as that."""
    return abs(statistics.fmean(first) - statistics.fmean(second)) < TOLERANCE
