"""Cases, reference and mutants of the exercise on top-p."""

from collections.abc import Callable

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text

Filter = Callable[[Tensor, float], Tensor]


def nucleus(probabilities: Tensor, p: float, descending: bool = True) -> list[int]:
    """The places [·] of the tokens kept, found one after the other; the last one crosses p."""
    places: list[int] = []
    total = 0.0
    for place in probabilities.argsort(descending=descending).tolist():
        if total >= p:
            break
        places.append(place)
        total += float(probabilities[place])
    return places


def only(probabilities: Tensor, places: list[int]) -> Tensor:
    """`probabilities` [vocabulary] at `places`, 0 elsewhere."""
    mask = torch.zeros_like(probabilities)  # [vocabulary]
    mask[places] = 1
    return probabilities * mask  # [vocabulary]


def reference(logits: Tensor, p: float) -> Tensor:
    probabilities = logits.softmax(-1)  # [vocabulary]
    kept = only(probabilities, nucleus(probabilities, p))  # [vocabulary]
    return kept / kept.sum()  # [vocabulary]


def plain(logits: Tensor, _p: float) -> Tensor:
    return logits.softmax(-1)  # [vocabulary]


def drops_the_crossing_one(logits: Tensor, p: float) -> Tensor:
    probabilities = logits.softmax(-1)  # [vocabulary]
    places = nucleus(probabilities, p)
    total = float(probabilities[places].sum())
    kept = only(probabilities, places[:-1] if total > p and len(places) > 1 else places)  # [vocabulary]
    return kept / kept.sum()  # [vocabulary]


def not_put_back(logits: Tensor, p: float) -> Tensor:
    return reference(logits, p).sort(descending=True).values  # [vocabulary]


def ascending(logits: Tensor, p: float) -> Tensor:
    probabilities = logits.softmax(-1)  # [vocabulary]
    kept = only(probabilities, nucleus(probabilities, p, descending=False))  # [vocabulary]
    return kept / kept.sum()  # [vocabulary]


def threshold(logits: Tensor, p: float) -> Tensor:
    probabilities = logits.softmax(-1)  # [vocabulary]
    kept = probabilities * (probabilities >= min(1 - p, float(probabilities.max())))  # [vocabulary]
    return kept / kept.sum()  # [vocabulary]


def not_renormalised(logits: Tensor, p: float) -> Tensor:
    probabilities = logits.softmax(-1)  # [vocabulary]
    return only(probabilities, nucleus(probabilities, p))  # [vocabulary]


def zeros_scores(logits: Tensor, p: float) -> Tensor:
    return only(logits, nucleus(logits.softmax(-1), p)).softmax(-1)  # [vocabulary]


def one_too_many(logits: Tensor, p: float) -> Tensor:
    probabilities = logits.softmax(-1)  # [vocabulary]
    count = len(nucleus(probabilities, p)) + 1
    kept = only(probabilities, probabilities.argsort(descending=True)[:count].tolist())  # [vocabulary]
    return kept / kept.sum()  # [vocabulary]


def evenly(logits: Tensor, p: float) -> Tensor:
    kept = (reference(logits, p) > 0).float()  # [vocabulary]
    return kept / kept.sum()  # [vocabulary]


def run(part: Filter, case: Case) -> Tensor:
    """Call the learner's function."""
    return part(case.inputs["logits"], case.settings["p"])


def cases(generator: torch.Generator) -> list[Case]:
    """A small one with known probabilities, a longer one, a sure model, p = 1, a tiny p."""

    def shuffled(probabilities: list[float]) -> Tensor:
        values = torch.tensor(probabilities)  # [vocabulary]
        return values[torch.randperm(len(values), generator=generator)].log()  # [vocabulary]

    rest = torch.randn(20, generator=generator)  # [20]
    return [
        Case(Text("a small example", "小例子"), {"logits": shuffled([0.42, 0.28, 0.17, 0.09, 0.04])}, {"p": 0.8}),
        Case(Text("twenty tokens", "二十个词元"), {"logits": rest}, {"p": 0.65}),
        Case(Text("a sure model", "很有把握的模型"), {"logits": shuffled([0.96, 0.02, 0.015, 0.005])}, {"p": 0.5}),
        Case(Text("p = 1 keeps all", "p = 1 全部保留"), {"logits": shuffled([0.5, 0.3, 0.15, 0.05])}, {"p": 1.0}),
        Case(
            Text("a tiny p keeps one", "很小的 p 只留一个"), {"logits": shuffled([0.35, 0.3, 0.2, 0.15])}, {"p": 0.01}
        ),
    ]


def keeps_at_least_one(part: Filter, generator: torch.Generator) -> bool:
    """However small p, the likeliest token stays, with all the probability."""
    logits = torch.randn(11, generator=generator)  # [11]
    result = part(logits, 1e-6)  # [11]
    return bool(result.argmax() == logits.argmax() and abs(float(result.sum()) - 1) < 1e-5)


CHECK = Check(
    part="top_p",
    parameters=("logits", "p"),
    axes=("vocabulary",),
    cases=cases,
    run=run,
    reference=reference,
    mutants={
        mutant.__name__: mutant
        for mutant in (
            plain,
            drops_the_crossing_one,
            not_put_back,
            ascending,
            threshold,
            not_renormalised,
            zeros_scores,
            one_too_many,
            evenly,
        )
    },
    invariants=(
        Invariant(
            Text("a tiny p does not leave exactly the likeliest token", "p 极小时，没有恰好留下最可能的词元"),
            keeps_at_least_one,
        ),
    ),
)
