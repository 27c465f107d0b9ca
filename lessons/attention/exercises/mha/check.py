"""Cases, reference and mutants of the exercise multi-head attention."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons.checking import Case, Check, Invariant
from minimind.errors import UserError
from minimind.events import Text
from minimind.model.cache import LayerCache
from minimind.model.transformer import Attention, MiniMind, apply_rotary, rotary_frequencies, rotary_table
from minimind.model.variants.parts import install_part

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
Turn = Callable[[Tensor, Tensor, Tensor], Tensor]


def not_turned(x: Tensor, _cosine: Tensor, _sine: Tensor) -> Tensor:
    return x


def turned_the_other_way(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    return apply_rotary(x, cosine, -sine)


def turned_by_head(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """With heads and time the wrong way round: each head is turned as if it were a position."""
    return apply_rotary(x.transpose(1, 2), cosine[:, :, : x.shape[1]], sine[:, :, : x.shape[1]]).transpose(1, 2)


def into_heads(x: Tensor, head: int) -> Tensor:
    """[batch, time, hidden] to [batch, heads, time, head]."""
    return x.view(*x.shape[:2], -1, head).transpose(1, 2)


def into_heads_by_view(x: Tensor, head: int) -> Tensor:
    return x.reshape(len(x), -1, x.shape[1], head)


@dataclass(frozen=True)
class Recipe:
    """The steps of an implementation; the defaults are right."""

    turn_queries: Turn = apply_rotary
    turn_keys: Turn = apply_rotary
    turn_values: Turn = not_turned
    cut: Callable[[Tensor, int], Tensor] = into_heads
    share: Callable[[Tensor, int], Tensor] = lambda x, times: x.repeat_interleave(times, 1)
    scale: float | None = None
    causal: bool = True
    join: Callable[[Tensor], Tensor] = lambda x: x.transpose(1, 2).flatten(2)
    project: bool = True


def part_of(recipe: Recipe) -> type[nn.Module]:
    """A class with the learner's interface that follows `recipe`."""

    class MultiHeadAttention(nn.Module):
        def __init__(self, hidden: int, heads: int, groups: int) -> None:
            super().__init__()
            self.head = hidden // heads
            sizes = {"q_proj": heads, "k_proj": groups, "v_proj": groups}
            for name, count in sizes.items():
                setattr(self, name, nn.Linear(hidden, count * self.head, bias=False))
            self.o_proj = nn.Linear(heads * self.head, hidden, bias=False)

        def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
            queries, keys, values = (recipe.cut(getattr(self, name)(x), self.head) for name in PROJECTIONS[:3])
            queries = recipe.turn_queries(queries, cosine, sine)  # [batch, heads, time, head]
            keys = recipe.turn_keys(keys, cosine, sine)  # [batch, groups, time, head]
            values = recipe.turn_values(values, cosine, sine)  # [batch, groups, time, head]
            times = queries.shape[1] // keys.shape[1]
            keys, values = recipe.share(keys, times), recipe.share(values, times)  # 2 × [batch, heads, time, head]
            mixed = F.scaled_dot_product_attention(
                queries, keys, values, is_causal=recipe.causal, scale=recipe.scale
            )  # [batch, heads, time, head]
            joined = recipe.join(mixed)  # [batch, time, hidden]
            result: Tensor = self.o_proj(joined) if recipe.project else joined  # [batch, time, hidden]
            return result

    return MultiHeadAttention


class FromTheModel(Attention):
    """The model's own attention with the learner's interface: the reference."""

    def __init__(self, hidden: int, heads: int, groups: int) -> None:
        from minimind.lab.tiny import tiny_config

        super().__init__(
            tiny_config(
                hidden_size=hidden, num_attention_heads=heads, num_key_value_heads=groups, intermediate_size=hidden
            )
        )

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, (cosine, sine))  # [batch, time, hidden]


def run(part: Any, case: Case) -> Tensor:
    """Build the part for the case, give it the case's weights, and call it."""
    weights = {f"{name}.weight": case.inputs[name] for name in PROJECTIONS}
    x, cosine, sine = (case.inputs[name] for name in ("x", "cosine", "sine"))
    module = part(x.shape[-1], case.settings["heads"], case.settings["groups"])
    result: Tensor = torch.func.functional_call(module, weights, (x, cosine, sine))
    return result


def angles(time: int, head: int, first: int = 0) -> dict[str, Tensor]:
    """Cosine and sine [1, 1, time, head/2] of positions from `first` on."""
    cosine, sine = rotary_table(torch.arange(first, first + time)[None], rotary_frequencies(head, 10_000.0))
    return {"cosine": cosine, "sine": sine}


def cases(generator: torch.Generator) -> list[Case]:
    """Ordinary heads, shared ones, one for all, and positions that begin at 50."""

    def draw(time: int, heads: int, groups: int, head: int, first: int = 0) -> dict[str, Tensor]:
        hidden = heads * head
        sizes = {"q_proj": (hidden, hidden), "k_proj": (groups * head, hidden), "v_proj": (groups * head, hidden)}
        sizes["o_proj"] = (hidden, hidden)
        weights = {name: torch.randn(*size, generator=generator) / hidden**0.5 for name, size in sizes.items()}
        x = 2 * torch.randn(2, time, hidden, generator=generator)  # [batch, time, hidden]
        return {"x": x} | angles(time, head, first) | weights

    return [
        Case(Text("4 heads, 4 groups", "4 个头，4 组"), draw(6, 4, 4, 4), {"heads": 4, "groups": 4}, gradients=True),
        Case(Text("4 heads, 2 groups", "4 个头，2 组"), draw(7, 4, 2, 8), {"heads": 4, "groups": 2}),
        Case(Text("6 heads, 1 group", "6 个头，1 组"), draw(9, 6, 1, 4), {"heads": 6, "groups": 1}),
        Case(Text("positions from 50 on", "位置从 50 开始"), draw(5, 2, 2, 8, 50), {"heads": 2, "groups": 2}),
    ]


def inspect_part(part: Any) -> Text | None:
    """Four projections without bias, of the model's names and shapes."""
    state = {name: tuple(tensor.shape) for name, tensor in part(8, 4, 2).state_dict().items()}
    wanted = {"q_proj.weight": (8, 8), "k_proj.weight": (4, 8), "v_proj.weight": (4, 8), "o_proj.weight": (8, 8)}
    if state != wanted:
        return Text(
            "its parameters must be the weights of q_proj, k_proj, v_proj and o_proj, without bias",
            "参数应为 q_proj、k_proj、v_proj、o_proj 的权重，不带偏置",
        )
    return None


def nothing_from_the_future(part: Any, generator: torch.Generator) -> bool:
    """Changing the last position changes no earlier result."""
    module = part(16, 4, 2)
    x = torch.randn(2, 6, 16, generator=generator)  # [batch, time, hidden]
    other = x.clone()
    other[:, -1] += 1
    table = angles(6, 4)
    change = module(other, **table) - module(x, **table)  # [batch, time, hidden]
    return bool(change[:, :-1].abs().max() < 1e-6) and bool(change[:, -1].abs().max() > 1e-4)


def only_distances_count(part: Any, generator: torch.Generator) -> bool:
    """The same tokens 30 positions further on give the same result: rotation on queries and keys, not on values."""
    module = part(16, 4, 2)
    x = torch.randn(1, 6, 16, generator=generator)  # [batch, time, hidden]
    near, far = module(x, **angles(6, 4)), module(x, **angles(6, 4, 30))  # 2 × [batch, time, hidden]
    return bool(torch.allclose(near, far, atol=1e-4))


def install(model: MiniMind, part: Any) -> None:
    """Put the part in the place of every attention, with the norms on queries and keys where the model has them."""

    class Adapted(part):  # type: ignore[misc]
        def forward(
            self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None = None, cache: LayerCache | None = None
        ) -> Tensor:
            if mask is not None or cache is not None:
                raise UserError(
                    "this attention has no cache and makes its own mask: train with it, then measure",
                    "这个注意力没有缓存，掩码也自己做：请用它训练，再测量",
                )
            result: Tensor = super().forward(x, *rotary)  # [batch, time, hidden]
            return result

    def factory(old: nn.Module) -> nn.Module:
        if not isinstance(old, Attention):
            raise UserError("this model's attention is not ours", "这个模型的注意力不是我们的")
        size = old.head_size
        new = Adapted(old.q_proj.in_features, old.q_proj.out_features // size, old.k_proj.out_features // size)
        for name, norm in (("q_proj", old.q_norm), ("k_proj", old.k_norm)):
            if norm is not None:
                setattr(new, name.replace("proj", "norm"), norm)
                getattr(new, name).register_forward_hook(_normalised(norm, size))
        return new

    install_part(model, "*.self_attn", factory)


def _normalised(norm: nn.Module, size: int) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def hook(_module: nn.Module, _inputs: Any, projected: Tensor) -> Tensor:
        normed: Tensor = norm(projected.view(*projected.shape[:2], -1, size)).flatten(-2)  # [batch, time, heads · head]
        return normed

    return hook


CHECK = Check(
    part="MultiHeadAttention",
    parameters=("hidden", "heads", "groups"),
    axes=("batch", "time", "hidden"),
    cases=cases,
    run=run,
    reference=FromTheModel,
    mutants={
        name: part_of(recipe)
        for name, recipe in {
            "no_output_projection": Recipe(project=False),
            "not_causal": Recipe(causal=False),
            "not_scaled": Recipe(scale=1.0),
            "rotary_on_values": Recipe(turn_values=apply_rotary),
            "rotary_forgotten": Recipe(not_turned, not_turned),
            "rotary_on_queries_only": Recipe(turn_keys=not_turned),
            "rotary_by_head": Recipe(turned_by_head, turned_by_head),
            "keys_turned_backwards": Recipe(turn_keys=turned_the_other_way),
            "groups_in_turn": Recipe(share=lambda x, times: x.repeat(1, times, 1, 1)),
            "cut_by_view": Recipe(cut=into_heads_by_view),
            "merged_without_transpose": Recipe(join=lambda x: x.reshape(len(x), x.shape[2], -1)),
        }.items()
    }
    | {"unchanged": type("Unchanged", (part_of(Recipe()),), {"forward": lambda _self, x, _cosine, _sine: x})},
    invariants=(
        Invariant(Text("a position sees what comes after it", "有位置看到了后面的内容"), nothing_from_the_future),
        Invariant(
            Text("moving the whole text by 30 positions changes the result", "整段文字挪后 30 个位置，结果就变了"),
            only_distances_count,
        ),
    ),
    inspect_part=inspect_part,
    install=install,
)
