"""How a text is written: one token after another, each with what else it might have been."""

from __future__ import annotations

import time
from collections.abc import Iterator

from minimind.config import SampleConfig
from minimind.events import Claim, Event, Progress, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.inference.engine import Engine

PROMPTS = {
    "rabbit": "Once there was a rabbit named Pip.",
    "兔子": "从前有一只小兔子，名叫跳跳。",
    "sum": "3 + 4 =",
}
LAST_ROWS = 14
SURE = 0.9


@experiment(
    title=Text("One token at a time", "一次一个词元"),
    question=Text("How sure is the model of each token that it writes?", "模型写下每个词元时，有多大把握？"),
    parameters={
        "prompt": Parameter(Text("beginning", "开头"), choices=tuple(PROMPTS)),
        "tokens": Parameter(Text("tokens to write", "写多少个词元"), low=5, high=200),
        "temperature": Parameter(Text("temperature", "温度"), low=0, high=3),
        "seconds": Parameter(Text("seconds a token", "每个词元停留几秒"), low=0, high=2),
        "seed": Parameter(Text("seed", "随机种子"), low=0, high=1000),
    },
    quick={"tokens": 30},
    deep={"tokens": 200},
    smoke={"tokens": 12},
    predict=Text(
        "The trained model writes sixty tokens. At about what share of them did it give more than 90 % to one single token?",
        "训练好的模型写六十个词元。其中大约多大比例，它把 90% 以上的概率给了同一个词元？",
    ),
    choices=(
        Text("hardly any", "几乎没有"),
        Text("about one in three", "三分之一左右"),
        Text("more than half", "超过一半"),
    ),
    names={
        "probability": Text("Probability of the likeliest token", "最可能的词元的概率"),
        "step": Text("token", "词元"),
        "likeliest": Text("likeliest", "最可能的"),
    },
)
def one_token_at_a_time(
    prompt: str = "rabbit", tokens: int = 60, temperature: float = 0.7, seconds: float = 0.0, seed: int = 0
) -> Iterator[Event]:
    """``nano-chat`` goes on with the beginning; the table holds the latest tokens and their rivals."""
    engine = Engine.open("nano-chat", device="cpu", dtype="float32")
    config = SampleConfig(temperature=temperature, top_p=1.0, max_new_tokens=tokens, seed=seed)
    rows: list[tuple[str | float, ...]] = []
    likeliest: list[float] = []
    for step, token in enumerate(engine.complete(PROMPTS[prompt], config, top=4), 1):
        if token.probability is None or not token.alternatives:
            continue
        likeliest.append(token.alternatives[0][1])
        rivals = "  ".join(f"{text!r} {probability:.2f}" for text, probability in token.alternatives)
        rows.append((float(step), token.text, f"{token.probability:.2f}", rivals))
        yield _table(rows)
        yield Scalars(step, {"likeliest": likeliest[-1]}, chart="probability")
        yield Progress(step, tokens)
        if seconds:
            time.sleep(min(seconds, 2.0))
    yield from _claims(likeliest)


def _table(rows: list[tuple[str | float, ...]]) -> Event:
    columns = (Text("#", "#"), Text("written", "写下"), Text("p", "概率"), Text("likeliest", "最可能的几个"))
    return Table("tokens", columns, tuple(rows[-LAST_ROWS:]), Text("The latest tokens", "最近的词元"))


def _claims(likeliest: list[float]) -> Iterator[Event]:
    sure = sum(probability > SURE for probability in likeliest) / len(likeliest)
    choice = 0 if sure < 0.15 else 1 if sure <= 0.5 else 2
    yield Claim("prediction", Text(f"{sure:.0%}", f"{sure:.0%}"), {"choice": choice}, True)
    open_steps = sum(probability < 0.5 for probability in likeliest)
    yield Claim(
        "most_steps_are_decided",
        Text(
            "Much of a text is nearly decided; the few open places decide what it is about",
            "一段文本很大一部分几乎是注定的；少数拿不准的地方决定它讲什么",
        ),
        {"sure": 100 * sure, "open": float(open_steps), "tokens": float(len(likeliest))},
        sure > 0.25 and 0 < open_steps < len(likeliest) / 2 if len(likeliest) >= 30 else None,
    )
