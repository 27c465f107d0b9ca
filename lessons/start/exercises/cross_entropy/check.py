"""Cases, reference and mutants of the exercise cross-entropy."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text

Loss = Callable[[Tensor, Tensor, int], Tensor]


def reference(logits: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    return F.cross_entropy(logits, labels, ignore_index=ignored)  # []


def losses(logits: Tensor, labels: Tensor, ignored: int) -> Tensor:
    """The loss of every position that counts [counted]."""
    return F.cross_entropy(logits, labels, ignore_index=ignored, reduction="none")[labels != ignored]  # [counted]


def nothing(logits: Tensor, _labels: Tensor, _ignored: int = -100) -> Tensor:
    return logits.new_zeros(())  # []


def overflows(logits: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    scores, answers = logits[labels != ignored], labels[labels != ignored]  # [counted, vocabulary], [counted]
    chosen = scores.gather(-1, answers[:, None]).squeeze(-1)  # [counted]
    return (scores.exp().sum(-1).log() - chosen).mean()  # []


def log_of_softmax(logits: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    scores, answers = logits[labels != ignored], labels[labels != ignored]  # [counted, vocabulary], [counted]
    return -scores.softmax(-1).gather(-1, answers[:, None]).log().mean()  # []


def counts_ignored(logits: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    return losses(logits, labels, ignored).sum() / len(labels)  # []


def mean_over_vocabulary(logits: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    return losses(logits, labels, ignored).mean() / logits.shape[-1]  # []


def total(logits: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    return losses(logits, labels, ignored).sum()  # []


def no_minus(logits: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    return -losses(logits, labels, ignored).mean()  # []


def in_bits(logits: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    return losses(logits, labels, ignored).mean() / math.log(2)  # []


def ignores_zero(logits: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    return losses(logits, labels, ignored)[labels[labels != ignored] > 0].mean()  # []


def wrong_axis(logits: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    counted = labels != ignored  # [positions]
    log_shares = logits[counted].log_softmax(0)  # [counted, vocabulary]
    return -log_shares.gather(-1, labels[counted][:, None]).mean()  # []


def run(part: Loss, case: Case) -> Tensor:
    """Call the learner's function."""
    return part(case.inputs["logits"], case.inputs["labels"], case.settings["ignored"])


def cases(generator: torch.Generator) -> list[Case]:
    """A small example, one with ignored positions, huge scores, a hopeless answer, another number that is ignored."""

    def draw(positions: int, vocabulary: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(0, vocabulary, (positions,), generator=generator)  # [positions]
        labels[0], labels[1] = 0, 1
        return torch.randn(positions, vocabulary, generator=generator) * 2, labels

    small, small_labels = draw(4, 3)
    masked, masked_labels = draw(10, 7)
    masked_labels[torch.randperm(8, generator=generator)[:4] + 2] = -100
    other, other_labels = draw(6, 5)
    other_labels[3] = -1
    hopeless = torch.tensor([[80.0, -30.0, 10.0], [0.0, 5.0, 1.0]])  # [2, 3]
    return [
        Case(
            Text("a small example", "小例子"),
            {"logits": small, "labels": small_labels},
            {"ignored": -100},
            gradients=True,
        ),
        Case(
            Text("positions to be ignored", "含有要忽略的位置"),
            {"logits": masked, "labels": masked_labels},
            {"ignored": -100},
            gradients=True,
        ),
        Case(
            Text("scores of ten thousand", "上万的分数"),
            {"logits": small * 5000, "labels": small_labels},
            {"ignored": -100},
            absolute=1e-2,
        ),
        Case(
            Text("an answer with hardly any probability", "概率几乎为零的答案"),
            {"logits": hopeless, "labels": torch.tensor([1, 0])},
            {"ignored": -100},
        ),
        Case(
            Text("another number is ignored", "忽略的是另一个数"),
            {"logits": other, "labels": other_labels},
            {"ignored": -1},
        ),
    ]


def starts_at_ln_v(part: Loss, _generator: torch.Generator) -> bool:
    """Equal scores cost ln V."""
    return math.isclose(float(part(torch.zeros(5, 9), torch.arange(5), -100)), math.log(9), rel_tol=1e-5)


def only_differences_count(part: Loss, generator: torch.Generator) -> bool:
    """The same number added to every score changes nothing."""
    logits = torch.randn(6, 5, generator=generator)  # [6, 5]
    labels = torch.randint(0, 5, (6,), generator=generator)  # [6]
    return math.isclose(float(part(logits, labels, -100)), float(part(logits + 20, labels, -100)), rel_tol=1e-4)


CHECK = Check(
    part="cross_entropy",
    parameters=("logits", "labels", "ignored"),
    axes=(),
    cases=cases,
    run=run,
    reference=reference,
    mutants={
        mutant.__name__: mutant
        for mutant in (
            nothing,
            overflows,
            log_of_softmax,
            counts_ignored,
            mean_over_vocabulary,
            total,
            no_minus,
            in_bits,
            ignores_zero,
            wrong_axis,
        )
    },
    invariants=(
        Invariant(Text("equal scores must cost ln V", "分数全相等时，损失应为 ln V"), starts_at_ln_v),
        Invariant(
            Text("adding 20 to every score changes the loss", "每个分数都加 20，损失却变了"), only_differences_count
        ),
    ),
)
