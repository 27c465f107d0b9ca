"""Attention first, feed-forward first, both at once, or attentions low and feed-forwards high: does the order matter?

The four networks have the same parameters; only the order in which they run their sublayers differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import get_args

from minimind.events import Claim, Event, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results
from minimind.lab.races import NAMES, Race, bigram_loss, run_race, variant
from minimind.lab.verdicts import agree, is_lower, means
from minimind.model.variants.arrangement import Order
from minimind.model.variants.blocks import set_order

ORDERS: tuple[Order, ...] = get_args(Order)
CLEAR = 0.1
"""Nats; a smaller difference from the usual order is not called clear."""
SAID_STEPS = 200


@experiment(
    title=Text("Which part first?", "哪个部件在先？"),
    question=Text(
        "Attention, then feed-forward: is that order a law or a habit?",
        "先注意力、后前馈：这个顺序是定律，还是习惯？",
    ),
    parameters={
        "layers": Parameter(Text("layers", "层数"), choices=(2, 4, 6)),
        "steps": Parameter(Text("training steps", "训练步数"), low=5, high=2000),
        "rate": Parameter(Text("learning rate", "学习率"), choices=(0.001, 0.003, 0.01)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 360, "layers": 2},
    deep={"seeds": 5, "steps": 1600},
    smoke={"seeds": 1, "steps": 5, "layers": 2},
    predict=Text(
        "Four orders of the same parts, with the same parameters. Where does attention first, the usual one, end up?",
        "同样的部件、同样的参数，四种顺序。通常的“注意力在先”会排在哪里？",
    ),
    choices=(
        Text("clearly first: the others are 0.1 nats behind or more", "明显第一：其余都落后 0.1 nats 以上"),
        Text("clearly last", "明显最后"),
        Text("in the field: some other order is as good or better", "在中间：另有顺序不比它差"),
    ),
    names={
        **NAMES,
        "attention_first": Text("attention first", "注意力在先"),
        "feed_forward_first": Text("feed-forward first", "前馈在先"),
        "parallel": Text("parallel", "并行"),
        "sandwich": Text("sandwich", "夹心"),
    },
)
def sublayer_order(layers: int = 4, steps: int = 450, rate: float = 0.003, seeds: int = 3) -> Iterator[Event]:
    """Train the four side by side on bytes of the embedded corpus."""
    arms = [Arm(order, variant("T0", partial(set_order, order=order), layers), {"order": order}) for order in ORDERS]
    results = yield from run_race(Race(arms, steps, seeds, learning_rate=rate))
    yield from _claims(results, steps >= SAID_STEPS)


def _claims(results: Results, said: bool) -> Iterator[Event]:
    usual, *others = ORDERS
    ahead = {order: results.mean(order) - results.mean(usual) for order in others}
    place = 0 if min(ahead.values()) > CLEAR else 1 if max(ahead.values()) < -CLEAR else 2
    best = min(ORDERS, key=results.mean)
    yield Claim(
        "prediction",
        Text(f"lowest loss: {best.replace('_', ' ')}", f"损失最低：{best}"),
        {"choice": place, **{order: results.mean(order) for order in ORDERS}},
        True,
    )
    swapped = is_lower(results.of(usual), results.of("feed_forward_first"))
    yield Claim(
        "feed_forward_first_is_no_worse",
        Text(
            "Feed-forward first is no worse than attention first: that order is a convention",
            "前馈在先并不比注意力在先差：顺序是约定",
        ),
        means(attention_first=results.of(usual), feed_forward_first=results.of("feed_forward_first")),
        swapped is not True if said else None,
    )
    yield Claim(
        "parallel_is_no_worse",
        Text(
            "Nor is running both side by side, which leaves them to be computed at the same time",
            "并行也不更差，而且两个部件可以同时计算",
        ),
        means(attention_first=results.of(usual), parallel=results.of("parallel")),
        is_lower(results.of(usual), results.of("parallel")) is not True if said else None,
    )
    bigram = bigram_loss()
    yield Claim(
        "every_order_beats_pairs",
        Text("In every order the network beats counting pairs", "无论哪种顺序，网络都胜过数字节对"),
        {"worst": max(max(results.of(order)) for order in ORDERS), "bigram": bigram},
        agree([loss < bigram for order in ORDERS for loss in results.of(order)]) if said else None,
    )
