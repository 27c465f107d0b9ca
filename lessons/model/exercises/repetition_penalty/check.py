"""Cases, reference and mutants of the exercise on the repetition penalty."""

from collections.abc import Callable

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text

Penalty = Callable[[Tensor, Tensor, float], Tensor]


def changed(logits: Tensor, places: list[int], change: Callable[[float], float]) -> Tensor:
    """A copy of `logits` [vocabulary] with `change` applied at each of `places`, one after the other."""
    result = logits.clone()  # [vocabulary]
    for place in places:
        result[place] = change(float(result[place]))
    return result


def once(history: Tensor) -> list[int]:
    """The tokens of `history` [length], each once."""
    return sorted(set(history.tolist()))


def lowered(penalty: float) -> Callable[[float], float]:
    """What becomes of one score."""
    return lambda score: score / penalty if score > 0 else score * penalty


def reference(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    return changed(logits, once(history), lowered(penalty))


def unchanged(logits: Tensor, _history: Tensor, _penalty: float) -> Tensor:
    return logits


def divides_all(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    return changed(logits, once(history), lambda score: score / penalty)


def multiplies_all(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    return changed(logits, once(history), lambda score: score * penalty)


def every_time(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    return changed(logits, history.tolist(), lowered(penalty))


def wrong_way(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    return changed(logits, once(history), lowered(1 / penalty))


def subtracts(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    return changed(logits, once(history), lambda score: score - penalty)


def everything(logits: Tensor, _history: Tensor, penalty: float) -> Tensor:
    return changed(logits, list(range(len(logits))), lowered(penalty))


def the_others(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    return changed(logits, sorted(set(range(len(logits))) - set(once(history))), lowered(penalty))


def last_only(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    return changed(logits, history.tolist()[-1:], lowered(penalty))


def forbids(logits: Tensor, history: Tensor, _penalty: float) -> Tensor:
    return changed(logits, once(history), lambda _score: -torch.inf)


def run(part: Penalty, case: Case) -> Tensor:
    """Call the learner's function."""
    return part(case.inputs["logits"], case.inputs["history"], case.settings["penalty"])


def cases(generator: torch.Generator) -> list[Case]:
    """A small one with both signs, a history that repeats, one without negative scores, an empty history."""
    small = torch.tensor([2.0, -1.0, 0.5, -3.0, 1.0]) + 0.1 * torch.rand(5, generator=generator)  # [5]
    longer = torch.randn(12, generator=generator) * 2  # [12]
    repeats = torch.tensor([1, 4, 4, 4, 7, 1, 2])  # [length]
    return [
        Case(Text("a small example", "小例子"), {"logits": small, "history": torch.tensor([0, 3])}, {"penalty": 1.5}),
        Case(
            Text("a history that repeats", "反复出现的历史"), {"logits": longer, "history": repeats}, {"penalty": 1.2}
        ),
        Case(
            Text("only positive scores", "只有正的分数"),
            {"logits": longer.abs() + 0.1, "history": torch.tensor([3, 3, 5])},
            {"penalty": 1.3},
        ),
        Case(
            Text("only negative scores", "只有负的分数"),
            {"logits": -longer.abs() - 0.1, "history": torch.tensor([0, 6, 11])},
            {"penalty": 2.0},
        ),
        Case(
            Text("nothing said yet", "还什么都没说"),
            {"logits": longer, "history": torch.zeros(0, dtype=torch.long)},
            {"penalty": 1.4},
        ),
    ]


def never_raises(part: Penalty, generator: torch.Generator) -> bool:
    """No token of the history becomes likelier."""
    logits = torch.randn(30, generator=generator)  # [30]
    history = torch.randint(0, 30, (12,), generator=generator)  # [12]
    return bool((part(logits, history, 1.3)[history] <= logits[history]).all())


def leaves_the_input(part: Penalty, generator: torch.Generator) -> bool:
    """The logits are not written to."""
    logits = torch.randn(8, generator=generator)  # [8]
    before = logits.clone()  # [8]
    part(logits, torch.tensor([1, 2]), 1.3)
    return torch.equal(logits, before)


CHECK = Check(
    part="repetition_penalty",
    parameters=("logits", "history", "penalty"),
    axes=("vocabulary",),
    cases=cases,
    run=run,
    reference=reference,
    mutants={
        mutant.__name__: mutant
        for mutant in (
            unchanged,
            divides_all,
            multiplies_all,
            every_time,
            wrong_way,
            subtracts,
            everything,
            the_others,
            last_only,
            forbids,
        )
    },
    invariants=(
        Invariant(Text("a token that was said becomes likelier", "说过的词元反而更可能了"), never_raises),
        Invariant(Text("the logits themselves were changed", "logits 本身被改动了"), leaves_the_input),
    ),
)
