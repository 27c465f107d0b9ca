"""What do many frequencies give that one does not, and which of them does training ever see turn?

Position p sets a clock hand for every pair: (cos pθ, sin pθ). How far two positions' hands are apart depends on their
distance only, so the nearest of any two positions among n is found by looking at distances 1 … n.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from minimind.events import Claim, Event, Heatmap, Level, Progress, Scalars, Table, Text
from minimind.experiment import Number, Parameter, experiment
from minimind.model.transformer import rotary_frequencies

PERIODS = (10, 7)
"""Of the two clocks with one hand and with two, in positions."""
FAR = 20_000
DRAWN_DISTANCES, DRAWN_POSITIONS, DRAWN_PAIRS = 160, 40, 12
SAME = 1e-3
"""Hands closer than this are called the same."""


@experiment(
    title=Text("A clock with many hands", "有很多指针的钟"),
    question=Text(
        "Every pair of components is a clock hand that turns at its own speed. What are so many hands good for?",
        "每对分量都是一根转速不同的指针。要这么多指针做什么？",
    ),
    parameters={
        "position": Parameter(Text("position in the table", "表中看哪个位置"), low=0, high=100_000),
        "head_size": Parameter(Text("components of a head", "每头的分量数"), choices=(16, 32, 64, 96, 128)),
        "base": Parameter(Text("base of the frequencies", "频率的底数"), choices=(100.0, 10_000.0, 1_000_000.0)),
        "trained": Parameter(Text("length trained on", "训练长度"), choices=(64, 512, 2048, 8192, 32768)),
    },
    quick={},
    predict=Text(
        "Heads of 64 components, base 1,000,000, trained on 2,048 positions. How many of the 32 hands never make a full "
        "turn in training?",
        "每头 64 个分量，底数 1,000,000，训练长度 2,048。32 根指针中，有多少根在训练中从没转满一圈？",
    ),
    number=Number(0, 32, Text("hands", "根"), within=1.0, margin=3),
    names={
        "apart": Text("How far apart two positions' hands are", "两个位置的指针相差多远"),
        "distance": Text("distance", "距离"),
        "one": Text("one hand", "一根指针"),
        "two": Text("two hands", "两根指针"),
        "rope": Text("RoPE", "RoPE"),
        "turns": Text("Turns within the trained length", "训练长度内转的圈数"),
        "pair": Text("pair", "分量对"),
        "turns_made": Text("turns", "圈数"),
        "one_turn": Text("one full turn", "一整圈"),
    },
)
def clock_hands(
    position: int = 100, head_size: int = 64, base: float = 1_000_000.0, trained: int = 2048
) -> Iterator[Event]:
    """Draw the hands, their distances and their turns; then say what repeats and what never turns."""
    frequencies = rotary_frequencies(head_size, base).double()  # [head/2]
    sets = {
        "one": torch.tensor([math.tau / PERIODS[0]], dtype=torch.float64),
        "two": torch.tensor([math.tau / period for period in PERIODS], dtype=torch.float64),
        "rope": frequencies,
    }
    yield _hands(frequencies)
    apart = {name: _apart(values) for name, values in sets.items()}
    for distance in range(1, DRAWN_DISTANCES + 1):
        yield Scalars(distance, {k: float(v[distance - 1]) for k, v in apart.items()}, axis="distance", chart="apart")
    yield Level("turns", "one_turn", 1.0)
    turns = (trained * frequencies / math.tau).tolist()
    for pair, made in enumerate(turns):
        yield Scalars(pair, {"turns_made": made}, axis="pair", chart="turns")
    yield _table(frequencies, position, trained)
    yield Progress(1, 1)
    yield from _claims(apart, frequencies, base, trained)


def _apart(frequencies: Tensor) -> Tensor:
    """The distance between the hands of two positions 1 … FAR apart: √Σ 2(1 - cos(distance · θ))."""
    distances = torch.arange(1, FAR + 1, dtype=torch.float64)  # [distances]
    return (2 * (1 - (distances[:, None] * frequencies).cos())).sum(-1).clamp(min=0).sqrt()  # [distances]


def _shown(pairs: int) -> list[int]:
    """Pairs spread evenly, the first and the last among them."""
    count = min(DRAWN_PAIRS, pairs)
    return [round(index * (pairs - 1) / (count - 1)) for index in range(count)]


def _hands(frequencies: Tensor) -> Event:
    shown = _shown(len(frequencies))
    angles = frequencies[shown][:, None] * torch.arange(DRAWN_POSITIONS)  # [shown, positions]
    return Heatmap(
        "hands",
        tuple(tuple(row) for row in angles.cos().tolist()),
        tuple(str(pair) for pair in shown),
        tuple(str(place) if place % 5 == 0 else "" for place in range(DRAWN_POSITIONS)),
        low=-1.0,
        high=1.0,
        title=Text(
            "Where each hand points (cosine): row pair, column position", "每根指针的指向（余弦）：行为分量对，列为位置"
        ),
    )


def _table(frequencies: Tensor, position: int, trained: int) -> Event:
    columns = (
        Text("pair", "分量对"),
        Text("positions a turn", "转一圈要多少位置"),
        Text("turns in training", "训练中转的圈数"),
        Text(f"degrees at {position}", f"位置 {position} 处的角度"),
    )
    rows = tuple(
        (
            float(pair),
            float(f"{math.tau / float(frequencies[pair]):.3g}"),
            float(f"{trained * float(frequencies[pair]) / math.tau:.3g}"),
            round(math.degrees(position * float(frequencies[pair])) % 360, 2),
        )
        for pair in _shown(len(frequencies))
    )
    return Table("periods", columns, rows, Text("Some of the hands", "其中一些指针"))


def _first_repeat(apart: Tensor) -> int:
    """The smallest distance at which all hands point the same way again; 0 where there is none."""
    same = (apart < SAME).nonzero()  # [repeats, 1]
    return int(same[0]) + 1 if len(same) else 0


def _claims(apart: dict[str, Tensor], frequencies: Tensor, base: float, trained: int) -> Iterator[Event]:
    pairs = len(frequencies)
    periods = math.tau / frequencies  # [head/2]
    never = int((periods > trained).sum())
    yield Claim("prediction", Text(f"{never} of {pairs} hands", f"{pairs} 根中的 {never} 根"), {"number": never}, True)
    one, two = _first_repeat(apart["one"]), _first_repeat(apart["two"])
    yield Claim(
        "few_hands_repeat",
        Text(
            "One hand repeats after its period, two after the least common multiple of theirs",
            "一根指针转满一圈就重复，两根在两个周期的最小公倍数处重复",
        ),
        {"one": one, "two": two},
        one == PERIODS[0] and two == math.lcm(*PERIODS),
    )
    nearest = int(apart["rope"].argmin()) + 1
    yield Claim(
        "neighbours_are_nearest",
        Text(
            f"With RoPE's hands no two of {FAR:,} positions are closer than neighbours",
            f"用 RoPE 的指针，{FAR:,} 个位置中没有哪两个比相邻的更近",
        ),
        {"distance": nearest, "apart": float(apart["rope"].min()), "positions": FAR},
        nearest == 1,
    )
    yield Claim(
        "slowest_is_not_one_over_base",
        Text(
            "The slowest hand's frequency is base^(-(d-2)/d), not 1/base",
            "最慢的指针频率是 base^(-(d-2)/d)，不是 1/base",
        ),
        {
            "positions": float(periods[-1]),
            "popular": math.tau * base,
            "ratio": math.tau * base / float(periods[-1]),
        },
        math.isclose(float(frequencies[-1]), base ** (-(2 * pairs - 2) / (2 * pairs)), rel_tol=1e-4)
        and float(frequencies[-1]) > 1.1 / base,
    )
    yield Claim(
        "some_hands_never_turn",
        Text(
            "Some hands never make a full turn in training: larger angles of theirs are new to the model",
            "有些指针在训练中从没转满一圈：它们更大的角度，模型从未见过",
        ),
        {"never": never, "pairs": pairs, "trained": trained, "share": never / pairs},
        never > 0,
    )
