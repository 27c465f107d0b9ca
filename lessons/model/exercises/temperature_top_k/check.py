"""Cases, reference and mutants of the exercise on temperature and top-k."""

from collections.abc import Callable

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text

Filter = Callable[[Tensor, float, int], Tensor]


def kept(scores: Tensor, k: int) -> Tensor:
    """True where a score [vocabulary] is among the k largest, ties at the border included."""
    if not 0 < k < len(scores):
        return torch.ones_like(scores, dtype=torch.bool)  # [vocabulary]
    return scores >= scores.sort(descending=True).values[k - 1]  # [vocabulary]


def reference(logits: Tensor, temperature: float, k: int) -> Tensor:
    scores = logits.double() / temperature  # [vocabulary]
    weights = (scores - scores.max()).exp() * kept(scores, k)  # [vocabulary]
    return (weights / weights.sum()).to(logits.dtype)  # [vocabulary]


def plain(logits: Tensor, _temperature: float, _k: int) -> Tensor:
    return logits.softmax(-1)  # [vocabulary]


def multiplies(logits: Tensor, temperature: float, k: int) -> Tensor:
    return reference(logits * temperature, 1.0, k)  # [vocabulary]


def forgets_temperature(logits: Tensor, _temperature: float, k: int) -> Tensor:
    return reference(logits, 1.0, k)  # [vocabulary]


def forgets_k(logits: Tensor, temperature: float, _k: int) -> Tensor:
    return (logits / temperature).softmax(-1)  # [vocabulary]


def not_renormalised(logits: Tensor, temperature: float, k: int) -> Tensor:
    scores = logits / temperature  # [vocabulary]
    return scores.softmax(-1) * kept(scores, k)  # [vocabulary]


def zeros_scores(logits: Tensor, temperature: float, k: int) -> Tensor:
    scores = logits / temperature  # [vocabulary]
    return (scores * kept(scores, k)).softmax(-1)  # [vocabulary]


def keeps_smallest(logits: Tensor, temperature: float, k: int) -> Tensor:
    scores = logits / temperature  # [vocabulary]
    return scores.masked_fill(~kept(-scores, k), -torch.inf).softmax(-1)  # [vocabulary]


def one_too_few(logits: Tensor, temperature: float, k: int) -> Tensor:
    return reference(logits, temperature, k - 1 if k > 1 else k)  # [vocabulary]


def one_too_many(logits: Tensor, temperature: float, k: int) -> Tensor:
    return reference(logits, temperature, k + 1 if k > 0 else k)  # [vocabulary]


def border_excluded(logits: Tensor, temperature: float, k: int) -> Tensor:
    scores = logits / temperature  # [vocabulary]
    if not 0 < k < len(scores):
        return scores.softmax(-1)  # [vocabulary]
    border = scores.sort(descending=True).values[k - 1]  # []
    return scores.masked_fill(scores <= border, -torch.inf).softmax(-1)  # [vocabulary]


def temperature_after(logits: Tensor, temperature: float, k: int) -> Tensor:
    return reference(logits, 1.0, k) / temperature  # [vocabulary]


def run(part: Filter, case: Case) -> Tensor:
    """Call the learner's function."""
    return part(case.inputs["logits"], case.settings["temperature"], case.settings["k"])


def cases(generator: torch.Generator) -> list[Case]:
    """A small one, a hot and a cold one, k that keeps everything, equal scores at the border."""

    def draw(size: int) -> Tensor:
        return torch.randn(size, generator=generator) * 2  # [size]

    ties = torch.tensor([3.0, 1.0, 1.0, 0.0, -1.0])[torch.randperm(5, generator=generator)]  # [5]
    return [
        Case(Text("a small example", "小例子"), {"logits": draw(5)}, {"temperature": 0.5, "k": 2}, gradients=True),
        Case(Text("k = 1", "k = 1"), {"logits": draw(7)}, {"temperature": 1.0, "k": 1}),
        Case(Text("hot", "高温"), {"logits": draw(12)}, {"temperature": 2.0, "k": 5}),
        Case(Text("all tokens kept", "全部保留"), {"logits": draw(6)}, {"temperature": 1.5, "k": 0}),
        Case(Text("k larger than the vocabulary", "k 大于词表"), {"logits": draw(4)}, {"temperature": 0.8, "k": 9}),
        Case(Text("equal scores at the border", "边界上分数相等"), {"logits": ties}, {"temperature": 0.7, "k": 2}),
    ]


def is_greedy_at_one(part: Filter, generator: torch.Generator) -> bool:
    """k = 1 puts everything on the largest."""
    logits = torch.randn(9, generator=generator)  # [9]
    result = part(logits, 1.0, 1)  # [9]
    return bool(result.argmax() == logits.argmax() and abs(float(result.max()) - 1) < 1e-6)


def leaves_the_input(part: Filter, generator: torch.Generator) -> bool:
    """The logits are not written to."""
    logits = torch.randn(9, generator=generator)  # [9]
    before = logits.clone()  # [9]
    part(logits, 0.5, 3)
    return torch.equal(logits, before)


CHECK = Check(
    part="temperature_top_k",
    parameters=("logits", "temperature", "k"),
    axes=("vocabulary",),
    cases=cases,
    run=run,
    reference=reference,
    mutants={
        mutant.__name__: mutant
        for mutant in (
            plain,
            multiplies,
            forgets_temperature,
            forgets_k,
            not_renormalised,
            zeros_scores,
            keeps_smallest,
            one_too_few,
            one_too_many,
            border_excluded,
            temperature_after,
        )
    },
    invariants=(
        Invariant(
            Text("with k = 1 not everything is on the likeliest token", "k = 1 时，概率没有全在最可能的词元上"),
            is_greedy_at_one,
        ),
        Invariant(Text("the logits themselves were changed", "logits 本身被改动了"), leaves_the_input),
    ),
)
