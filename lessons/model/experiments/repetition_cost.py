"""A penalty for repetition: what it cures, and what it breaks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch

from minimind.config import SampleConfig
from minimind.data.corpus import FIXED_PROMPTS, pretrain_documents
from minimind.events import Claim, Event, Progress, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.inference.engine import Engine
from minimind.inference.sample import repetition_penalty

PENALTIES = (1.0, 1.1, 1.2, 1.3, 1.5)
GRAM = 4
LENGTH = 96


@experiment(
    title=Text("A penalty for repetition", "重复惩罚"),
    question=Text(
        "Raising the penalty stops loops. What does it do to a text in which names must return?",
        "加大惩罚能止住循环。可有些文本里名字必须反复出现，它会怎样？",
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
        "variety": Text("Different runs of four tokens (per cent)", "不同的四词元串（%）"),
        "penalty": Text("penalty", "惩罚"),
        "right": Text("right", "猜对"),
        "different": Text("different", "不同"),
    },
)
def repetition_cost(tokens: int = 150, documents: int = 30) -> Iterator[Event]:
    """Greedy texts of ``nano-chat``, and its accuracy on held-out stories, for each penalty."""
    engine = Engine.open("nano-chat", device="cpu", dtype="float32")
    stories = [
        engine.tokenizer.encode(text)[:LENGTH] for text in islice(pretrain_documents(split="validation"), documents)
    ]
    accuracy: dict[float, float] = {}
    variety: dict[float, float] = {}
    for done, penalty in enumerate(PENALTIES, 1):
        right = places = 0
        for ids in stories:
            hits = _hits(engine, ids, penalty)
            right, places = right + sum(hits), places + len(hits)
            yield Progress(done - 1, len(PENALTIES))
        accuracy[penalty] = 100 * right / places
        variety[penalty] = _variety(engine, tokens, penalty)
        yield Scalars(penalty, {"right": accuracy[penalty]}, axis="penalty", chart="accuracy")
        yield Scalars(penalty, {"different": variety[penalty]}, axis="penalty", chart="variety")
        yield Progress(done, len(PENALTIES))
    yield _table(accuracy, variety)
    yield from _claims(accuracy, variety, documents)


@torch.no_grad()
def _hits(engine: Engine, ids: list[int], penalty: float) -> list[bool]:
    """At each place of the second half, whether the penalised model's likeliest token is the true one."""
    logits = engine.model(torch.tensor([ids]))[0]  # [time, vocabulary]
    return [
        int(repetition_penalty(logits[place], ids[: place + 1], penalty).argmax()) == ids[place + 1]
        for place in range(len(ids) // 2, len(ids) - 1)
    ]


def _variety(engine: Engine, tokens: int, penalty: float) -> float:
    """How many of the runs of four tokens in greedy texts are different, in per cent."""
    grams: list[tuple[int, ...]] = []
    for prompt in FIXED_PROMPTS[:4]:
        config = SampleConfig(temperature=0.0, repetition_penalty=penalty, max_new_tokens=tokens)
        ids = [token.id for token in engine.complete(prompt, config) if token.id is not None]
        grams += [tuple(ids[start : start + GRAM]) for start in range(len(ids) - GRAM + 1)]
    return 100 * len(set(grams)) / max(1, len(grams))


def _table(accuracy: dict[float, float], variety: dict[float, float]) -> Event:
    columns = (Text("penalty", "惩罚"), Text("next token right %", "下一个词元猜对 %"), Text("different %", "不同 %"))
    rows = tuple((f"{penalty:g}", f"{accuracy[penalty]:.1f}", f"{variety[penalty]:.0f}") for penalty in PENALTIES)
    return Table("penalties", columns, rows, Text("Cure and cost", "疗效与代价"))


def _claims(accuracy: dict[float, float], variety: dict[float, float], documents: int) -> Iterator[Event]:
    change = accuracy[1.3] - accuracy[1.0]
    choice = 0 if change > 2 else 2 if change < -2 else 1
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
    yield Claim(
        "variety_grows",
        Text("It does make greedy texts more varied", "它确实让贪心的文本更多样"),
        {"without": variety[1.0], "with_1_3": variety[1.3]},
        variety[1.3] > variety[1.0] if said else None,
    )
