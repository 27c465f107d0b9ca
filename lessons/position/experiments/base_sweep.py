"""What does the base of the rotary frequencies change: the reach of a score, the loss, the length that can be read?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

from minimind.events import Claim, Event, Level, Scalars, Text
from minimind.experiment import Number, Parameter, experiment
from minimind.lab.arms import Arm, differences, train_arms
from minimind.lab.floors import ngram_loss
from minimind.lab.lengths import PlaceLosses, long_windows, plan_of_seed
from minimind.lab.text import byte_text
from minimind.lab.tiny import tiny_model
from minimind.lab.verdicts import all_hold, is_lower, means
from minimind.model.transformer import MiniMind, rotary_frequencies

BASES = (100.0, 10_000.0, 1_000_000.0)
NAMES = {100.0: "base_100", 10_000.0: "base_10k", 1_000_000.0: "base_1m"}
TRAINED, BATCH = 64, 8
EDGES = (0, 32, 64, 96, 128, 256)
INSIDE = 1
NEAR, FAR = 32, 2048
SAID_STEPS = 150
"""With fewer steps the networks have hardly learnt: comparisons stay undecided."""


@experiment(
    title=Text("The base", "底数"),
    question=Text(
        "RoPE began with base 10,000; models with long contexts take 1,000,000. What does that buy?",
        "RoPE 起初用底数 10,000，长上下文模型用 1,000,000。换来了什么？",
    ),
    parameters={
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=1500),
        "head_size": Parameter(Text("head size of the curve", "曲线用的每头分量数"), choices=(16, 64, 128)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"steps": 150, "seeds": 1},
    deep={"steps": 1000, "seeds": 5},
    smoke={"steps": 10, "seeds": 1},
    predict=Text(
        "Trained on 64 positions, with base 100 and with base 1,000,000: how many nats a byte lower is the loss of the "
        "larger base, inside those 64 positions?",
        "在 64 个位置上训练，底数分别取 100 和 1,000,000：在这 64 个位置之内，大底数的损失低多少 nats/字节？",
    ),
    number=Number(-1, 1, Text("nats", "nats"), within=1.0, margin=0.15),
    names={
        "reach": Text("Mean of cos(distance · θ) over the pairs", "各分量对 cos(距离 · θ) 的均值"),
        "distance": Text("log2 distance", "距离（log2）"),
        "loss": Text("Training loss", "训练损失"),
        "place": Text("Loss by position", "各位置的损失"),
        "position": Text("position", "位置"),
        "step": Text("step", "步"),
        "bigram": Text("bigram", "二元（bigram）"),
    }
    | {NAMES[base]: Text(f"base {base:,.0f}", f"底数 {base:,.0f}") for base in BASES},
)
def base_sweep(steps: int = 300, head_size: int = 64, seeds: int = 3) -> Iterator[Event]:
    """Draw how scores fade with distance for each base; train a network with each, and read twice the length and more."""
    for exponent in range(16):
        values = {NAMES[base]: _fading(base, head_size, 2**exponent) for base in BASES}
        yield Scalars(exponent, values, axis="distance", chart="reach")
    text = byte_text()
    bigram = ngram_loss(text.train, text.held_out, 2)
    places = PlaceLosses(EDGES, *long_windows(text.held_out, EDGES[-1]))
    yield differences(_arms(0))
    yield Level("loss", "bigram", bigram)
    yield Level("place", "bigram", bigram)
    for seed in range(seeds):
        plan = plan_of_seed(text, steps, seed, batch=BATCH, time=TRAINED)
        results = yield from train_arms(_arms(seed), replace(plan, chart="loss" if seed == 0 else f"loss_{seed}"))
        for name in NAMES.values():
            yield from places.read(name, results.models[name])
    yield from places.curves("place")
    yield places.table()
    yield from _claims(places, head_size, bigram, steps >= SAID_STEPS)


def _fading(base: float, head_size: int, distance: int) -> float:
    """The mean over pairs of cos(distance · θ): the score of a vector with itself, as a share of that at distance 0."""
    return float((distance * rotary_frequencies(head_size, base).double()).cos().mean())


def _arms(seed: int) -> list[Arm]:
    def builder(base: float) -> Callable[[int], MiniMind]:
        return lambda _: tiny_model(seed=seed, rope_theta=base, max_position_embeddings=TRAINED)

    return [Arm(NAMES[base], builder(base), {"rope_theta": f"{base:,.0f}"}) for base in BASES]


def _claims(places: PlaceLosses, head_size: int, bigram: float, said: bool) -> Iterator[Event]:
    small, _, large = (NAMES[base] for base in BASES)
    inside = {name: places.at(name, INSIDE) for name in NAMES.values()}
    outside = {name: places.at(name, -1) for name in NAMES.values()}
    gain = places.mean(small, INSIDE) - places.mean(large, INSIDE)
    yield Claim(
        "prediction",
        Text(f"lower by {gain:.2f} nats (minus: higher)", f"低 {gain:.2f} nats（负数表示更高）"),
        {"number": gain},
        True,
    )
    near = {name: _fading(base, head_size, NEAR) for base, name in NAMES.items()}
    far = {name: _fading(base, head_size, FAR) for base, name in NAMES.items()}
    yield Claim(
        "larger_base_fades_later",
        Text(
            f"The larger the base, the more of a score is left at distance {FAR:,}, and the less {NEAR} positions change it",
            f"底数越大，距离 {FAR:,} 处的分数剩得越多，而近处 {NEAR} 个位置之差也越看不出",
        ),
        {
            "near_10k": near["base_10k"],
            "near_1m": near["base_1m"],
            "far_10k": far["base_10k"],
            "far_1m": far["base_1m"],
            "near_distance": NEAR,
            "far_distance": FAR,
        },
        _grows(near) and _grows({name: far[name] for name in ("base_10k", "base_1m")}),
    )
    yield Claim(
        "no_gain_inside",
        Text(
            "Inside the trained length the largest base is not even 0.1 nats better than the smallest",
            "在训练长度之内，最大的底数比最小的连 0.1 nats 都没好出",
        ),
        means(**inside) | {"gain": gain},
        gain < 0.1 if said else None,
    )
    yield Claim(
        "no_base_extrapolates",
        Text(
            "With every base the loss beyond the trained length rises by more than 0.2 nats",
            "无论底数多大，超出训练长度后损失都上升 0.2 nats 以上",
        ),
        {**means(**outside), "bigram": bigram},
        all_hold([is_lower(inside[name], outside[name], 0.2) for name in NAMES.values()]) if said else None,
    )
    yield Claim(
        "larger_base_falls_harder",
        Text(
            "Beyond the trained length the largest base does worst: a larger base alone reads no further, on the contrary",
            "超出训练长度后，底数最大的反而最差：单靠加大底数，不但读不远，还适得其反",
        ),
        means(small=outside[small], large=outside[large]),
        is_lower(outside[small], outside[large], 0.2) if said else None,
    )


def _grows(values: dict[str, float]) -> bool:
    """Whether each is larger than the one before."""
    return all(first < second for first, second in pairwise(values.values()))
