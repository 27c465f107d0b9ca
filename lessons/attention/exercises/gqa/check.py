"""Cases, reference and mutants of the exercise grouped queries."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text
from minimind.model.transformer import causal_mask
from minimind.model.variants.cores import install_core

Part = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
Share = Callable[[Tensor, int], Tensor]


def mix(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """PyTorch's attention [batch, heads, time, head]."""
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


def reference(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Head by head, with the group's keys and values taken by number."""
    times = queries.shape[1] // keys.shape[1]
    heads = [
        mix(queries[:, head], keys[:, head // times], values[:, head // times], mask)
        for head in range(queries.shape[1])
    ]  # heads × [batch, time, head]
    return torch.stack(heads, 1)  # [batch, heads, time, head]


def in_turn(tensor: Tensor, times: int) -> Tensor:
    """Groups 0 1 0 1 … in place of 0 0 1 1 …"""
    return tensor.repeat(1, times, 1, 1)


def in_place(tensor: Tensor, times: int) -> Tensor:
    """Groups 0 0 1 1 …, as it should be."""
    return tensor.repeat_interleave(times, dim=1)


def first_only(tensor: Tensor, times: int) -> Tensor:
    return tensor[:, :1].expand(-1, tensor.shape[1] * times, -1, -1)


def averaged(tensor: Tensor, times: int) -> Tensor:
    return tensor.mean(1, keepdim=True).expand(-1, tensor.shape[1] * times, -1, -1)


def backwards(tensor: Tensor, times: int) -> Tensor:
    return in_place(tensor, times).flip(1)


def along_time(tensor: Tensor, times: int) -> Tensor:
    return tensor.repeat_interleave(times, dim=2)


def sharing(keys_by: Share, values_by: Share | None = None, *, masked: bool = True) -> Part:
    """An implementation that hands out keys and values in these ways."""

    def part(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
        times = queries.shape[1] // keys.shape[1]
        keys, values = keys_by(keys, times), (values_by or keys_by)(values, times)
        return mix(queries, keys, values, mask if masked else None)

    return part


def queries_dropped(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return mix(queries[:, : keys.shape[1]], keys, values, mask)


def queries_averaged(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    times = queries.shape[1] // keys.shape[1]
    grouped = queries.view(len(queries), keys.shape[1], times, *queries.shape[2:]).mean(
        2
    )  # [batch, groups, time, head]
    return in_place(mix(grouped, keys, values, mask), times)


def queries_repeated(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    times = queries.shape[1] // keys.shape[1]
    return mix(in_place(queries, times), in_place(keys, times * times), in_place(values, times * times), mask)


def run(part: Part, case: Case) -> Tensor:
    """Call the part with the case's four tensors."""
    queries, keys, values, mask = (case.inputs[name] for name in ("queries", "keys", "values", "mask"))
    return part(queries, keys, values, mask)


def cases(generator: torch.Generator) -> list[Case]:
    """4 heads on 2 groups, 6 on 3, all on one, and as many groups as heads."""

    def draw(heads: int, groups: int, time: int, length: int) -> dict[str, Tensor]:
        def tensor(count: int, positions: int) -> Tensor:
            return torch.randn(2, count, positions, 8, generator=generator)  # [batch, count, positions, head]

        tensors = {"queries": tensor(heads, time), "keys": tensor(groups, length), "values": tensor(groups, length)}
        return tensors | {"mask": causal_mask(time, length)}

    return [
        Case(Text("4 heads, 2 groups", "4 个头，2 组"), draw(4, 2, 5, 5), gradients=True),
        Case(Text("6 heads, 3 groups, a cache", "6 个头，3 组，带缓存"), draw(6, 3, 2, 7)),
        Case(Text("4 heads, 1 group (multi-query)", "4 个头，1 组（多查询）"), draw(4, 1, 4, 4), gradients=True),
        Case(Text("3 heads, 3 groups (ordinary)", "3 个头，3 组（普通）"), draw(3, 3, 4, 6)),
    ]


def groups_reach_their_heads(part: Part, generator: torch.Generator) -> bool:
    """Changing the values of group 1 of 2 changes heads 2 and 3 of 4 and no others."""
    queries, other = torch.randn(2, 1, 4, 3, 8, generator=generator)  # 2 × [batch, heads, time, head]
    keys, values = other[:, :2], other[:, 2:]  # 2 × [batch, groups, time, head]
    changed = values.clone()
    changed[:, 1] += 1
    mask = causal_mask(3, 3)
    moved = (part(queries, keys, changed, mask) - part(queries, keys, values, mask)).abs().sum((0, 2, 3)) > 1e-4
    return bool((moved == torch.tensor([False, False, True, True])).all())


CHECK = Check(
    part="grouped_attention",
    parameters=("queries", "keys", "values", "mask"),
    axes=("batch", "heads", "time", "head"),
    cases=cases,
    run=run,
    reference=reference,
    mutants={
        "unchanged": lambda queries, _keys, _values, _mask: queries,
        "groups_in_turn": sharing(in_turn),
        "keys_in_turn": sharing(in_turn, in_place),
        "values_in_turn": sharing(in_place, in_turn),
        "first_group_only": sharing(first_only),
        "groups_averaged": sharing(averaged),
        "groups_backwards": sharing(backwards),
        "repeated_along_time": sharing(along_time),
        "queries_dropped": queries_dropped,
        "queries_averaged": queries_averaged,
        "queries_repeated": queries_repeated,
        "ignores_mask": sharing(in_place, masked=False),
    },
    invariants=(
        Invariant(
            Text("the values of a group reach heads of another group", "一组的值影响到了别组的头"),
            groups_reach_their_heads,
        ),
    ),
    install=lambda model, part: install_core(model, part, repeat=False),
)
