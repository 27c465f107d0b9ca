"""Greedy, hot, cold, top-k, top-p: the same model and beginnings, drawn in different ways."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import islice

from minimind.config import SampleConfig
from minimind.data.corpus import FIXED_PROMPTS, pretrain_documents
from minimind.events import Claim, Event, Progress, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.inference.engine import Engine

SETTINGS: dict[str, dict[str, float]] = {
    "T 0": {"temperature": 0.0, "top_p": 1.0},
    "T 0.5": {"temperature": 0.5, "top_p": 1.0},
    "T 1": {"temperature": 1.0, "top_p": 1.0},
    "T 1.5": {"temperature": 1.5, "top_p": 1.0},
    "top-k 10": {"temperature": 1.0, "top_p": 1.0, "top_k": 10},
    "top-p 0.9": {"temperature": 1.0, "top_p": 0.9},
}
GRAM = 4
BEGINNINGS = 4
SHOWN = 60


@experiment(
    title=Text("Ways to draw", "怎样抽取"),
    question=Text(
        "The same model, the same beginnings. What do temperature, top-k and top-p change?",
        "同一个模型，同样的开头。温度、top-k 和 top-p 改变了什么？",
    ),
    parameters={
        "samples": Parameter(Text("texts for each setting", "每种设置写几篇"), low=2, high=64),
        "tokens": Parameter(Text("tokens a text", "每篇多少词元"), low=10, high=200),
        "documents": Parameter(Text("known documents", "已知的文档数"), low=200, high=8000),
    },
    quick={"samples": 8, "documents": 1500},
    deep={"samples": 48, "documents": 6000},
    smoke={"samples": 2, "tokens": 20, "documents": 200},
    predict=Text(
        "Which setting makes the texts most alike: the fewest different runs of four tokens over all of them?",
        "哪种设置写出的文本彼此最像，即所有文本里不同的四词元串最少？",
    ),
    choices=(
        Text("greedy (temperature 0)", "贪心（温度 0）"),
        Text("temperature 1.5", "温度 1.5"),
        Text("top-k 10", "top-k 10"),
    ),
)
def sampling_settings(samples: int = 12, tokens: int = 60, documents: int = 2500) -> Iterator[Event]:
    """``nano-chat`` continues four beginnings; variety is counted in its texts, strangeness against the corpus."""
    engine = Engine.open("nano-chat", device="cpu", dtype="float32")
    known = {gram for text in islice(pretrain_documents(), documents) for gram in _grams(engine.tokenizer.encode(text))}
    variety: dict[str, float] = {}
    strange: dict[str, float] = {}
    first: dict[str, str] = {}
    total = len(SETTINGS) * samples
    for done, (name, setting) in enumerate(SETTINGS.items()):
        grams: list[tuple[int, ...]] = []
        for sample in range(samples):
            prompt = FIXED_PROMPTS[sample % BEGINNINGS]
            config = SampleConfig(max_new_tokens=tokens, seed=sample, **setting)  # type: ignore[arg-type]
            ids = [token.id for token in engine.complete(prompt, config) if token.id is not None]
            grams += _grams(ids)
            first.setdefault(name, engine.tokenizer.decode(ids))
            yield Progress(done * samples + sample + 1, total, Text(name, name))
        variety[name] = len(set(grams)) / max(1, len(grams))
        strange[name] = statistics.fmean([gram not in known for gram in grams])
        yield _table(variety, strange, first)
    yield from _claims(variety, strange, samples)


def _grams(ids: list[int]) -> list[tuple[int, ...]]:
    """All runs of four tokens."""
    return [tuple(ids[start : start + GRAM]) for start in range(len(ids) - GRAM + 1)]


def _table(variety: dict[str, float], strange: dict[str, float], first: dict[str, str]) -> Event:
    columns = (
        Text("setting", "设置"),
        Text("different %", "不同 %"),
        Text("never seen %", "从未见过 %"),
        Text("first text", "第一篇"),
    )
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (name, f"{100 * variety[name]:.0f}", f"{100 * strange[name]:.0f}", first[name][:SHOWN].replace("\n", " "))
        for name in variety
    )
    return Table("settings", columns, rows, Text("Variety, strangeness, and a text", "多样、陌生，和一篇文本"))


def _claims(variety: dict[str, float], strange: dict[str, float], samples: int) -> Iterator[Event]:
    candidates = ("T 0", "T 1.5", "top-k 10")
    least = min(candidates, key=lambda name: variety[name])
    yield Claim("prediction", Text(least, least), {"choice": candidates.index(least)}, True)
    said = samples >= 2 * BEGINNINGS  # with one text a beginning even greedy ones cannot be alike
    yield Claim(
        "greedy_repeats",
        Text(
            "Greedy texts are the most alike, and temperature brings variety", "贪心（T 0）的文本彼此最像，温度带来多样"
        ),
        {name.replace(" ", "_").replace(".", "_"): 100 * variety[name] for name in ("T 0", "T 0.5", "T 1", "T 1.5")},
        variety["T 0"] < variety["T 0.5"] < variety["T 1.5"] if said else None,
    )
    yield Claim(
        "heat_is_strange",
        Text(
            "What heat adds is largely strange: runs of tokens that the corpus does not know",
            "升温多出来的大半是陌生的：语料里没有的词元串",
        ),
        {"T_0": 100 * strange["T 0"], "T_1": 100 * strange["T 1"], "T_1_5": 100 * strange["T 1.5"]},
        strange["T 0"] < strange["T 1"] < strange["T 1.5"] if said else None,
    )
    yield Claim(
        "filters_cut_the_tail",
        Text(
            "Top-k and top-p keep most of the variety of temperature 1 and are less strange",
            "top-k 和 top-p 保住了温度 1 的大部分多样，却没那么陌生",
        ),
        {
            "T_1": 100 * variety["T 1"],
            "top_p": 100 * variety["top-p 0.9"],
            "strange_T_1": 100 * strange["T 1"],
            "strange_top_p": 100 * strange["top-p 0.9"],
            "strange_top_k": 100 * strange["top-k 10"],
        },
        max(strange["top-p 0.9"], strange["top-k 10"]) < strange["T 1"] and variety["top-p 0.9"] > 0.8 * variety["T 1"]
        if said
        else None,
    )
