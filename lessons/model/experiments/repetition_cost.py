"""A penalty for repetition: what it cures, and what it breaks."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from minimind.config import SampleConfig
from minimind.data.corpus import FIXED_PROMPTS, pretrain_documents
from minimind.events import Claim, Event, Progress, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.inference.engine import Engine
from minimind.inference.sample import repetition_penalty

PENALTIES = (1.0, 1.1, 1.2, 1.3, 1.5)
GRAM = 4
BEGINNINGS = FIXED_PROMPTS[:4]
PAIRS_FROM = 300
"""Documents in which the bigram machine counts which token follows which."""
LENGTH = 96


@experiment(
    title=Text("A penalty for repetition", "重复惩罚"),
    question=Text(
        "A penalty stops loops. What does it do to a text in which names must return?",
        "惩罚能止住循环。可有些文本里名字必须反复出现，它会怎样？",
    ),
    parameters={
        "tokens": Parameter(Text("tokens written greedily", "贪心写多少词元"), low=20, high=400),
        "documents": Parameter(Text("held-out documents", "留出的文档数"), low=1, high=200),
    },
    quick={"documents": 10},
    deep={"documents": 100, "tokens": 300},
    smoke={"documents": 2, "tokens": 20},
    predict=Text(
        "On held-out stories, at how many per cent of the places is the true next token the likeliest one, with a "
        "penalty of 1.3 in place of 1.0?",
        "在留出的故事上，惩罚从 1.0 加到 1.3，“最可能的词元就是真正的下一个”的位置会……",
    ),
    choices=(Text("more than before", "变多"), Text("about the same", "差不多"), Text("clearly fewer", "明显变少")),
    names={
        "accuracy": Text("Next token right (per cent)", "下一个词元猜对（%）"),
        "variety": Text("Different runs of four tokens in a text (per cent)", "一篇里不同的四词元串（%）"),
        "penalty": Text("penalty", "惩罚"),
        "right": Text("right", "猜对"),
        "bigram": Text("bigram machine", "二元模型"),
    },
)
def repetition_cost(tokens: int = 150, documents: int = 30) -> Iterator[Event]:
    """Greedy texts of ``nano-chat`` and of a bigram machine, and accuracy on held-out stories, for each penalty."""
    engine = Engine.open("nano-chat", device="cpu", dtype="float32")
    pairs = _pairs(engine)
    stories = [
        engine.tokenizer.encode(text)[:LENGTH] for text in islice(pretrain_documents(split="validation"), documents)
    ]
    accuracy: dict[float, float] = {}
    variety: dict[str, dict[float, float]] = {"nano-chat": {}, "bigram": {}}
    for done, penalty in enumerate(PENALTIES, 1):
        right = places = 0
        for ids in stories:
            hits = _hits(engine, ids, penalty)
            right, places = right + sum(hits), places + len(hits)
            yield Progress(done - 1, len(PENALTIES))
        accuracy[penalty] = 100 * right / places
        variety["nano-chat"][penalty] = _variety(partial(_story, engine, penalty=penalty, tokens=tokens), engine)
        variety["bigram"][penalty] = _variety(partial(_loop, pairs, penalty=penalty, tokens=tokens), engine)
        yield Scalars(penalty, {"right": accuracy[penalty]}, axis="penalty", chart="accuracy")
        yield Scalars(
            penalty, {name: values[penalty] for name, values in variety.items()}, axis="penalty", chart="variety"
        )
        yield Progress(done, len(PENALTIES))
    yield _table(accuracy, variety)
    yield from _claims(accuracy, variety, documents)


def _pairs(engine: Engine) -> Tensor:
    """Log-probabilities [vocabulary, vocabulary] of the token after each token, from counting pairs."""
    size = engine.tokenizer.vocab_size
    counts = torch.full((size, size), 0.01)  # [vocabulary, vocabulary]
    for text in islice(pretrain_documents(), PAIRS_FROM):
        ids = torch.tensor(engine.tokenizer.encode(text))  # [time]
        counts.index_put_((ids[:-1], ids[1:]), torch.ones(len(ids) - 1), accumulate=True)
    return (counts / counts.sum(1, keepdim=True)).log()  # [vocabulary, vocabulary]


@torch.no_grad()
def _hits(engine: Engine, ids: list[int], penalty: float) -> list[bool]:
    """At each place of the second half, whether the penalised model's likeliest token is the true one."""
    logits = engine.model(torch.tensor([ids]))[0]  # [time, vocabulary]
    return [
        int(repetition_penalty(logits[place], ids[: place + 1], penalty).argmax()) == ids[place + 1]
        for place in range(len(ids) // 2, len(ids) - 1)
    ]


def _story(engine: Engine, prompt: list[int], penalty: float, tokens: int) -> list[int]:
    """What ``nano-chat`` writes greedily after `prompt`, until it ends."""
    config = SampleConfig(temperature=0.0, repetition_penalty=penalty, max_new_tokens=tokens)
    return [token.id for token in engine.generate(prompt, config) if token.id is not None]


def _loop(pairs: Tensor, prompt: list[int], penalty: float, tokens: int) -> list[int]:
    """What the bigram machine writes greedily after `prompt`; it has no end of its own."""
    history = list(prompt)
    for _ in range(tokens):
        history.append(int(repetition_penalty(pairs[history[-1]], history, penalty).argmax()))
    return history[len(prompt) :]


def _variety(write: Callable[[list[int]], list[int]], engine: Engine) -> float:
    """How many of the runs of four tokens in one text are different, in per cent; the mean over the beginnings."""
    shares = []
    for beginning in BEGINNINGS:
        ids = write(engine.tokenizer.encode(beginning))
        grams = [tuple(ids[start : start + GRAM]) for start in range(len(ids) - GRAM + 1)]
        shares.append(100 * len(set(grams)) / max(1, len(grams)))
    return statistics.fmean(shares)


def _table(accuracy: dict[float, float], variety: dict[str, dict[float, float]]) -> Event:
    columns = (
        Text("penalty", "惩罚"),
        Text("next token right %", "下一个词元猜对 %"),
        *(Text(f"{name}: different %", f"{name}：不同 %") for name in variety),
    )
    rows = tuple(
        (f"{penalty:g}", f"{accuracy[penalty]:.1f}", *(f"{values[penalty]:.0f}" for values in variety.values()))
        for penalty in PENALTIES
    )
    return Table("penalties", columns, rows, Text("Cure and cost", "疗效与代价"))


def _claims(accuracy: dict[float, float], variety: dict[str, dict[float, float]], documents: int) -> Iterator[Event]:
    change = accuracy[1.3] - accuracy[1.0]
    choice = 0 if change > 1 else 2 if change < -1 else 1
    yield Claim("prediction", Text(f"{change:+.1f} points", f"{change:+.1f} 个百分点"), {"choice": choice}, True)
    said = documents >= 10
    yield Claim(
        "names_must_return",
        Text(
            "The penalty makes the model worse at text in which words rightly return",
            "在词语理应反复出现的文本上，惩罚让模型变差",
        ),
        {"without": accuracy[1.0], "with_1_3": accuracy[1.3], "with_1_5": accuracy[1.5]},
        accuracy[1.0] > accuracy[1.3] > accuracy[1.5] if said else None,
    )
    bigram, story = variety["bigram"], variety["nano-chat"]
    yield Claim(
        "cures_loops",
        Text(
            "It breaks the loops of a machine that only knows pairs of tokens", "它能打破一台只认得词元对的机器的循环"
        ),
        {"without": bigram[1.0], "with_1_1": bigram[1.1], "with_1_3": bigram[1.3]},
        bigram[1.3] > 2 * bigram[1.0] if said else None,
    )
    yield Claim(
        "nothing_to_cure",
        Text("The trained model does not loop in the first place", "训练好的模型本来就不循环"),
        {"without": story[1.0], "with_1_3": story[1.3]},
        story[1.0] > 95 if said else None,
    )
