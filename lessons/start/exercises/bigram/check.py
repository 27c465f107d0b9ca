"""Cases, reference and mutants of the exercise bigram."""

from collections.abc import Callable

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text

Bigram = Callable[[Tensor, int, float], Tensor]


def counted(before: Tensor, after: Tensor, vocabulary: int) -> Tensor:
    """How often each pair occurs [vocabulary, vocabulary], one pair at a time."""
    table = torch.zeros(vocabulary, vocabulary)  # [vocabulary, vocabulary]
    table.index_put_((before, after), torch.ones(len(before)), accumulate=True)
    return table


def shares(table: Tensor) -> Tensor:
    """Each row divided by its sum."""
    return table / table.sum(1, keepdim=True)  # [vocabulary, vocabulary]


def reference(tokens: Tensor, vocabulary: int, smoothing: float = 1.0) -> Tensor:
    return shares(counted(tokens[:-1], tokens[1:], vocabulary) + smoothing)


def transposed(tokens: Tensor, vocabulary: int, smoothing: float = 1.0) -> Tensor:
    return shares(counted(tokens[1:], tokens[:-1], vocabulary) + smoothing)


def no_smoothing(tokens: Tensor, vocabulary: int, _smoothing: float = 1.0) -> Tensor:
    return shares(counted(tokens[:-1], tokens[1:], vocabulary))


def over_the_table(tokens: Tensor, vocabulary: int, smoothing: float = 1.0) -> Tensor:
    table = counted(tokens[:-1], tokens[1:], vocabulary) + smoothing  # [vocabulary, vocabulary]
    return table / table.sum()  # [vocabulary, vocabulary]


def over_columns(tokens: Tensor, vocabulary: int, smoothing: float = 1.0) -> Tensor:
    table = counted(tokens[:-1], tokens[1:], vocabulary) + smoothing  # [vocabulary, vocabulary]
    return table / table.sum(0, keepdim=True)  # [vocabulary, vocabulary]


def wraps_around(tokens: Tensor, vocabulary: int, smoothing: float = 1.0) -> Tensor:
    return shares(counted(tokens, tokens.roll(-1), vocabulary) + smoothing)


def smooths_after(tokens: Tensor, vocabulary: int, smoothing: float = 1.0) -> Tensor:
    table = counted(tokens[:-1], tokens[1:], vocabulary)  # [vocabulary, vocabulary]
    return (table + smoothing) / table.sum(1, keepdim=True)  # [vocabulary, vocabulary]


def counts_only(tokens: Tensor, vocabulary: int, smoothing: float = 1.0) -> Tensor:
    return counted(tokens[:-1], tokens[1:], vocabulary) + smoothing


def seen_once(tokens: Tensor, vocabulary: int, smoothing: float = 1.0) -> Tensor:
    table = torch.zeros(vocabulary, vocabulary)  # [vocabulary, vocabulary]
    table[tokens[:-1], tokens[1:]] += 1  # repeated indices are added once
    return shares(table + smoothing)


def smooths_by_one(tokens: Tensor, vocabulary: int, _smoothing: float = 1.0) -> Tensor:
    return shares(counted(tokens[:-1], tokens[1:], vocabulary) + 1)


def empty(_tokens: Tensor, vocabulary: int, _smoothing: float = 1.0) -> Tensor:
    return torch.zeros(vocabulary, vocabulary)  # [vocabulary, vocabulary]


def run(part: Bigram, case: Case) -> Tensor:
    """Call the learner's function."""
    return part(case.inputs["tokens"], case.settings["vocabulary"], case.settings["smoothing"])


def cases(generator: torch.Generator) -> list[Case]:
    """A short text, one in which pairs repeat, one whose last token occurs nowhere else, little smoothing."""

    def draw(length: int, vocabulary: int) -> Tensor:
        return torch.randint(0, vocabulary, (length,), generator=generator)  # [length]

    lonely = torch.cat((draw(40, 4), torch.tensor([4])))  # [41]
    return [
        Case(Text("a short text", "短文本"), {"tokens": draw(12, 4)}, {"vocabulary": 4, "smoothing": 0.5}),
        Case(
            Text("pairs that repeat", "反复出现的字节对"), {"tokens": draw(300, 5)}, {"vocabulary": 5, "smoothing": 1.0}
        ),
        Case(
            Text("a token with nothing after it", "后面什么都没有的词元"),
            {"tokens": lonely},
            {"vocabulary": 6, "smoothing": 0.25},
        ),
        Case(
            Text("more smoothing than text", "平滑比文本还多"),
            {"tokens": draw(7, 3)},
            {"vocabulary": 3, "smoothing": 3.0},
        ),
    ]


def sums_to_one(part: Bigram, generator: torch.Generator) -> bool:
    """Each row is a distribution, also for tokens that never occur."""
    table = part(torch.randint(0, 5, (30,), generator=generator), 9, 1.0)  # [9, 9]
    return bool(torch.allclose(table.sum(1), torch.ones(9)) and (table > 0).all())


CHECK = Check(
    part="bigram",
    parameters=("tokens", "vocabulary", "smoothing"),
    axes=("before", "after"),
    cases=cases,
    run=run,
    reference=reference,
    mutants={
        mutant.__name__: mutant
        for mutant in (
            empty,
            transposed,
            no_smoothing,
            over_the_table,
            over_columns,
            wraps_around,
            smooths_after,
            counts_only,
            seen_once,
            smooths_by_one,
        )
    },
    invariants=(
        Invariant(
            Text("a row does not sum to 1, or holds a 0", "有的行加起来不等于 1，或含有 0"),
            sums_to_one,
        ),
    ),
)
