"""Copying with a period nobody is told: how many layers, heads and positions does it need, and what do heads do?

Every arm is the same small network but for one setting, reads the same sequences and takes the same steps.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any

import torch

from minimind.events import Claim, Event, Level, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, differences, results_table, train_arms
from minimind.lab.attention import on_one_before, on_what_followed, share_on, weights_picture
from minimind.lab.tasks import HELD_OUT_SEED, Induction, TaskPlan, plan, task_model
from minimind.lab.verdicts import agree, means
from minimind.model.probe import attention_weights
from minimind.model.transformer import MiniMind
from minimind.model.variants.positions import set_positions

SAID_STEPS = 180
"""With fewer steps copying may not have begun: comparisons stay undecided."""
LAYERS = "num_hidden_layers"
HEADS = "num_attention_heads"


@experiment(
    title=Text("Copying without being told the period", "不告诉周期的复制"),
    question=Text(
        "A run of random tokens, again and again. Who can say what comes next?",
        "一串随机词元，一遍又一遍。谁说得出下一个是什么？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=1000),
        "longest": Parameter(Text("longest period", "最长周期"), choices=(8, 12, 16, 24)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 180},
    deep={"seeds": 5, "steps": 600},
    smoke={"seeds": 1, "steps": 20},
    predict=Text(
        "How often is a network of ONE layer right, after as many steps as two layers need to be nearly perfect?",
        "两层的网络练到几乎全对时，练了同样步数的一层网络能答对多少？",
    ),
    choices=(
        Text("nearly always", "几乎全对"),
        Text("about half the time", "大约一半"),
        Text("about one time in five", "大约五分之一"),
        Text("one time in 32: it guesses", "三十二分之一：纯靠猜"),
    ),
    names={
        "loss": Text("Training loss", "训练损失"),
        "loss_held_out": Text("Right answers (share)", "答对的比例"),
        "accuracy": Text("right answers", "答对的比例"),
        "2 layers": Text("2 layers", "两层"),
        "1 layer": Text("1 layer", "一层"),
        "1 head": Text("1 head a layer", "每层一个头"),
        "no positions": Text("no positions", "无位置信息"),
        "guess in the run": Text("guess in the run", "在这串里猜"),
    },
)
def induction(steps: int = 300, longest: int = 16, seeds: int = 3) -> Iterator[Event]:
    """Train four networks on repeated random runs; then look at what the heads of the first one look at."""
    task = Induction(longest=longest, shortest=4)
    arms = _arms(task)
    yield differences(arms)
    floor = _guessing(task)
    yield Level("loss_held_out", "guess in the run", floor)
    held_out, _ = task.draw(torch.Generator().manual_seed(HELD_OUT_SEED), 64)  # [batch, time]
    settings = TaskPlan(
        steps,
        seeds,
        learning_rate=5e-3,
        evaluate_every=max(5, steps // 10),
        held_out=64,
        measures={
            "previous": lambda model: float(share_on(model, held_out, on_one_before(held_out))[0].max()),
            "induction": lambda model: float(share_on(model, held_out, on_what_followed(held_out))[-1].max()),
        },
    )
    results = yield from train_arms(arms, plan(task, settings))
    labels = {
        "accuracy": Text("right", "答对"),
        "previous": Text("one before", "看前一个"),
        "induction": Text("after last time", "看上次之后"),
    }
    yield results_table(arms, results, Text("After training", "训练之后"), labels)
    yield from _pictures(results.models["2 layers"], task)
    yield from _claims(results, floor, steps >= SAID_STEPS)


def _arms(task: Induction) -> list[Arm]:
    """The first has two layers of two heads and rotary positions; each of the others differs in one of these."""
    same: dict[str, Any] = {HEADS: 2, "num_key_value_heads": 2, "intermediate_size": 64}

    def without_positions(model: MiniMind) -> None:
        set_positions(model, "none")

    return [
        Arm(
            "2 layers",
            lambda seed: task_model(task, seed=seed, **same),
            {LAYERS: "2", HEADS: "2", "positions": "rotary"},
        ),
        Arm("1 layer", lambda seed: task_model(task, seed=seed, **same, num_hidden_layers=1), {LAYERS: "1"}),
        Arm(
            "1 head",
            lambda seed: task_model(task, seed=seed, **(same | {HEADS: 1, "num_key_value_heads": 1})),
            {HEADS: "1"},
        ),
        Arm(
            "no positions",
            lambda seed: task_model(task, seed=seed, change=without_positions, **same),
            {"positions": "none"},
        ),
    ]


def _guessing(task: Induction) -> float:
    """How often a random token of the run is right, averaged over the positions that are asked."""
    periods = range(task.shortest, task.longest + 1)
    asked = [task.time - period for period in periods]
    return sum(count / period for count, period in zip(asked, periods, strict=True)) / sum(asked)


def _pictures(model: MiniMind, task: Induction) -> Iterator[Event]:
    """The head that most looks one back, and the one that most looks after the last time, on one sequence."""
    one = Induction(task.vocabulary, 18, 6, 6)
    tokens, _ = one.draw(torch.Generator().manual_seed(1), 1)  # [1, time]
    names = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"
    labels = [names[token] for token in tokens[0].tolist()]
    weights = attention_weights(model, tokens)  # layers × [1, heads, time, time]
    for layer, targets, title in (
        (0, on_one_before(tokens), Text("Layer 1: the head that looks one back", "第 1 层：看前一个的头")),
        (-1, on_what_followed(tokens), Text("Layer 2: the induction head", "第 2 层：归纳头")),
    ):
        head = int(share_on(model, tokens, targets)[layer].argmax())
        yield weights_picture(f"head_{layer}", weights[layer][0, head], labels, title)


def _claims(results: Results, floor: float, said: bool) -> Iterator[Event]:
    two, one, head, none = (results.of(arm) for arm in ("2 layers", "1 layer", "1 head", "no positions"))
    share = statistics.fmean(one)
    choice = 0 if share > 0.8 else 1 if share > 0.35 else 2 if share > 0.08 else 3
    yield Claim("prediction", Text(f"one layer: {share:.0%}", f"一层：{share:.0%}"), {"choice": choice}, True)
    yield Claim(
        "two_layers_copy",
        Text("Two layers learn to copy: more than nine in ten are right", "两层学会了复制：十个里对九个以上"),
        means(accuracy=two),
        agree([value > 0.9 for value in two]) if said else None,
    )
    yield Claim(
        "one_layer_does_not",
        Text("One layer stays below one in three", "一层始终不到三分之一"),
        means(accuracy=one) | {"guessing": floor},
        agree([value < 1 / 3 for value in one]) if said else None,
    )
    yield Claim(
        "one_head_is_enough",
        Text("One head a layer copies as well as two", "每层一个头，复制得和两个头一样好"),
        means(accuracy=head),
        agree([value > 0.9 for value in head]) if said else None,
    )
    yield Claim(
        "positions_help",
        Text(
            "Without positions it is learnt by far more slowly, but better than by one layer",
            "没有位置信息，学得慢得多，但仍好过一层",
        ),
        means(accuracy=none),
        agree([b < n < a - 0.2 for a, b, n in zip(two, one, none, strict=True)]) if said else None,
    )
    yield from _claims_on_heads(results, said)


def _claims_on_heads(results: Results, said: bool) -> Iterator[Event]:
    previous, after = results.of("2 layers", "previous"), results.of("2 layers", "induction")
    yield Claim(
        "two_heads_work_together",
        Text(
            "In layer 1 a head looks one back; in layer 2 one looks at what followed this token last time",
            "第 1 层有个头看前一个词元；第 2 层有个头看这个词元上次出现之后的那个",
        ),
        means(previous=previous, induction=after),
        agree([p > 0.3 and a > 0.5 for p, a in zip(previous, after, strict=True)]) if said else None,
    )
    losses = [loss for _, loss in results.curves["2 layers"]]
    window = max(1, len(losses) // 3)
    steepest = max(losses[i] - losses[i + window] for i in range(len(losses) - window))
    share = steepest / (losses[0] - min(losses))
    yield Claim(
        "it_comes_suddenly",
        Text(
            "Most of the loss of two layers falls within a third of the steps",
            "两层的损失，大半是在三分之一的步数里降下去的",
        ),
        {"share": share},
        share > 0.6 if said else None,
    )
    yield Table(
        "shares",
        (Text("head", "头"), Text("weight", "权重")),
        (("one before", statistics.fmean(previous)), ("after last time", statistics.fmean(after))),
        Text("Where two layers look", "两层的网络在看哪里"),
    )
