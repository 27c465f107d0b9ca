"""Is knowledge in the feed-forward? Networks of equal size with and without one learn facts; then parts are silenced."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from minimind.events import Claim, Event, Heatmap, Level, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, differences, results_table, train_arms
from minimind.lab.feed_forward import facts_network, facts_plan, percents, recall_without
from minimind.lab.tasks import Facts
from minimind.lab.verdicts import agree
from minimind.model.variants.blocks import Sublayer

LAYERS = {"both": 2, "equal": 6, "half": 2}
KNOWN, SAID_STEPS = 0.95, 400
"""A recall that counts as knowing the facts, and the steps it takes until one may expect it."""
SUBLAYERS: tuple[Sublayer, ...] = ("attention", "feed_forward")
ARMS = {
    "both": Text("attention and feed-forward", "注意力和前馈"),
    "equal": Text("attention only, same size", "只有注意力，同样大小"),
    "half": Text("attention only, half the size", "只有注意力，一半大小"),
}


@experiment(
    title=Text("Where do facts live?", "事实存在哪里？"),
    question=Text(
        "Facts without rhyme or reason are to be known by heart. Can attention alone learn them, and which part of a "
        "trained network can it not do without?",
        "把毫无规律的事实背下来。只靠注意力能学会吗？训练好的网络离不开哪一部分？",
    ),
    parameters={
        "facts_count": Parameter(Text("facts", "事实数"), low=32, high=2000),
        "steps": Parameter(Text("training steps", "训练步数"), low=5, high=4000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 480},
    deep={"seeds": 5, "steps": 1500, "facts_count": 1000},
    smoke={"seeds": 1, "steps": 10},
    predict=Text(
        "600 random facts. Attention with a feed-forward learns them. What about a network of the same size made of "
        "attention alone?",
        "600 条随机事实。带前馈的网络能学会。同样大小、只有注意力的网络呢？",
    ),
    choices=(
        Text("hardly better than guessing", "比瞎猜好不了多少"),
        Text("about half of them", "大约一半"),
        Text("nearly all of them", "几乎全部"),
    ),
    names={
        "loss": Text("Training loss", "训练损失"),
        "loss_held_out": Text("Share of facts known", "记住的事实比例"),
        "step": Text("step", "步"),
        "chance": Text("guessing", "瞎猜"),
        **ARMS,
    },
)
def facts(facts_count: int = 600, steps: int = 600, seeds: int = 3) -> Iterator[Event]:
    """Three networks learn the same facts; then each sublayer of the first is silenced, one at a time."""
    task = Facts(count=facts_count)
    arms = [
        Arm(
            name,
            facts_network(task, layers, "relu" if name == "both" else "none"),
            {"feed-forward": "×4" if name == "both" else "none", "layers": str(layers)},
        )
        for name, layers in LAYERS.items()
    ]
    yield differences(arms)
    yield Level("loss_held_out", "chance", 1 / task.answers)
    yield Level("loss", "chance", math.log(task.answers))
    plan = facts_plan(task, steps, seeds)
    damage = {
        f"{sublayer}_{layer}": recall_without(task, layer, sublayer)
        for layer in range(LAYERS["both"])
        for sublayer in SUBLAYERS
    }
    results: Results = yield from train_arms(arms, replace(plan, measures={**plan.measures, **damage}))
    recall = Results({"recall": results.measured["recall"]})
    title = Text("Share of the facts that is known", "记住的事实比例")
    yield results_table(arms, recall, title, {"recall": Text("mean over seeds", "各种子平均")})
    yield _picture(results)
    sizes = {arm.name: arm.build(0).parameter_count() for arm in arms}
    yield from _claims(results, sizes, 1 / task.answers, said=steps >= SAID_STEPS)


def _picture(results: Results) -> Event:
    rows = tuple(
        tuple(results.mean("both", f"{sublayer}_{layer}") for sublayer in SUBLAYERS) for layer in range(LAYERS["both"])
    )
    title = Text("Facts still known when a sublayer is silenced (rows: layers)", "去掉一个子层后还记得的事实（行是层）")
    labels = tuple(f"L{layer + 1}" for layer in range(LAYERS["both"]))
    return Heatmap("silenced", rows, labels, ("attention", "feed-forward"), low=0.0, high=1.0, title=title)


def _claims(results: Results, sizes: dict[str, int], chance: float, *, said: bool) -> Iterator[Event]:
    alone = results.mean("equal")
    choice = 2 if alone > 0.8 else 1 if alone > 0.25 else 0
    yield Claim(
        "prediction",
        Text(f"{alone:.0%} of the facts", f"{alone:.0%} 的事实"),
        {"choice": choice},
        True if said else None,
    )
    yield Claim(
        "attention_alone_learns",
        Text(
            "Attention alone, with as many parameters, knows the facts just as well",
            "同样多的参数，只用注意力，也能把事实背下来",
        ),
        percents(both=results.of("both"), equal=results.of("equal"))
        | {"both_size": sizes["both"], "equal_size": sizes["equal"], "chance": 100 * chance},
        agree([recall > KNOWN for recall in results.of("equal")]) if said else None,
    )
    yield Claim(
        "half_is_enough",
        Text("Even half the parameters suffice, in attention alone", "只用注意力，一半的参数也够"),
        percents(half=results.of("half")) | {"half_size": sizes["half"]},
        agree([recall > KNOWN for recall in results.of("half")]) if said else None,
    )
    left = {
        f"{sublayer}_{layer + 1}": results.of("both", f"{sublayer}_{layer}")
        for layer in range(LAYERS["both"])
        for sublayer in SUBLAYERS
    }
    yield Claim(
        "no_single_home",
        Text(
            "Whichever sublayer is silenced, attention or feed-forward, at least one fact in ten is lost",
            "无论去掉哪个子层，注意力也好，前馈也好，至少丢掉十分之一的事实",
        ),
        percents(**left),
        agree([recall < 0.9 for recalls in left.values() for recall in recalls]) if said else None,
    )
    firsts = [*left["attention_1"], *left["feed_forward_1"]]
    yield Claim(
        "both_kinds_carry_it",
        Text(
            "Without the first attention, or without the first feed-forward, more than a third is lost",
            "去掉第一层的注意力，或去掉第一层的前馈，都会丢掉三分之一以上",
        ),
        percents(attention=left["attention_1"], feed_forward=left["feed_forward_1"]),
        agree([recall < 2 / 3 for recall in firsts]) if said else None,
    )
