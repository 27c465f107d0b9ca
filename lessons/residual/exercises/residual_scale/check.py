"""Cases, reference and mutants of the exercise on scaled residual connections."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lessons.checking import Case, Check, Invariant
from minimind.events import Text
from minimind.model.cache import LayerCache
from minimind.model.transformer import Block, MiniMind
from minimind.model.variants.blocks import depth_scale, scale_outputs

Formula = Callable[[Tensor, Tensor, int], Tensor]


def textbook(x: Tensor, update: Tensor, layers: int) -> Tensor:
    return x + update / math.sqrt(2 * layers)  # [..., size]


def unchanged(x: Tensor, _update: Tensor, _layers: int) -> Tensor:
    return x


def unscaled(x: Tensor, update: Tensor, _layers: int) -> Tensor:
    return x + update  # [..., size]


def no_skip(_x: Tensor, update: Tensor, layers: int) -> Tensor:
    return update / math.sqrt(2 * layers)  # [..., size]


def scales_the_skip(x: Tensor, update: Tensor, layers: int) -> Tensor:
    return x / math.sqrt(2 * layers) + update  # [..., size]


def scales_both(x: Tensor, update: Tensor, layers: int) -> Tensor:
    return (x + update) / math.sqrt(2 * layers)  # [..., size]


def one_a_layer(x: Tensor, update: Tensor, layers: int) -> Tensor:
    return x + update / math.sqrt(layers)  # [..., size]


def no_root(x: Tensor, update: Tensor, layers: int) -> Tensor:
    return x + update / (2 * layers)  # [..., size]


def one_over_layers(x: Tensor, update: Tensor, layers: int) -> Tensor:
    return x + update / layers  # [..., size]


def twice_the_root(x: Tensor, update: Tensor, layers: int) -> Tensor:
    return x + update / (2 * math.sqrt(layers))  # [..., size]


def subtracts(x: Tensor, update: Tensor, layers: int) -> Tensor:
    return x - update / math.sqrt(2 * layers)  # [..., size]


def multiplies(x: Tensor, update: Tensor, layers: int) -> Tensor:
    return x + update * math.sqrt(2 * layers)  # [..., size]


def part_of(formula: Formula) -> type[nn.Module]:
    """A class with the learner's interface that computes `formula`."""

    class ScaledResidual(nn.Module):
        def __init__(self, layers: int) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, x: Tensor, update: Tensor) -> Tensor:
            return formula(x, update, self.layers)

    return ScaledResidual


def run(part: type[nn.Module], case: Case) -> Tensor:
    """Build the part for the case's depth and call it."""
    result: Tensor = part(case.settings["layers"])(case.inputs["x"], case.inputs["update"])
    return result


def cases(generator: torch.Generator) -> list[Case]:
    """A small one, a deep one, one layer only, an update far larger than the stream."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return [
        Case(
            Text("a small example", "小例子"),
            {"x": draw(2, 3, 4), "update": draw(2, 3, 4)},
            {"layers": 2},
            gradients=True,
        ),
        Case(Text("32 layers", "32 层"), {"x": draw(2, 5, 8), "update": draw(2, 5, 8)}, {"layers": 32}, gradients=True),
        Case(Text("a single layer", "只有一层"), {"x": draw(3, 4), "update": draw(3, 4)}, {"layers": 1}),
        Case(Text("a large update", "很大的更新"), {"x": draw(2, 6), "update": 100 * draw(2, 6)}, {"layers": 8}),
    ]


def keeps_the_variance(part: type[nn.Module], generator: torch.Generator) -> bool:
    """After 2L independent updates of variance 1 the stream, which began at variance 1, has about variance 2."""
    for layers in (4, 24):
        residual = part(layers)
        x = torch.randn(20_000, generator=generator)  # [samples]
        for _ in range(2 * layers):
            x = residual(x, torch.randn(20_000, generator=generator))  # [samples]
        if not 1.8 < float(x.var()) < 2.2:
            return False
    return True


def leaves_the_input(part: type[nn.Module], generator: torch.Generator) -> bool:
    """x is not written to: another part of the network still needs it."""
    x, update = torch.randn(4, 4, generator=generator), torch.ones(4, 4)  # 2 × [4, 4]
    before = x.clone()  # [4, 4]
    part(3)(x, update)
    return torch.equal(x, before)


class ScaledBlock(Block):
    """Our block, with `residual` in place of its two additions."""

    residual: nn.Module

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None = None, cache: LayerCache | None = None
    ) -> Tensor:
        """Update the residual stream `x` [batch, time, hidden]."""
        attended = self.residual(
            x, self.self_attn(self.input_layernorm(x), rotary, mask, cache)
        )  # [batch, time, hidden]
        updated: Tensor = self.residual(attended, self.mlp(self.post_attention_layernorm(attended)))
        return updated  # [batch, time, hidden]


def install(model: MiniMind, part: type[nn.Module]) -> None:
    """Let every block add through the part. The branches' matrices are enlarged by √(2L): the model starts as it was."""
    layers = model.config.num_hidden_layers
    for block in model.model.layers:
        block.__class__ = ScaledBlock
        block.residual = part(layers)
    scale_outputs(model, 1 / depth_scale(model))


CHECK = Check(
    part="ScaledResidual",
    parameters=("layers",),
    axes=("batch", "time", "hidden"),
    cases=cases,
    run=run,
    reference=part_of(textbook),
    mutants={
        formula.__name__: part_of(formula)
        for formula in (
            unchanged,
            unscaled,
            no_skip,
            scales_the_skip,
            scales_both,
            one_a_layer,
            no_root,
            one_over_layers,
            twice_the_root,
            subtracts,
            multiplies,
        )
    },
    invariants=(
        Invariant(
            Text(
                "after all the updates of a model the variance of the stream has not about doubled",
                "加完模型的全部更新之后，残差流的方差没有变成大约两倍",
            ),
            keeps_the_variance,
        ),
        Invariant(Text("x itself was changed", "x 本身被改动了"), leaves_the_input),
    ),
    install=install,
)
