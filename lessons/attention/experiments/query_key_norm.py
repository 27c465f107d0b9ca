"""A norm on queries and keys bounds the scores. Does that widen the range of learning rates a model survives?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from torch import Tensor

from minimind.events import Claim, Event, Heatmap, Level, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, differences, on_text, results_table, train_arms
from minimind.lab.attention import largest_score
from minimind.lab.floors import ngram_loss
from minimind.lab.text import byte_text, evaluate
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import agree, is_lower, means

RATES = (0.003, 0.01, 0.03, 0.1)
TIME = 32
BATCH = 8
TINY = 1e-9
"""Stands for a score of 0 where its logarithm is drawn."""
SAID_STEPS = 80
"""With fewer steps the comparisons stay undecided."""


def _name(normed: bool, rate: float) -> str:
    return f"{'norm' if normed else 'plain'} {rate:g}"


@experiment(
    title=Text("A norm on queries and keys", "给查询和键做归一化"),
    question=Text(
        "At a high learning rate scores grow without bound. What does a norm on queries and keys change?",
        "学习率一高，分数就会无限变大。给查询和键加上归一化，会改变什么？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=1000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"seeds": 1, "steps": 120},
    deep={"seeds": 5, "steps": 600},
    smoke={"seeds": 1, "steps": 10},
    predict=Text(
        "Without the norm, at a learning rate of 0.1: how large does the largest score get? (With it: a few tens.)",
        "不加归一化，学习率 0.1：最大的分数会到多大？（加了是几十。）",
    ),
    choices=(
        Text("below 10", "10 以下"),
        Text("10 to 100", "10 到 100"),
        Text("100 to 1000", "100 到 1000"),
        Text("above 1000", "1000 以上"),
    ),
    names={
        "loss": Text("Training loss (nats a byte)", "训练损失（nats/字节）"),
        "loss_held_out": Text("Largest score, log10", "最大的分数，取 log10"),
        "byte frequencies": Text("byte frequencies", "字节频率"),
        **{_name(True, rate): Text(f"norm {rate:g}", f"归一化 {rate:g}") for rate in RATES},
        **{_name(False, rate): Text(f"plain {rate:g}", f"不加 {rate:g}") for rate in RATES},
    },
)
def query_key_norm(steps: int = 200, seeds: int = 3) -> Iterator[Event]:
    """Train with and without the norm at four learning rates, no warm-up, and follow the largest score."""
    text = byte_text()
    arms = [_arm(normed, rate) for rate in RATES for normed in (False, True)]
    yield differences([_arm(False, RATES[0]), _arm(True, RATES[0])])
    frequencies = ngram_loss(text.train, text.held_out, 1)
    yield Level("loss", "byte frequencies", frequencies)
    batches = text.evaluation(BATCH, TIME)
    plan = replace(
        on_text(text, steps, seeds=seeds, batch=BATCH, time=TIME),
        measures={
            "log_score": lambda model: math.log10(max(largest_score(model, batches[0][0]), TINY)),
            "score": lambda model: largest_score(model, batches[0][0]),
            "held_out": lambda model: evaluate(model, batches),
        },
        evaluate_every=max(5, steps // 20),
        clip=None,
    )
    results = yield from train_arms(arms, plan)
    labels = {
        "log_score": Text("its log10", "其 log10"),
        "score": Text("largest score", "最大的分数"),
        "held_out": Text("nats a byte", "nats/字节"),
    }
    yield results_table(arms, results, Text("After training", "训练之后"), labels)
    yield _map(results)
    yield from _claims(results, frequencies, batches[0][0], steps >= SAID_STEPS)


def _arm(normed: bool, rate: float) -> Arm:
    return Arm(
        _name(normed, rate),
        lambda seed: tiny_model("T0", seed=seed, qk_norm=normed, max_position_embeddings=TIME),
        {"qk_norm": "on" if normed else "off"},
        learning_rate=rate,
    )


def _map(results: Results) -> Event:
    rows = tuple(tuple(results.mean(_name(normed, rate), "held_out") for rate in RATES) for normed in (False, True))
    title = Text("Held-out loss", "留出损失")
    return Heatmap("loss_map", rows, ("—", "QK-norm"), tuple(f"{rate:g}" for rate in RATES), title=title)


def _claims(results: Results, frequencies: float, tokens: Tensor, said: bool) -> Iterator[Event]:
    high, low = RATES[-1], RATES[0]
    plain, normed = (results.of(_name(norm, high), "score") for norm in (False, True))
    mean = results.mean(_name(False, high), "score")
    choice = 0 if mean < 10 else 1 if mean < 100 else 2 if mean < 1000 else 3
    yield Claim("prediction", Text(f"{mean:.3g}", f"{mean:.3g}"), {"choice": choice}, True)
    yield Claim(
        "the_norm_bounds_the_scores",
        Text(
            "At the highest rate the largest score is at least fifty times larger without the norm",
            "学习率最高时，不加归一化的最大分数至少是加了的五十倍",
        ),
        means(plain=plain, norm=normed),
        agree([a > 50 * b for a, b in zip(plain, normed, strict=True)]) if said else None,
    )
    first, second = (results.of(_name(norm, high), "held_out") for norm in (False, True))
    yield Claim(
        "lower_loss_at_the_highest_rate",
        Text("There the loss is lower with the norm", "在那里，加了归一化损失更低"),
        means(plain=first, norm=second) | {"frequencies": frequencies},
        is_lower(second, first) if said else None,
    )
    best = {
        norm: [
            min(losses) for losses in zip(*(results.of(_name(norm, rate), "held_out") for rate in RATES), strict=True)
        ]
        for norm in (False, True)
    }
    yield Claim(
        "best_rates",
        Text("Each at its best rate, the norm is not behind", "各取最合适的学习率，加了归一化的也不落后"),
        means(plain=best[False], norm=best[True]),
        not is_lower(best[False], best[True]) if said else None,
    )
    calm, calm_normed = (results.of(_name(norm, low), "score") for norm in (False, True))
    starts = {norm: _start(norm, tokens) for norm in (False, True)}
    yield Claim(
        "it_also_wakes_them_up",
        Text(
            "Before training the scores are far smaller without the norm: attention starts as a plain average",
            "训练之前，不加归一化的分数小得多：注意力从普通平均开始",
        ),
        means(plain=calm, norm=calm_normed) | {"start_plain": starts[False], "start_norm": starts[True]},
        starts[True] > 20 * starts[False],
    )


def _start(normed: bool, tokens: Tensor) -> float:
    """The largest score of an untrained network."""
    return largest_score(_arm(normed, RATES[0]).build(0), tokens)
