"""Attention one step at a time, on a handful of tokens whose vectors one can read: a soft dictionary.

Each token's vector has two halves: which symbol it is, and which one stood before it. A query asks with the first half,
a key answers with the second, a value hands over the first: "what followed this symbol?"
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from minimind.events import Claim, Event, Heatmap, Note, Progress, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.attention import weights_picture
from minimind.model.transformer import causal_mask

STRENGTH = 3.0
"""The size of a symbol's vector: a match scores STRENGTH², anything else 0."""
STEPS = 6
MOMENT = 0.04
"""Seconds; a stop or a pause is noticed after this long."""
SENTENCES = ("A1B2C3B", "A1B2A3A", "茶热冰冷茶")


@experiment(
    title=Text("Attention, step by step", "一步一步看注意力"),
    question=Text(
        "A1 B2 C3 B…: how does a query find the 2 that followed B?", "A1 B2 C3 B……：查询怎样找到跟在 B 后面的 2？"
    ),
    parameters={
        "tokens": Parameter(Text("tokens", "词元"), choices=SENTENCES),
        "temperature": Parameter(Text("temperature", "温度"), low=0.05, high=10.0),
        "causal": Parameter(Text("causal mask", "因果掩码")),
        "scaled": Parameter(Text("divide by √d", "除以 √d")),
        "seconds": Parameter(Text("seconds a step", "每步停几秒"), low=0.0, high=5.0),
    },
    quick={},
    smoke={"seconds": 0.0},
    predict=Text(
        "A1B2C3B: the last token asks what followed B last time. How much of what it gets is the 2?",
        "A1B2C3B：最后一个词元问：上次 B 后面是什么？它得到的内容里，2 占多少？",
    ),
    choices=(
        Text("a seventh: all seven alike", "七分之一：七个一样多"),
        Text("about half", "大约一半"),
        Text("most, but not all", "大部分，但不是全部"),
        Text("all of it", "全部"),
    ),
)
def qkv_step(
    tokens: str = "A1B2C3B", temperature: float = 1.0, causal: bool = True, scaled: bool = True, seconds: float = 0.8
) -> Iterator[Event]:
    """Show queries, keys, scores, weights and the result, one matrix at a time."""
    names = sorted(set(tokens))
    size = 2 * len(names)
    symbols = torch.eye(len(names))[[names.index(token) for token in tokens]] * STRENGTH  # [time, symbols]
    before = torch.cat((torch.zeros(1, len(names)), symbols[:-1]))  # [time, symbols]
    x = torch.cat((symbols, before), 1)  # [time, hidden]
    take_symbol, take_before = torch.eye(size)[:, : len(names)], torch.eye(size)[:, len(names) :]  # 2 × [hidden, head]
    queries, keys, values = x @ take_symbol, x @ take_before, x @ take_symbol / STRENGTH  # 3 × [time, head]

    pause = _Pause(seconds)
    yield _matrix("queries", queries, tokens, names, Text("1. Queries: which symbol am I?", "1. 查询：我是哪个符号？"))
    yield from pause.next()
    yield _matrix("keys", keys, tokens, names, Text("2. Keys: which one stands before me?", "2. 键：我前面是哪个？"))
    yield from pause.next()
    yield _matrix("values", values, tokens, names, Text("3. Values: what I hand over", "3. 值：我交出什么"))
    divisor = math.sqrt(len(names)) if scaled else 1.0
    scores = queries @ keys.T / divisor / temperature  # [time, time]
    yield from pause.next()
    yield _matrix("scores", scores, tokens, tokens, Text("4. Scores: query · key", "4. 分数：查询 · 键"))
    weights = attend(scores, causal)  # [time, time]
    yield from pause.next()
    yield weights_picture(
        "weights", weights, tuple(tokens), Text("5. Weights: softmax of each row", "5. 权重：逐行 softmax")
    )
    result = weights @ values  # [time, head]
    yield from pause.next()
    yield _matrix("result", result, tokens, names, Text("6. Result: weights · values", "6. 结果：权重 · 值"))
    yield _last_row(tokens, scores, weights)
    yield from _claims(tokens, queries @ keys.T, divisor, weights, temperature, causal)


class _Pause:
    """Leaves a person time to look between the steps; `next` waits and tells how far the whole is."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.step = 0

    def next(self) -> Iterator[Event]:
        self.step += 1
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            time.sleep(MOMENT)
            yield Progress(self.step, STEPS)


def attend(scores: Tensor, causal: bool) -> Tensor:
    """Softmax of each row of `scores` [time, time], over what the row may look at."""
    if causal:
        scores = scores.masked_fill(~causal_mask(len(scores), len(scores)), -math.inf)  # [time, time]
    return scores.softmax(-1)  # [time, time]


def _matrix(name: str, matrix: Tensor, rows: Sequence[str], columns: Sequence[str], title: Text) -> Event:
    values = tuple(tuple(row) for row in matrix.tolist())
    return Heatmap(name, values, tuple(rows), tuple(columns), title=title)


def _last_row(tokens: str, scores: Tensor, weights: Tensor) -> Event:
    rows: list[tuple[str | float, ...]] = []
    for place, token in enumerate(tokens):
        previous = tokens[place - 1] if place else "—"
        rows.append((token, previous, float(scores[-1, place]), float(weights[-1, place])))
    columns = (Text("token", "词元"), Text("its key", "它的键"), Text("score", "分数"), Text("weight", "权重"))
    return Table(
        "last_row",
        columns,
        tuple(rows),
        Text(f"What the last {tokens[-1]} looks at", f"最后一个 {tokens[-1]} 看向哪里"),
    )


def _answers(tokens: str) -> list[int]:
    """The places of the tokens that stand after an earlier copy of the last one."""
    return [place + 1 for place in range(len(tokens) - 1) if tokens[place] == tokens[-1]]


def _claims(
    tokens: str, products: Tensor, divisor: float, weights: Tensor, temperature: float, causal: bool
) -> Iterator[Event]:
    answers = _answers(tokens)
    found = float(weights[-1, answers].sum())
    choice = 3 if found > 0.995 else 2 if found > 0.65 else 1 if found > 0.35 else 0
    said = ", ".join(tokens[place] for place in answers)
    yield Note(Text(f"After an earlier {tokens[-1]} stood: {said}", f"之前跟在 {tokens[-1]} 后面的是：{said}"))
    yield Claim("prediction", Text(f"{said}: {found:.0%}", f"{said}：{found:.0%}"), {"choice": choice}, True)
    error = float((weights.sum(-1) - 1).abs().max())
    future = float(weights.triu(1).max())
    yield Claim(
        "rows_sum_to_one", Text("Every row of weights sums to 1", "每行权重之和为 1"), {"error": error}, error < 1e-6
    )
    yield Claim(
        "nothing_from_the_future",
        Text("With the mask the weight on later tokens is exactly 0", "有掩码时，后面词元的权重恰好为 0"),
        {"future": future},
        future == 0.0 if causal else None,
    )
    largest = int(weights[-1].argmax())
    yield Claim(
        "the_look_up_finds_it",
        Text("The largest weight lies on what followed last time", "最大的权重落在上次跟在后面的词元上"),
        {"weight": found, "score": float(products[-1, answers[0]]) / divisor},
        largest in answers,
    )
    hard, unscaled = (float(attend(products / d, True)[-1, answers].sum()) for d in (divisor * 0.05, 1.0))
    even = float(attend(products / (divisor * 1000), True)[-1, answers].sum())
    yield Claim(
        "temperature_goes_from_hard_to_even",
        Text(
            "Cold, it is a dictionary: one entry and nothing else. Hot, it is a plain average",
            "温度趋于零，就是字典：只取一项；温度很高，就是普通平均",
        ),
        {"cold": hard, "hot": even, "average": len(answers) / len(tokens), "unscaled": unscaled, "at": temperature},
        hard > 0.999 and abs(even - len(answers) / len(tokens)) < 0.01,
    )
