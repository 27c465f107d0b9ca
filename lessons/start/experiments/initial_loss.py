"""What does a model lose before it has learnt anything? Vocabulary and size of the initial weights are varied."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind.events import Claim, Event, Heatmap, Note, Progress, Table, Text
from minimind.experiment import Number, Parameter, experiment
from minimind.lab.tiny import INITIAL_SCALE, rescale, tiny_model
from minimind.lab.verdicts import agree

VOCABULARIES = (64, 256, 1024, 6400)
SCALES = (0.02, 0.1, 0.3, 1.0)
BATCH, TIME = 8, 32
NEAR = 0.05
"""Nats: closer than this to ln V is "at ln V"."""


@experiment(
    title=Text("The loss before the first step", "第一步之前的损失"),
    question=Text(
        "An untrained model is asked for the next token. What does it lose, and what does that depend on?",
        "让没有训练过的模型预测下一个词元，损失会是多少？取决于什么？",
    ),
    parameters={
        "width": Parameter(Text("hidden size", "隐藏维度"), choices=(32, 64, 128)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=10),
    },
    quick={"seeds": 1},
    deep={"seeds": 10},
    smoke={"seeds": 1, "width": 32},
    predict=Text(
        "The vocabulary of the released models has 6,400 tokens. How much does such a model lose on a token "
        "before it is trained, in nats?",
        "发布的模型词表有 6,400 个词元。这样的模型在训练之前，每个词元的损失是多少 nats？",
    ),
    number=Number(0, 50, Text("nats", "nats"), within=1.05),
)
def initial_loss(width: int = 64, seeds: int = 3) -> Iterator[Event]:
    """Our own network on random tokens with random targets, its matrices drawn at several scales."""
    losses: dict[tuple[int, float], list[float]] = {}
    total = len(VOCABULARIES) * len(SCALES) * seeds
    for vocabulary in VOCABULARIES:
        for scale in SCALES:
            losses[vocabulary, scale] = []
            for seed in range(seeds):
                losses[vocabulary, scale].append(_loss(width, vocabulary, scale, seed))
                yield Progress(sum(map(len, losses.values())), total)
        yield _excess(losses)
    yield _table(losses)
    yield Note(
        Text(
            "Targets are random: no model, however clever, could do better than ln V here on average.",
            "目标是随机的：在这里，再聪明的模型平均也不可能低于 ln V。",
        )
    )
    yield from _claims(losses)


@torch.no_grad()
def _loss(width: int, vocabulary: int, scale: float, seed: int) -> float:
    model = tiny_model("T1", seed=seed, hidden_size=width, vocab_size=vocabulary)
    rescale(model, scale / INITIAL_SCALE)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, vocabulary, (BATCH, TIME), generator=generator)  # [batch, time]
    labels = torch.randint(0, vocabulary, (BATCH, TIME), generator=generator)  # [batch, time]
    logits: Tensor = model(tokens)  # [batch, time, vocabulary]
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten()).item()


def _excess(losses: dict[tuple[int, float], list[float]]) -> Event:
    done = [vocabulary for vocabulary in VOCABULARIES if (vocabulary, SCALES[-1]) in losses]
    return Heatmap(
        "excess",
        tuple(
            tuple(statistics.fmean(losses[vocabulary, scale]) - math.log(vocabulary) for scale in SCALES)
            for vocabulary in done
        ),
        tuple(f"V = {vocabulary:,}" for vocabulary in done),
        tuple(f"{scale:g}" for scale in SCALES),
        low=0.0,
        title=Text(
            "Loss above ln V, by vocabulary (rows) and initial scale (columns)",
            "损失超出 ln V 多少：行是词表大小，列是初始尺度",
        ),
    )


def _table(losses: dict[tuple[int, float], list[float]]) -> Event:
    columns = (Text("V", "V"), Text("ln V", "ln V"), *(Text(f"scale {scale:g}", f"尺度 {scale:g}") for scale in SCALES))
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (float(v), f"{math.log(v):.2f}", *(f"{statistics.fmean(losses[v, scale]):.2f}" for scale in SCALES))
        for v in VOCABULARIES
    )
    return Table("losses", columns, rows, Text("Loss before training (nats a token)", "训练前的损失（nats/词元）"))


def _claims(losses: dict[tuple[int, float], list[float]]) -> Iterator[Event]:
    seeds = len(losses[VOCABULARIES[0], INITIAL_SCALE])
    released = statistics.fmean(losses[6400, INITIAL_SCALE])
    yield Claim("prediction", Text(f"{released:.2f} nats", f"{released:.2f} nats"), {"number": released}, True)
    gaps = {v: [abs(loss - math.log(v)) for loss in losses[v, INITIAL_SCALE]] for v in VOCABULARIES}
    yield Claim(
        "starts_at_ln_v",
        Text(
            "With our initial weights the loss is ln V, whatever the vocabulary",
            "用我们的初始权重，无论词表多大，损失都是 ln V",
        ),
        {"loss": released, "ln_v": math.log(6400), "largest_gap": max(map(max, gaps.values())), "seeds": seeds},
        agree([gap < NEAR for gap_list in gaps.values() for gap in gap_list]),
    )
    large = losses[6400, SCALES[-1]]
    yield Claim(
        "large_weights_cost",
        Text(
            "Weights fifty times larger make the first loss far worse than guessing evenly",
            "权重放大五十倍，初始损失比均匀乱猜还差得多",
        ),
        {"loss": statistics.fmean(large), "above": statistics.fmean(large) - math.log(6400), "seeds": seeds},
        agree([loss > 1.5 * math.log(6400) for loss in large]),
    )
    small, tenth = losses[256, INITIAL_SCALE], losses[256, SCALES[2]]
    yield Claim(
        "scale_alone_decides",
        Text(
            "With the same vocabulary, the scale of the weights alone moves the first loss",
            "词表不变，仅改变权重的尺度，初始损失就会变",
        ),
        {"small": statistics.fmean(small), "larger": statistics.fmean(tenth), "seeds": seeds},
        agree([b - a > NEAR for a, b in zip(small, tenth, strict=True)]),
    )
