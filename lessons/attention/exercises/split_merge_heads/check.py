"""Cases, reference and mutants of the exercise splitting and merging heads."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text
from minimind.model.cache import LayerCache
from minimind.model.transformer import Attention, MiniMind, apply_rotary
from minimind.model.variants.parts import attentions, recast

Cut = Callable[[Tensor, int], Tensor]
Join = Callable[[Tensor], Tensor]
Part = Any


def split(x: Tensor, heads: int) -> Tensor:
    """Slice by slice, stacked: [batch, heads, time, head]."""
    return torch.stack(x.chunk(heads, dim=-1), dim=1)


def merge(x: Tensor) -> Tensor:
    """Head by head, side by side: [batch, time, hidden]."""
    return torch.cat(x.unbind(1), dim=-1)


def split_by_view(x: Tensor, heads: int) -> Tensor:
    return x.reshape(len(x), heads, x.shape[1], -1)


def split_every_nth(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], -1, heads).permute(0, 3, 1, 2)


def split_not_transposed(x: Tensor, heads: int) -> Tensor:
    return x.reshape(*x.shape[:2], heads, -1)


def split_into_batch(x: Tensor, heads: int) -> Tensor:
    return split(x, heads).flatten(0, 1)


def merge_by_view(x: Tensor) -> Tensor:
    return x.reshape(len(x), x.shape[2], -1)


def merge_by_component(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(2)


def merge_views_a_transpose(x: Tensor) -> Tensor:
    return x.contiguous().transpose(1, 2).view(len(x), x.shape[2], -1)


def merge_adds(x: Tensor) -> Tensor:
    return x.sum(1).repeat(1, 1, x.shape[1])


def part_of(cut: Cut = split, join: Join = merge) -> Part:
    """A class with the learner's interface made of two functions."""

    class Heads:
        def __init__(self, heads: int) -> None:
            self.heads = heads

        def split(self, x: Tensor) -> Tensor:
            return cut(x, self.heads)

        def merge(self, x: Tensor) -> Tensor:
            return join(x)

    return Heads


def run(part: Part, case: Case) -> Tensor:
    """Split or merge, as the case says."""
    result: Tensor = getattr(part(case.settings["heads"]), case.settings["way"])(case.inputs["x"])
    return result


def cases(generator: torch.Generator) -> list[Case]:
    """Both ways, with sizes that all differ, so that no axis can be taken for another."""

    def draw(*shape: int) -> dict[str, Tensor]:
        return {"x": torch.randn(*shape, generator=generator)}

    return [
        Case(
            Text("splitting 6 into 3 heads", "把 6 切成 3 个头"),
            draw(2, 4, 6),
            {"heads": 3, "way": "split"},
            gradients=True,
        ),
        Case(
            Text("merging 3 heads of 2", "合并 3 个宽 2 的头"),
            draw(2, 3, 4, 2),
            {"heads": 3, "way": "merge"},
            gradients=True,
        ),
        Case(Text("splitting 20 into 4 heads", "把 20 切成 4 个头"), draw(3, 7, 20), {"heads": 4, "way": "split"}),
        Case(Text("merging 4 heads of 5", "合并 4 个宽 5 的头"), draw(3, 4, 7, 5), {"heads": 4, "way": "merge"}),
    ]


def round_trip(part: Part, generator: torch.Generator) -> bool:
    """Merging what was split gives back the same numbers."""
    heads = part(4)
    x = torch.randn(2, 5, 12, generator=generator)  # [batch, time, hidden]
    return bool(torch.equal(heads.merge(heads.split(x)), x))


def a_head_sees_its_slice(part: Part, generator: torch.Generator) -> bool:
    """Changing the second slice of hidden changes the second head and no other."""
    x = torch.randn(2, 5, 12, generator=generator)  # [batch, time, hidden]
    other = x.clone()
    other[..., 3:6] += 1
    changed = (part(4).split(other) - part(4).split(x)).abs().sum((0, 2, 3)) > 0  # [heads]
    return bool((changed == torch.tensor([False, True, False, False])).all())


class OwnHeadsAttention(Attention):
    """The model's attention, which cuts and joins heads by the learner's part."""

    part: Part

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None = None, cache: LayerCache | None = None
    ) -> Tensor:
        """As `Attention.forward`."""
        queries, keys, values = (
            self.part(projected.shape[-1] // self.head_size).split(projected)
            for projected in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )  # 3 × [batch, heads or groups, time, head]
        if self.q_norm is not None and self.k_norm is not None:
            queries, keys = self.q_norm(queries), self.k_norm(keys)  # shapes stay
        queries, keys = apply_rotary(queries, *rotary), apply_rotary(keys, *rotary)  # shapes stay
        if cache is not None:
            keys, values = cache.update(keys, values)  # [batch, groups, length, head]
        mixed = self.core(queries, keys, values, mask)  # [batch, heads, time, head]
        update: Tensor = self.dropout(self.o_proj(self.part(mixed.shape[1]).merge(mixed)))  # [batch, time, hidden]
        return update


def install(model: MiniMind, part: Part) -> None:
    """Let every attention of the model cut and join its heads by `part`."""
    for block, old in zip(model.model.layers, attentions(model), strict=True):
        own = recast(old, OwnHeadsAttention)
        own.part = part
        block.self_attn = own


CHECK = Check(
    part="Heads",
    parameters=("heads",),
    axes=("batch", "heads", "time", "head"),
    cases=cases,
    run=run,
    reference=part_of(),
    mutants={
        "unchanged": part_of(lambda x, _heads: x, lambda x: x),
        "split_by_view": part_of(split_by_view),
        "merge_by_view": part_of(join=merge_by_view),
        "both_by_view": part_of(split_by_view, merge_by_view),
        "every_nth": part_of(split_every_nth, merge_by_component),
        "split_every_nth": part_of(split_every_nth),
        "merge_by_component": part_of(join=merge_by_component),
        "not_transposed": part_of(split_not_transposed, lambda x: x.flatten(2)),
        "heads_in_the_batch": part_of(split_into_batch),
        "views_a_transpose": part_of(join=merge_views_a_transpose),
        "adds_the_heads": part_of(join=merge_adds),
    },
    invariants=(
        Invariant(Text("merging what was split does not give it back", "切开再合并，得不回原来的张量"), round_trip),
        Invariant(
            Text("a change in one slice of hidden reaches another head", "hidden 的一段变了，别的头也跟着变"),
            a_head_sees_its_slice,
        ),
    ),
    install=install,
)
