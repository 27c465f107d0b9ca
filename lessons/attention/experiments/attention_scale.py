"""Why scores are divided by √d: what softmax makes of random queries and keys as the size of a head grows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from minimind.events import Claim, Event, Level, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.verdicts import agree, means

SIZES = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
DIVISORS = {"not at all": 0.0, "by √d": 0.5, "by d": 1.0}
"""The power of the head size by which each arm divides."""
QUERIES = 64


@dataclass
class Measured:
    """Of one arm at one size, a number for each seed."""

    spread: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)
    gradient: list[float] = field(default_factory=list)


@experiment(
    title=Text("Dividing by √d", "除以 √d"),
    question=Text(
        "Scores are sums of d products. What happens to softmax as d grows?",
        "分数是 d 个乘积之和。d 变大时，softmax 会怎样？",
    ),
    parameters={
        "keys": Parameter(Text("keys to choose from", "可选的键数"), low=4, high=512),
        "largest": Parameter(Text("largest head size", "最大的头宽"), choices=SIZES[2:]),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=10),
    },
    quick={"seeds": 1},
    deep={"seeds": 5},
    predict=Text(
        "64 keys, head size 1024, nothing trained, scores NOT divided: how much weight does the top key get, on average?",
        "64 个键，头宽 1024，未经训练，分数不除：得分最高的键平均拿到多少权重？",
    ),
    choices=(
        Text("1/64, as the others", "1/64，和别的键一样"),
        Text("about a tenth", "大约十分之一"),
        Text("about half", "大约一半"),
        Text("nearly all", "几乎全部"),
    ),
    names={
        "entropy": Text("Entropy of the weights (nats)", "权重的熵（nats）"),
        "largest weight": Text("Largest weight", "最大的权重"),
        "gradient": Text("Gradient through the softmax", "穿过 softmax 的梯度"),
        "not at all": Text("not divided", "不除"),
        "by √d": Text("by √d", "除以 √d"),
        "by d": Text("by d", "除以 d"),
        "all alike": Text("all alike", "全都一样"),
        "log2 d": Text("log2 of the head size", "头宽的 log2"),
    },
)
def attention_scale(keys: int = 64, largest: int = 1024, seeds: int = 3) -> Iterator[Event]:
    """For each size and each divisor: spread of the scores, entropy, largest weight, and the gradient that is left."""
    yield Level("entropy", "all alike", math.log(keys))
    sizes = [size for size in SIZES if size <= largest]
    found = {(arm, size): Measured() for arm in DIVISORS for size in sizes}
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        for size in sizes:
            queries = torch.randn(QUERIES, size, generator=generator)  # [queries, head]
            products = queries @ torch.randn(keys, size, generator=generator).T  # [queries, keys]
            for arm, power in DIVISORS.items():
                _measure(products / size**power, found[arm, size])
            if seed == 0:
                for chart in ("entropy", "largest", "gradient"):
                    values = {arm: getattr(found[arm, size], chart)[0] for arm in DIVISORS}
                    name = "largest weight" if chart == "largest" else chart
                    yield Scalars(math.log2(size), values, axis="log2 d", chart=name)
    yield _table(found, sizes)
    yield from _claims(found, sizes, keys)


def _measure(scores: Tensor, into: Measured) -> None:
    """Statistics over the queries of `scores` [queries, keys]; the gradient is that of a weight by its own score."""
    weights = scores.softmax(-1)  # [queries, keys]
    into.spread.append(float(scores.std()))
    into.entropy.append(float(torch.special.entr(weights).sum(-1).mean()))
    into.largest.append(float(weights.max(-1).values.mean()))
    into.gradient.append(float((weights * (1 - weights)).sum(-1).mean()))


def _table(found: dict[tuple[str, int], Measured], sizes: list[int]) -> Event:
    rows: list[tuple[str | float, ...]] = []
    for size in sizes:
        for arm in DIVISORS:
            cell = found[arm, size]
            rows.append((float(size), arm, *(statistics.fmean(x) for x in (cell.spread, cell.entropy, cell.largest))))
    columns = (
        Text("d", "d"),
        Text("divided", "除数"),
        Text("spread of scores", "分数的标准差"),
        Text("entropy", "熵"),
        Text("largest weight", "最大的权重"),
    )
    return Table("results", columns, tuple(rows), Text("Random queries and keys", "随机的查询和键"))


def _claims(found: dict[tuple[str, int], Measured], sizes: list[int], keys: int) -> Iterator[Event]:
    small, big = sizes[0], sizes[-1]
    raw, scaled, flat = (found[arm, big] for arm in DIVISORS)
    middle = 64 if 64 in sizes else big
    top = statistics.fmean(raw.largest)
    choice = 0 if top < 0.04 else 1 if top < 0.25 else 2 if top < 0.7 else 3
    yield Claim("prediction", Text(f"the top key gets {top:.0%}", f"最高的键拿到 {top:.0%}"), {"choice": choice}, True)
    yield Claim(
        "spread_grows_with_root",
        Text("The spread of undivided scores is √d, within 10 %", "不除时，分数的标准差就是 √d，误差在 10 % 以内"),
        means(raw=found["not at all", middle].spread, scaled=found["by √d", middle].spread) | {"d": middle},
        agree([all(abs(s / math.sqrt(d) - 1) < 0.1 for s in found["not at all", d].spread) for d in sizes[2:]]),
    )
    yield Claim(
        "undivided_saturates",
        Text(
            "Undivided, the largest head puts nearly everything on one key", "不除时，最宽的头几乎把一切都压在一个键上"
        ),
        means(entropy=raw.entropy, largest=raw.largest, gradient=raw.gradient) | {"even": math.log(keys)},
        agree([entropy < 0.15 * math.log(keys) for entropy in raw.entropy]) if big >= 256 else None,
    )
    change = [abs(a - b) for a, b in zip(scaled.entropy, found["by √d", small].entropy, strict=True)]
    yield Claim(
        "root_keeps_it_the_same",
        Text("Divided by √d, the weights are as even at every size", "除以 √d，不管头多宽，权重的均匀程度都一样"),
        means(entropy=scaled.entropy, largest=scaled.largest, change=change, gradient=scaled.gradient),
        agree([c < 0.15 * math.log(keys) for c in change]),
    )
    yield Claim(
        "by_d_cannot_choose",
        Text("Divided by d, a large head cannot choose: all keys get the same", "除以 d，宽的头无法选择：所有键一样多"),
        means(entropy=flat.entropy, largest=flat.largest),
        agree([e > 0.999 * math.log(keys) for e in flat.entropy]) if big >= 256 else None,
    )
    lost = [s / max(r, 1e-30) for r, s in zip(raw.gradient, scaled.gradient, strict=True)]
    yield Claim(
        "the_gradient_dies_too",
        Text("Undivided, less than a quarter of the gradient comes through", "不除时，穿过 softmax 的梯度不到四分之一"),
        means(times=lost, raw=raw.gradient, scaled=scaled.gradient),
        agree([times > 4 for times in lost]) if big >= 512 else None,
    )
