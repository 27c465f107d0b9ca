"""Which way of telling positions learns fastest on text, and does a model without any know order at all?

Five networks of the same size, weights, batches and learning rate; only their positions differ. What is added to the
embedding (learned, sinusoidal) competes with what turns or biases the scores (rotary, ALiBi).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from minimind.events import Claim, Event, Level, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, differences, on_text, results_table, train_arms
from minimind.lab.floors import ngram_loss, uniform_loss
from minimind.lab.lengths import long_windows
from minimind.lab.text import byte_text
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import agree, all_hold, is_lower, means
from minimind.model.transformer import MiniMind
from minimind.model.variants.positions import Positions, set_positions

ARMS: tuple[Positions, ...] = ("rotary", "alibi", "none", "learned", "sinusoidal")
ADDED: tuple[Positions, ...] = ("learned", "sinusoidal")
BATCH = 8
PROBES = 192
NOTABLE = 0.1
"""Nats; less is not called ahead or behind in the answer to the prediction."""
SAID_STEPS = 80
"""With fewer steps the networks have hardly learnt: comparisons stay undecided."""


@experiment(
    title=Text("Five kinds of positions", "五种位置编码"),
    question=Text(
        "Rotation, distance bias, learned vectors, sinusoids, or nothing: which learns fastest?",
        "旋转、距离偏置、可学习向量、正弦，还是什么都不加：哪种学得最快？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=1000),
        "time": Parameter(Text("length of a sequence", "序列长度"), choices=(16, 32, 64, 128)),
        "learning_rate": Parameter(Text("learning rate", "学习率"), choices=(0.001, 0.003, 0.01)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"steps": 90, "seeds": 1},
    deep={"steps": 800, "seeds": 5},
    smoke={"steps": 10, "time": 16, "seeds": 1},
    predict=Text(
        "A causal language model without any positions is trained on text. How does it do beside the four others?",
        "一个不带任何位置编码的因果语言模型，在文本上训练。和另外四种比，它会怎样？",
    ),
    choices=(
        Text("far behind all of them: it cannot know the order", "远远落在所有之后：它无从知道顺序"),
        Text(
            "behind rotary and ALiBi, but not behind the vectors that are added",
            "不如旋转和 ALiBi，但不输给“加向量”的两种",
        ),
        Text("level with rotary and ALiBi", "与旋转、ALiBi 不相上下"),
        Text("ahead of all of them", "比四种都好"),
    ),
    names={
        "loss": Text("Training loss", "训练损失"),
        "loss_held_out": Text("Held-out loss", "留出损失"),
        "step": Text("step", "步"),
        "rotary": Text("RoPE", "RoPE"),
        "alibi": Text("ALiBi", "ALiBi"),
        "none": Text("none", "无"),
        "learned": Text("learned", "可学习"),
        "sinusoidal": Text("sinusoids", "正弦"),
        "frequencies": Text("byte frequencies", "字节频率"),
        "bigram": Text("bigram", "二元（bigram）"),
    },
)
def position_ablation(
    steps: int = 240, time: int = 64, learning_rate: float = 0.003, seeds: int = 3
) -> Iterator[Event]:
    """Train the five side by side; then shuffle what a model has read and see how much worse it predicts."""
    text = byte_text()
    arms = [Arm(kind, _builder(kind, time), {"positions": kind}) for kind in ARMS]
    yield differences(arms)
    for name, order in (("frequencies", 1), ("bigram", 2)):
        floor = ngram_loss(text.train, text.held_out, order)
        for chart in ("loss", "loss_held_out"):
            yield Level(chart, name, floor)
    plan = on_text(text, steps, seeds=seeds, batch=BATCH, time=time)
    probe, following = long_windows(text.held_out, time, PROBES)
    answers, shuffled = following[:, -1], _shuffled(probe)
    plan = replace(
        plan,
        learning_rate=learning_rate,
        evaluate_every=max(1, steps // 8),
        measures={
            **plan.measures,
            "in_order": lambda model: _last_loss(model, probe, answers),
            "shuffled": lambda model: _last_loss(model, shuffled, answers),
        },
    )
    results = yield from train_arms(arms, plan)
    labels = {
        "held_out": Text("held-out loss", "留出损失"),
        "in_order": Text("last byte", "最后一个字节"),
        "shuffled": Text("last byte, context shuffled", "最后一个字节，上文打乱"),
    }
    yield results_table(arms, results, Text("Nats a byte", "nats/字节"), labels)
    yield from _claims(results, steps, seeds)


def _builder(kind: Positions, time: int) -> Callable[[int], MiniMind]:
    return lambda seed: tiny_model(
        seed=seed, max_position_embeddings=time, rope_theta=10_000.0, change=lambda model: set_positions(model, kind)
    )


def _shuffled(windows: Tensor) -> Tensor:
    """The same bytes before the last, in random order; the last stays last: what a bag of bytes and a bigram need."""
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(len(windows), windows.shape[1] - 1, generator=generator).argsort(-1)  # [probes, time - 1]
    return torch.cat((windows[:, :-1].gather(1, order), windows[:, -1:]), 1)  # [probes, time]


@torch.no_grad()
def _last_loss(model: MiniMind, windows: Tensor, answers: Tensor) -> float:
    """The mean loss, in nats, of predicting `answers` [probes] after `windows` [probes, time]."""
    logits = model(windows)[:, -1]  # [probes, vocabulary]
    return float(nn.functional.cross_entropy(logits, answers))


def _claims(results: Results, steps: int, seeds: int) -> Iterator[Event]:
    said = steps >= SAID_STEPS
    measured = means(**{kind: results.of(kind) for kind in ARMS})
    yield _prediction(measured)
    lower = [
        is_lower(results.of(kind), results.of(other)) for kind in ("rotary", "alibi") for other in ("none", *ADDED)
    ]
    yield Claim(
        "distance_beats_place",
        Text(
            "Rotary and ALiBi, which act on distances in the scores, learn faster than vectors that are added, and than none",
            "作用于分数、只看距离的旋转与 ALiBi，比加向量的两种和什么都不加的学得快",
        ),
        {**measured, "gap": min(measured[kind] for kind in ("none", *ADDED)) - measured["rotary"]},
        all_hold(lower) if said else None,
    )
    yield Claim(
        "none_is_not_worse_than_added",
        Text(
            "No positions at all do no worse, at this size and length of training, than vectors that are added",
            "以这样的规模和训练长度，什么都不加并不比加向量差",
        ),
        {
            "none": measured["none"],
            "learned": measured["learned"],
            "sinusoidal": measured["sinusoidal"],
            "seeds": seeds,
        },
        _not_worse(results) if said else None,
    )
    harm = {kind: [b - a for a, b in _pairs(results, kind)] for kind in ARMS}
    yield Claim(
        "only_distance_reads_order",
        Text(
            "In so few steps only rotary and ALiBi learn to use the order of what they read: shuffling it costs them "
            "much, the others next to nothing",
            "这么少的步数内，只有旋转和 ALiBi 学会了利用顺序：打乱上文，它们的损失大增，其余几种几乎不变",
        ),
        means(**harm),
        all_hold(
            [agree([loss > 0.1 for loss in harm[kind]]) for kind in ("rotary", "alibi")]
            + [agree([loss < 0.1 for loss in harm[kind]]) for kind in ("none", *ADDED)]
        )
        if said
        else None,
    )
    yield Claim(
        "all_learn",
        Text("Every network gets below guessing all bytes alike", "每个网络都比均匀瞎猜强"),
        {
            "worst": max(max(results.of(kind)) for kind in ARMS),
            "uniform": uniform_loss(),
            "steps": steps,
            "seeds": seeds,
        },
        agree([value < uniform_loss() for kind in ARMS for value in results.of(kind)]),
    )


def _prediction(measured: dict[str, float]) -> Claim:
    """Where the network without positions stands among the others."""
    behind_added = measured["none"] - min(measured[kind] for kind in ADDED)
    behind = measured["none"] - max(measured["rotary"], measured["alibi"])
    choice = 3 if behind < -NOTABLE else 2 if behind < NOTABLE else 1 if behind_added < NOTABLE else 0
    heard = Text(f"without any: {measured['none']:.2f} nats a byte", f"什么都不加：{measured['none']:.2f} nats/字节")
    return Claim("prediction", heard, {"choice": choice}, True)


def _pairs(results: Results, kind: str) -> list[tuple[float, float]]:
    """For each seed the loss in order and shuffled."""
    return list(zip(results.of(kind, "in_order"), results.of(kind, "shuffled"), strict=True))


def _not_worse(results: Results) -> bool | None:
    """Whether none is not above either kind of added vectors by more than noise."""
    return all_hold([is_lower(results.of(kind), results.of("none")) is not True for kind in ADDED])
