"""A learner's part in the place of the model's own, no part at all, and parts that work another way."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TypeVar

from torch import Tensor, nn

from minimind.errors import UserError
from minimind.model.transformer import Attention, MiniMind

Kind = TypeVar("Kind", bound=nn.Module)


class Absent(nn.Module):
    """Stands where a part was taken out: it has no parameters and adds nothing."""

    def forward(self, x: Tensor, *_context: object) -> Tensor:
        """Zeros of the shape of `x` [batch, time, hidden], whatever else the part would have been given."""
        return x.new_zeros(x.shape)  # [batch, time, hidden]


def recast(module: nn.Module, kind: type[Kind]) -> Kind:
    """A module of class `kind` that takes over parts, parameters, hooks and settings of `module`; discard the latter.

    `kind` must work with what is there: a class that computes something else with the same parts.
    """
    new = kind.__new__(kind)
    new.__dict__.update(module.__dict__)
    return new


def attentions(model: MiniMind) -> list[Attention]:
    """The attention of every block that has one. Raises UserError where a block's is not ours and cannot be altered."""
    found: list[Attention] = []
    for index, block in enumerate(model.model.layers):
        if isinstance(block.self_attn, Attention):
            found.append(block.self_attn)
        elif not isinstance(block.self_attn, Absent):
            raise UserError(
                f"layer {index} has an attention of its own ({type(block.self_attn).__name__}): it cannot be altered",
                f"第 {index} 层使用了自带的注意力（{type(block.self_attn).__name__}）：无法改动",
            )
    return found


def install_part(model: MiniMind, path: str, factory: Callable[[nn.Module], nn.Module]) -> list[str]:
    """Replace the modules whose dotted name matches `path` by what `factory` makes of each; returns their names.

    `path` may hold ``*``, which also spans dots: ``*norm`` is every norm, ``model.layers.0.mlp`` one feed-forward.
    A new part takes over the parameters of the old one, so it must have parameters of the same names and shapes.
    Raises UserError where nothing matches or where they differ.
    """
    replaced: list[str] = []
    for name in [name for name, _ in model.named_modules() if fnmatchcase(name, path)]:
        if any(name.startswith(f"{done}.") for done in replaced):
            continue
        old = model.get_submodule(name)
        new = factory(old)
        try:
            new.load_state_dict(old.state_dict(), strict=True)
        except RuntimeError:
            wanted, given = (
                ", ".join(f"{key} {tuple(tensor.shape)}" for key, tensor in part.state_dict().items()) or "—"
                for part in (old, new)
            )
            raise UserError(
                f"the part for {name} has the parameters {given}; it needs {wanted}",
                f"用于 {name} 的部件的参数是 {given}；应为 {wanted}",
            ) from None
        like = next(old.parameters(), model.model.embed_tokens.weight)
        model.set_submodule(name, new.to(like.device, like.dtype).train(old.training), strict=True)
        replaced.append(name)
    if not replaced:
        raise UserError(
            f"no part of the model is called {path!r}: names look like model.layers.0.input_layernorm",
            f"模型中没有名为 {path!r} 的部件：名称形如 model.layers.0.input_layernorm",
        )
    return replaced
