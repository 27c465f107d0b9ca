"""Cases, reference and mutants of the exercise scaled dot-product attention."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text
from minimind.model.transformer import causal_mask
from minimind.model.variants.cores import install_core

Part = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def reference(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """PyTorch's own."""
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)  # [batch, heads, time, head]


def products(queries: Tensor, keys: Tensor, mask: Tensor, divisor: float | None = None) -> Tensor:
    """Scores [batch, heads, time, length], -∞ where the mask is False."""
    scores = queries @ keys.transpose(-2, -1) / (divisor or math.sqrt(queries.shape[-1]))
    return scores.masked_fill(~mask, -math.inf)


def not_scaled(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return products(queries, keys, mask, 1.0).softmax(-1) @ values


def divided_by_d(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return products(queries, keys, mask, float(queries.shape[-1])).softmax(-1) @ values


def root_of_length(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return products(queries, keys, mask, math.sqrt(keys.shape[-2])).softmax(-1) @ values


def root_of_hidden(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return products(queries, keys, mask, math.sqrt(queries.shape[1] * queries.shape[-1])).softmax(-1) @ values


def softmax_over_queries(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return products(queries, keys, mask).softmax(-2) @ values


def not_transposed(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    scores = queries @ keys / math.sqrt(queries.shape[-1])
    return scores.masked_fill(~mask, -math.inf).softmax(-1) @ values


def divided_after_softmax(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return products(queries, keys, mask, 1.0).softmax(-1) / math.sqrt(queries.shape[-1]) @ values


def mixes_keys(queries: Tensor, keys: Tensor, _values: Tensor, mask: Tensor) -> Tensor:
    return products(queries, keys, mask).softmax(-1) @ keys


def no_softmax(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return products(queries, keys, mask).masked_fill(~mask, 0.0) @ values


def ignores_mask(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return products(queries, keys, torch.ones_like(mask)).softmax(-1) @ values


def mask_inverted(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return products(queries, keys, ~mask).softmax(-1) @ values


def exponentials_overflow(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    weights = products(queries, keys, mask).exp()
    return weights / weights.sum(-1, keepdim=True) @ values


def unchanged(queries: Tensor, _keys: Tensor, _values: Tensor, _mask: Tensor) -> Tensor:
    return queries


def run(part: Part, case: Case) -> Tensor:
    """Call the part with the case's four tensors."""
    queries, keys, values, mask = (case.inputs[name] for name in ("queries", "keys", "values", "mask"))
    return part(queries, keys, values, mask)


def cases(generator: torch.Generator) -> list[Case]:
    """Causal and open masks, fewer queries than keys, wide heads, and scores so large that exp overflows."""

    def draw(time: int, length: int, head: int, mask: Tensor, size: float = 1.0) -> dict[str, Tensor]:
        def tensor(count: int) -> Tensor:
            return torch.randn(2, 3, count, head, generator=generator)  # [batch, heads, count, head]

        return {"queries": tensor(time) * size, "keys": tensor(length) * size, "values": tensor(length), "mask": mask}

    return [
        Case(Text("a small example", "小例子"), draw(5, 5, 8, causal_mask(5, 5)), gradients=True),
        Case(
            Text("3 queries, 7 keys, all allowed", "3 个查询、7 个键，全都可看"),
            draw(3, 7, 4, torch.ones(3, 7, dtype=torch.bool)),
        ),
        Case(Text("heads of 64", "头宽 64"), draw(6, 9, 64, causal_mask(6, 9)), gradients=True),
        Case(Text("scores in the hundreds", "分数上百"), draw(6, 6, 16, causal_mask(6, 6), 14.0), absolute=1e-4),
    ]


def averages_equal_values(part: Part, generator: torch.Generator) -> bool:
    """Weights sum to 1: where all values are the same vector, that vector comes out."""
    queries, keys = torch.randn(2, 1, 2, 6, 8, generator=generator)  # 2 × [batch, heads, time, head]
    values = torch.randn(8, generator=generator).expand(1, 2, 6, 8)  # [batch, heads, time, head]
    return bool(torch.allclose(part(queries, keys, values, causal_mask(6, 6)), values, atol=1e-5))


def keeps_its_inputs(part: Part, generator: torch.Generator) -> bool:
    """Nothing is changed in place."""
    tensors = torch.randn(3, 1, 2, 4, 8, generator=generator)  # [3, batch, heads, time, head]
    before = tensors.clone()  # [3, batch, heads, time, head]
    part(tensors[0], tensors[1], tensors[2], causal_mask(4, 4))
    return torch.equal(tensors, before)


CHECK = Check(
    part="attention",
    parameters=("queries", "keys", "values", "mask"),
    axes=("batch", "heads", "time", "head"),
    cases=cases,
    run=run,
    reference=reference,
    mutants={
        part.__name__: part
        for part in (
            unchanged,
            not_scaled,
            divided_by_d,
            root_of_length,
            root_of_hidden,
            softmax_over_queries,
            not_transposed,
            divided_after_softmax,
            mixes_keys,
            no_softmax,
            ignores_mask,
            mask_inverted,
            exponentials_overflow,
        )
    },
    invariants=(
        Invariant(
            Text(
                "all values are the same vector, and another one comes out: the weights do not sum to 1",
                "所有值都是同一个向量，得到的却是别的：权重之和不是 1",
            ),
            averages_equal_values,
        ),
        Invariant(Text("an input was changed in place", "有输入被就地改动了"), keeps_its_inputs),
    ),
    install=lambda model, part: install_core(model, part),
)
