"""Does each part of the block earn its place? Take one out at a time and train what is left.

Nine networks: the whole one, and eight that lack one part. Same first weights where a tensor is in both, same batches,
steps and learning rate. What is taken out is not replaced, so two of them are smaller: the table says by how much.
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
from minimind.model.variants.blocks import Part, remove_part

WHOLE = "whole"
PARTS: tuple[Part, ...] = get_args(Part)
PART_NAMES: dict[str, Text] = {
    WHOLE: Text("whole block", "完整的块"),
    "attention": Text("no attention", "无注意力"),
    "feed_forward": Text("no feed-forward", "无前馈"),
    "input_norm": Text("no norm 1", "无归一化 1"),
    "post_attention_norm": Text("no norm 2", "无归一化 2"),
    "attention_residual": Text("no residual 1", "无残差 1"),
    "feed_forward_residual": Text("no residual 2", "无残差 2"),
    "positions": Text("no positions", "无位置"),
    "final_norm": Text("no last norm", "无末层归一化"),
}
ANSWERS: tuple[Part, ...] = ("attention", "feed_forward", "attention_residual", "positions")
SAID_STEPS = 200
"""With fewer steps the networks have hardly learnt: comparisons stay undecided."""


@experiment(
    title=Text("One part missing", "少一个部件"),
    question=Text(
        "Take one part out of the block at a time. Which does the network miss most?",
        "每次从块里拿掉一个部件。网络最离不开哪一个？",
    ),
    parameters={
        "layers": Parameter(Text("layers", "层数"), choices=(1, 2, 4)),
        "steps": Parameter(Text("training steps", "训练步数"), low=5, high=1500),
        "rate": Parameter(Text("learning rate", "学习率"), choices=(0.001, 0.003, 0.01)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 200},
    deep={"seeds": 5, "steps": 1000},
    smoke={"seeds": 1, "steps": 5},
    predict=Text(
        "One part is taken out of both layers, and the rest is trained on text. Which loss raises the held-out loss most?",
        "从两层里都拿掉同一个部件，剩下的在文本上训练。拿掉哪个，留出集损失升得最高？",
    ),
    choices=(
        Text("the attention", "注意力"),
        Text("the feed-forward", "前馈层"),
        Text("the residual connection around the attention", "绕过注意力的残差连接"),
        Text("the positions", "位置信息"),
    ),
    names={**NAMES, **PART_NAMES},
)
def remove_one_part(layers: int = 2, steps: int = 360, rate: float = 0.003, seeds: int = 3) -> Iterator[Event]:
    """Train the nine side by side on bytes of the embedded corpus."""
    arms = [Arm(WHOLE, variant("T0", None, layers), {"missing": "-"})]
    arms += [Arm(part, variant("T0", partial(remove_part, part=part), layers), {"missing": part}) for part in PARTS]
    results = yield from run_race(Race(arms, steps, seeds, learning_rate=rate))
    yield from _claims(results, steps >= SAID_STEPS)


def _claims(results: Results, said: bool) -> Iterator[Event]:
    cost = {part: results.mean(part) - results.mean(WHOLE) for part in PARTS}
    worst = max(ANSWERS, key=cost.__getitem__)
    name = PART_NAMES[worst]
    yield Claim(
        "prediction",
        Text(f"{name.en}: {cost[worst]:+.2f} nats a byte", f"{name.zh}：{cost[worst]:+.2f} nats/字节"),
        {"choice": ANSWERS.index(worst), **{f"cost_{part}": cost[part] for part in PARTS}},
        True,
    )
    order = [is_lower(results.of(WHOLE), results.of(part)) for part in ("attention", "feed_forward", "positions")]
    yield Claim(
        "every_sublayer_counts",
        Text(
            "Without attention, without feed-forward or without positions the network predicts worse",
            "没有注意力、没有前馈或没有位置信息，网络都预测得更差",
        ),
        means(**{part: results.of(part) for part in (WHOLE, "attention", "feed_forward", "positions")}),
        _all(order) if said else None,
    )
    yield Claim(
        "a_way_around_matters_more_than_what_it_leads_around",
        Text(
            "Attention without a residual connection around it is worse than no attention at all",
            "有注意力却没有绕过它的残差，比干脆没有注意力还差",
        ),
        means(without_residual=results.of("attention_residual"), without_attention=results.of("attention")),
        is_lower(results.of("attention"), results.of("attention_residual")) if said else None,
    )
    yield Claim(
        "the_second_residual_is_missed_less",
        Text(
            "The residual around the feed-forward is missed far less than the one around the attention",
            "绕过前馈的残差，远没有绕过注意力的那条要紧",
        ),
        means(first=results.of("attention_residual"), second=results.of("feed_forward_residual")),
        is_lower(results.of("feed_forward_residual"), results.of("attention_residual"), 0.3) if said else None,
    )
    norms, sublayers = ("input_norm", "post_attention_norm"), ("attention", "feed_forward")
    yield Claim(
        "a_norm_is_missed_less_than_what_reads_it",
        Text(
            "At this depth, either norm of the block is missed less than either of its sublayers",
            "在这个深度，块里少任何一个归一化，都不如少任何一个子层要紧",
        ),
        means(**{part: results.of(part) for part in (*norms, *sublayers)}),
        _all([is_lower(results.of(norm), results.of(part)) for norm in norms for part in sublayers]) if said else None,
    )
    bigram = bigram_loss()
    yield Claim(
        "without_attention_it_cannot_beat_pairs",
        Text(
            "Without attention each position knows one byte: the network cannot beat counting pairs",
            "没有注意力，每个位置只知道一个字节：网络胜不过数字节对",
        ),
        {**means(without_attention=results.of("attention")), "bigram": bigram},
        agree([loss > bigram for loss in results.of("attention")]),
    )


def _all(verdicts: list[bool | None]) -> bool | None:
    """True where all are, False where one is, else undecided."""
    return False if False in verdicts else None if None in verdicts else True
