"""What do more heads buy? On a task that needs two places at once, in one layer and in two; and on text.

The width, and with it every matrix, is the same for any number of heads; only the cut into heads differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from minimind.events import Claim, Event, Level, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, differences, on_text, results_table, train_arms
from minimind.lab.attention import byte_labels, weights_picture
from minimind.lab.floors import ngram_loss
from minimind.lab.stages import stage
from minimind.lab.tasks import TaskPlan, TwoSources, plan, task_model
from minimind.lab.text import ByteText, byte_text
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import NOISE, agree, is_lower, means
from minimind.model.probe import attention_weights
from minimind.model.transformer import MiniMind

HEADS = (1, 4, 8)
NUMBER = "num_attention_heads"
TIME, BATCH = 32, 8
SAID_STEPS = 150
"""With fewer steps the comparisons stay undecided."""


@experiment(
    title=Text("How many heads?", "要几个头？"),
    question=Text(
        "The same width, cut into 1, 4 or 8 heads. Can one head look at two places at once? Do more heads help?",
        "同样的宽度，切成 1、4、8 个头。一个头能同时看两个地方吗？头多有好处吗？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=2000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 180},
    deep={"seeds": 5, "steps": 1200},
    smoke={"seeds": 1, "steps": 10},
    predict=Text(
        "The label depends on the symbols one AND three places back; either alone gives about one in three. "
        "How often is ONE layer with ONE head right?",
        "标签同时取决于前 1 个和前 3 个符号；只知道其中一个，大约能对三分之一。一层、一个头能答对多少？",
    ),
    choices=(
        Text("one in 8: it guesses", "八分之一：纯靠猜"),
        Text("about a third: it sees one of the two", "大约三分之一：两个里只看得到一个"),
        Text("about half", "大约一半"),
        Text("nearly always", "几乎全对"),
    ),
    names={
        "two_sources": Text("Two sources: training loss", "两个来源：训练损失"),
        "two_sources_held_out": Text("Two sources: right answers (share)", "两个来源：答对的比例"),
        "loss": Text("Text: training loss (nats a byte)", "文本：训练损失（nats/字节）"),
        "accuracy": Text("right answers", "答对的比例"),
        "byte pairs": Text("byte pairs", "字节对"),
        "one source": Text("one source only", "只知道一个来源"),
        "2 layers": Text("2 layers, 1 head", "两层，一个头"),
        "1 head": Text("1 head", "1 个头"),
        **{f"{count} heads": Text(f"{count} heads", f"{count} 个头") for count in HEADS[1:]},
    },
)
def head_count(steps: int = 400, seeds: int = 3) -> Iterator[Event]:
    """Train one head, four heads, and one head in two layers on two sources; then 1, 4 and 8 heads on text."""
    task = TwoSources()
    looking = [
        Arm("1 head", _looking(task, heads=1, layers=1), {NUMBER: "1", "num_hidden_layers": "1"}),
        Arm("4 heads", _looking(task, heads=4, layers=1), {NUMBER: "4"}),
        Arm("2 layers", _looking(task, heads=1, layers=2), {"num_hidden_layers": "2"}),
    ]
    yield differences(looking)
    yield Level("two_sources_held_out", "one source", task.best_of_one())
    settings = TaskPlan(steps, seeds, learning_rate=5e-3, evaluate_every=max(5, steps // 10), held_out=64)
    looked_up = yield from stage(train_arms(looking, replace(plan(task, settings), chart="two_sources")), 0, 2)
    title = Text("Two sources at once", "同时看两个来源")
    yield results_table(looking, looked_up, title, {"accuracy": Text("right", "答对")})

    text = byte_text()
    reading = [Arm(_name(heads), _reading(heads), {NUMBER: str(heads)}) for heads in HEADS]
    yield Level("loss", "byte pairs", ngram_loss(text.train, text.held_out, 2))
    read = yield from stage(train_arms(reading, on_text(text, steps, seeds=seeds, batch=BATCH, time=TIME)), 1, 2)
    labels = {"held_out": Text("nats a byte", "nats/字节")}
    yield results_table(reading, read, Text("Text: held-out loss", "文本：留出损失"), labels)
    yield from _pictures(read, text)
    yield from _claims(looked_up, read, task.best_of_one(), steps >= SAID_STEPS)


def _name(heads: int) -> str:
    return "1 head" if heads == 1 else f"{heads} heads"


def _looking(task: TwoSources, heads: int, layers: int) -> Callable[[int], MiniMind]:
    fields: dict[str, Any] = {NUMBER: heads, "num_key_value_heads": heads, "num_hidden_layers": layers}
    return lambda seed: task_model(task, seed=seed, **fields)


def _reading(heads: int) -> Callable[[int], MiniMind]:
    return lambda seed: tiny_model(
        seed=seed, num_attention_heads=heads, num_key_value_heads=heads, max_position_embeddings=TIME
    )


def _pictures(read: Results, text: ByteText) -> Iterator[Event]:
    """What each of the four heads of the first layer looks at in a line of text."""
    tokens = text.held_out[None, :18]  # [1, time]
    weights = attention_weights(read.models["4 heads"], tokens)[0][0]  # [heads, time, time]
    for head, matrix in enumerate(torch.unbind(weights), 1):
        title = Text(f"Text, layer 1, head {head} of 4", f"文本，第 1 层，第 {head} 个头，共 4 个")
        yield weights_picture(f"head_{head}", matrix, byte_labels(tokens[0]), title)


def _claims(looked_up: Results, read: Results, one_source: float, said: bool) -> Iterator[Event]:
    one, four, stacked = (looked_up.of(name) for name in ("1 head", "4 heads", "2 layers"))
    share = looked_up.mean("1 head")
    choice = 0 if share < 0.2 else 1 if share < one_source + 0.05 else 2 if share < 0.8 else 3
    yield Claim("prediction", Text(f"one head: {share:.0%}", f"一个头：{share:.0%}"), {"choice": choice}, True)
    yield Claim(
        "one_head_reads_two_places",
        Text(
            "One layer with one head is right more often than anyone who sees only one of the two places",
            "一层、一个头，答对的比例超过任何只看其中一处的办法",
        ),
        means(one=one) | {"one_source": one_source},
        agree([value > one_source + 0.01 for value in one]) if said else None,
    )
    yield Claim(
        "four_heads_do_better",
        Text("But four heads get nearly all right, and one head does not", "但四个头几乎全对，一个头做不到"),
        means(four=four, one=one),
        agree([b > 0.9 and a < 0.75 for a, b in zip(one, four, strict=True)]) if said else None,
    )
    yield Claim(
        "a_second_layer_helps_as_well",
        Text(
            "So does a second layer of one head: at least 25 points more",
            "再加一层、仍是一个头，也行：至少多对 25 个百分点",
        ),
        means(stacked=stacked, one=one),
        agree([b > a + 0.25 for a, b in zip(one, stacked, strict=True)]) if said else None,
    )
    yield from _claims_on_text(read, said)


def _claims_on_text(read: Results, said: bool) -> Iterator[Event]:
    one, four, eight = (read.of(_name(heads)) for heads in HEADS)
    gain = [a - b for a, b in zip(one, four, strict=True)]
    yield Claim(
        "four_beat_one_on_text",
        Text("On text four heads reach a lower loss than one", "在文本上，四个头的损失低于一个头"),
        means(one=one, four=four, gain=gain),
        is_lower(four, one) if said else None,
    )
    change = [a - b for a, b in zip(four, eight, strict=True)]
    yield Claim(
        "eight_do_not_beat_four",
        Text(
            "Eight heads are not ahead of four: the seeds do not agree, or it is less than noise",
            "八个头并没有领先四个：各种子不一致，或差距小于噪声",
        ),
        means(four=four, eight=eight, change=change) | {"noise": NOISE},
        not is_lower(eight, four) if said and len(four) > 1 else None,
    )
