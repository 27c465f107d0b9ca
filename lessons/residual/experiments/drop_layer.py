"""What happens when one layer is left out after training? Networks with a residual connection and without."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from minimind.events import Claim, Event, Level, Note, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, differences, on_text, train_arms, trained_copy
from minimind.lab.floors import uniform_loss
from minimind.lab.races import NAMES, variant
from minimind.lab.text import byte_text, evaluate
from minimind.lab.verdicts import agree, is_lower, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.blocks import set_residual

SAID_STEPS = 200
ARMS = {"residual": Text("with residual", "有残差"), "none": Text("without", "没有残差")}


@experiment(
    title=Text("Leave one layer out", "抽掉一层"),
    question=Text(
        "Train a network, then skip one of its layers. How much worse does it get?",
        "训练好一个网络，再跳过其中一层。它会变差多少？",
    ),
    parameters={
        "depth": Parameter(Text("layers", "层数"), low=2, high=12),
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=1500),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 250},
    deep={"seeds": 5, "steps": 900},
    smoke={"seeds": 1, "steps": 10, "depth": 2},
    predict=Text(
        "A trained network with residual connections loses one of its middle layers. It is then …",
        "训练好的、带残差的网络，抽掉中间一层。之后它……",
    ),
    choices=(
        Text("no better than guessing evenly", "不比均匀乱猜强"),
        Text("clearly worse, but far from guessing", "明显变差，但远好于乱猜"),
        Text("as good as before", "和原来一样好"),
    ),
    names={**NAMES, **ARMS},
)
def drop_layer(depth: int = 4, steps: int = 400, seeds: int = 3) -> Iterator[Event]:
    """Train both networks, then judge each of them without its first, second, … layer."""
    text = byte_text()
    arms = [
        Arm("residual", variant("T0", None, depth), {"residual": "yes"}),
        Arm("none", variant("T0", lambda model: set_residual(model, "none"), depth), {"residual": "no"}),
    ]
    yield differences(arms)
    yield Level("loss", "uniform", uniform_loss())
    plan = on_text(text, steps, seeds=seeds, batch=8, time=32)
    batches = text.evaluation(8, 32)
    dissections = {_name(layer): partial(_loss_without, batches, layer) for layer in range(depth)}
    plan = replace(plan, measures={**plan.measures, **dissections})
    results: Results = yield from train_arms(arms, plan)
    yield _table(results, depth)
    yield Note(
        Text(
            "A skipped layer hands its input on unchanged. With a residual connection that is what it nearly does anyway.",
            "被跳过的层把输入原样传下去。有残差时，它本来做的就和这差不多。",
        )
    )
    yield from _claims(results, depth, said=steps >= SAID_STEPS)


def _name(layer: int) -> str:
    return f"without_{layer + 1}"


def _loss_without(batches: list[tuple[Tensor, Tensor]], layer: int, model: MiniMind) -> float:
    """The held-out loss of `model` with one of its layers skipped."""
    cut = trained_copy(model)
    cut.model.layers[layer] = Skipped()
    return evaluate(cut, batches)


class Skipped(nn.Module):
    """A layer that hands the stream on unchanged."""

    def forward(self, x: Tensor, *_context: object) -> Tensor:
        """`x` [batch, time, hidden], as it is."""
        return x


def _damage(results: Results, arm: str, layer: int) -> list[float]:
    """By how much each seed's loss rises without that layer."""
    pairs = zip(results.of(arm, _name(layer)), results.of(arm, "held_out"), strict=True)
    return [without - whole for without, whole in pairs]


def _table(results: Results, depth: int) -> Event:
    columns = (
        Text("arm", "组"),
        Text("whole", "完整"),
        *(Text(f"without {layer + 1}", f"缺第 {layer + 1} 层") for layer in range(depth)),
    )
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (
            name,
            f"{results.mean(name, 'held_out'):.2f}",
            *(f"{statistics.fmean(_damage(results, name, layer)):+.2f}" for layer in range(depth)),
        )
        for name in ARMS
    )
    return Table(
        "damage",
        columns,
        rows,
        Text("Held-out loss, and what skipping a layer adds", "留出集损失，以及跳过某层会增加多少"),
    )


def _claims(results: Results, depth: int, said: bool) -> Iterator[Event]:
    middle = range(1, depth) if depth > 2 else range(depth)
    whole = results.of("residual", "held_out")
    typical = statistics.fmean([statistics.fmean(_damage(results, "residual", layer)) for layer in middle])
    left = uniform_loss() - statistics.fmean(whole)
    choice = 0 if typical > 0.9 * left else 2 if typical < 0.02 else 1
    yield Claim("prediction", Text(f"{typical:+.2f} nats", f"{typical:+.2f} nats"), {"choice": choice}, True)
    largest = [max(_damage(results, "residual", layer)[seed] for layer in middle) for seed in range(len(whole))]
    yield Claim(
        "survives_the_loss_of_a_layer",
        Text(
            "With residual connections no single layer after the first takes it back to guessing",
            "有残差时，抽掉第一层之后的任何一层，都不会退回乱猜",
        ),
        means(whole=whole, largest_damage=largest) | {"uniform": uniform_loss()},
        agree([loss + damage < uniform_loss() - 1 for loss, damage in zip(whole, largest, strict=True)])
        if said
        else None,
    )
    first = _damage(results, "residual", 0)
    later = [
        statistics.fmean(_damage(results, "residual", layer)[seed] for layer in middle) for seed in range(len(whole))
    ]
    yield Claim(
        "the_first_layer_matters_most",
        Text("The first layer is missed most", "最缺不得的是第一层"),
        means(first=first, others=later),
        is_lower(later, first) if said else None,
    )
    empty = [
        statistics.fmean(_damage(results, "none", layer)[seed] for layer in range(depth - 1))
        for seed in range(len(whole))
    ]
    yield Claim(
        "without_a_residual_only_the_last_layer_learnt",
        Text(
            "Without residual connections only the last layer had learnt anything: leaving out any other changes nothing",
            "没有残差时，只有最后一层学到了东西：抽掉其他任何一层都没有变化",
        ),
        means(others=empty, last=_damage(results, "none", depth - 1), whole=results.of("none", "held_out")),
        agree([abs(damage) < 0.05 for damage in empty]) if said else None,
    )
