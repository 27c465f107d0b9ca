"""Cases, reference and mutants of the exercise softmax."""

from collections.abc import Callable

import torch
from torch import Tensor

from lessons.checking import Case, Check
from minimind.events import Text


def unchanged(x: Tensor) -> Tensor:
    return x


def wrong_axis(x: Tensor) -> Tensor:
    return x.softmax(-2)  # [batch, size]


def overflows(x: Tensor) -> Tensor:
    return x.exp() / x.exp().sum(-1, keepdim=True)  # [batch, size]


def run(part: Callable[[Tensor], Tensor], case: Case) -> Tensor:
    """Call the learner's function."""
    return part(case.inputs["x"])


def cases(generator: torch.Generator) -> list[Case]:
    """A small example, and scores too large for exp."""
    x = torch.randn(2, 5, generator=generator)  # [2, 5]
    return [
        Case(Text("a small example", "小例子"), {"x": x}, gradients=True),
        Case(Text("large scores", "很大的分数"), {"x": 100 * x + 200}),
    ]


CHECK = Check(
    part="softmax",
    parameters=("x",),
    axes=("batch", "size"),
    cases=cases,
    run=run,
    reference=lambda x: x.softmax(-1),
    mutants={"unchanged": unchanged, "wrong_axis": wrong_axis, "overflows": overflows},
)
