"""Cases, reference and mutants of the exercise causal mask."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text
from minimind.model.transformer import MiniMind, causal_mask
from minimind.model.variants.cores import allowed_scores, install_core

Part = Callable[[Tensor], Tensor]


def allowed(scores: Tensor, diagonal: int | None = None) -> Tensor:
    """True on and below a diagonal of `scores` [..., time, length]: by default that of the last queries."""
    time, length = scores.shape[-2:]
    shift = length - time if diagonal is None else diagonal
    return torch.ones(time, length, dtype=torch.bool).tril(shift)  # [time, length]


def reference(scores: Tensor) -> Tensor:
    """Row by row, in float64: the softmax of what may be seen, and zeros."""
    time, length = scores.shape[-2:]
    weights = torch.zeros_like(scores, dtype=torch.float64)  # [..., time, length]
    for row in range(time):
        seen = length - time + row + 1
        weights[..., row, :seen] = scores[..., row, :seen].double().softmax(-1)
    return weights.to(scores.dtype)  # [..., time, length]


def no_mask(scores: Tensor) -> Tensor:
    return scores.softmax(-1)


def masks_itself(scores: Tensor) -> Tensor:
    shift = scores.shape[-1] - scores.shape[-2]
    return scores.masked_fill(~allowed(scores, shift - 1), -math.inf).softmax(-1)


def sees_one_ahead(scores: Tensor) -> Tensor:
    shift = scores.shape[-1] - scores.shape[-2]
    return scores.masked_fill(~allowed(scores, shift + 1), -math.inf).softmax(-1)


def looks_forward(scores: Tensor) -> Tensor:
    shift = scores.shape[-1] - scores.shape[-2]
    return scores.masked_fill(torch.ones_like(scores, dtype=torch.bool).tril(shift - 1), -math.inf).softmax(-1)


def mask_after_softmax(scores: Tensor) -> Tensor:
    return scores.softmax(-1) * allowed(scores)


def zero_not_infinity(scores: Tensor) -> Tensor:
    return scores.masked_fill(~allowed(scores), 0.0).softmax(-1)


def ignores_the_cache(scores: Tensor) -> Tensor:
    return scores.masked_fill(~allowed(scores, 0), -math.inf).softmax(-1)


def cache_counted_backwards(scores: Tensor) -> Tensor:
    return scores.masked_fill(~allowed(scores, scores.shape[-2] - scores.shape[-1]), -math.inf).softmax(-1)


def minus_ten_thousand(scores: Tensor) -> Tensor:
    return scores.masked_fill(~allowed(scores), -1e4).softmax(-1)


def minus_a_billion(scores: Tensor) -> Tensor:
    return scores.masked_fill(~allowed(scores), -1e9).softmax(-1)


def wrong_axis(scores: Tensor) -> Tensor:
    return scores.masked_fill(~allowed(scores), -math.inf).softmax(-2)


def run(part: Part, case: Case) -> Tensor:
    """Call the part with the case's scores."""
    return part(case.inputs["scores"])


def cases(generator: torch.Generator) -> list[Case]:
    """Square ones, a cache that holds 4 positions, a single query, and float16 with scores of -20,000."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    low = (draw(2, 2, 5, 5) - 20_000).half()  # [batch, heads, time, length]
    return [
        Case(Text("a small example", "小例子"), {"scores": draw(2, 2, 4, 4)}, gradients=True),
        Case(Text("scores far from 0", "远离 0 的分数"), {"scores": draw(1, 3, 6, 6) - 8.0}),
        Case(
            Text("3 queries after 4 cached keys", "缓存里已有 4 个键，再来 3 个查询"),
            {"scores": draw(2, 1, 3, 7)},
            gradients=True,
        ),
        Case(Text("a single query after 6 keys", "6 个键之后的单个查询"), {"scores": draw(1, 2, 1, 7)}),
        Case(
            Text("scores around -20,000 in float16", "float16，分数在 -20,000 左右"),
            {"scores": low},
            relative=5e-3,
            absolute=2e-3,
        ),
    ]


def nothing_from_the_future(part: Part, generator: torch.Generator) -> bool:
    """No weight of a query depends on a score of a later key: the gradient is exactly 0."""
    scores = torch.randn(6, 6, generator=generator).requires_grad_()  # [time, length]
    weights = part(scores)  # [time, length]
    for row in range(6):
        (gradient,) = torch.autograd.grad(weights[row].pow(2).sum(), scores, retain_graph=True)
        if bool(gradient[:, row + 1 :].any()) or float(gradient[:, : row + 1].abs().sum()) == 0 < row:
            return False
    return True


def rows_sum_to_one(part: Part, generator: torch.Generator) -> bool:
    """Each row is a distribution, with any number of leading axes."""
    for shape in ((5, 5), (3, 5, 9), (2, 3, 2, 4, 4)):
        weights = part(torch.randn(*shape, generator=generator))  # [..., time, length]
        if not bool(torch.allclose(weights.sum(-1), torch.ones(shape[:-1]), atol=1e-5)):
            return False
    return True


def install(model: MiniMind, part: Part) -> None:
    """Let the model's attention turn its scores into weights by `part`."""

    def mix(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        open_mask = mask | ~causal_mask(
            mask.shape[-2], mask.shape[-1], mask.device
        )  # what the part itself must hide stays
        return part(allowed_scores(queries, keys, open_mask)) @ values  # [batch, heads, time, head]

    install_core(model, mix)


CHECK = Check(
    part="causal_weights",
    parameters=("scores",),
    axes=("batch", "heads", "time", "length"),
    cases=cases,
    run=run,
    reference=reference,
    mutants={
        part.__name__: part
        for part in (
            no_mask,
            masks_itself,
            sees_one_ahead,
            looks_forward,
            mask_after_softmax,
            zero_not_infinity,
            ignores_the_cache,
            cache_counted_backwards,
            minus_ten_thousand,
            minus_a_billion,
            wrong_axis,
        )
    },
    invariants=(
        Invariant(
            Text("a weight changes when the score of a later key changes", "后面的键的分数一变，前面的权重也跟着变"),
            nothing_from_the_future,
        ),
        Invariant(Text("a row of weights does not sum to 1", "有一行权重之和不是 1"), rows_sum_to_one),
    ),
    install=install,
)
