"""How much do averages of random draws still differ? Replace this by the question of your lesson."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from minimind.events import Claim, Event, Scalars, Text
from minimind.experiment import Parameter, experiment


@experiment(
    title=Text("Averages", "平均值"),
    question=Text(
        "How fast does the spread of an average fall with its size?", "平均的个数越多，平均值的波动降得多快？"
    ),
    parameters={"largest": Parameter(Text("largest average", "最多平均几个"), low=4, high=1024)},
    quick={"largest": 64},
    predict=Text("Four times as many draws: the spread of their average becomes …", "个数变成四倍，平均值的波动变成……"),
    choices=(Text("half", "一半"), Text("a quarter", "四分之一")),
    names={"size": Text("draws in an average", "平均的个数"), "spread": Text("spread", "波动")},
)
def slug_average(largest: int = 256) -> Iterator[Event]:
    """Stream the standard deviation of 2000 averages for growing sizes."""
    generator = torch.Generator().manual_seed(0)
    spreads = []
    size = 1
    while size <= largest:
        spreads.append(float(torch.randn(2000, size, generator=generator).mean(1).std()))
        yield Scalars(size, {"spread": spreads[-1]}, axis="size", chart="spread")
        size *= 4
    ratio = spreads[1] / spreads[0]
    yield Claim(
        "prediction", Text(f"it becomes {ratio:.2f}", f"变成 {ratio:.2f}"), {"choice": int(ratio < 0.375)}, True
    )
    yield Claim(
        "falls_with_root",
        Text("Four times as many draws halve the spread", "个数变成四倍，波动减半"),
        {"ratio": ratio},
        abs(ratio - 0.5) < 0.05,
    )
