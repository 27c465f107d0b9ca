"""Cases, reference and mutants of the exercise RMSNorm."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lessons.checking import Case, Check, Invariant, Longer
from minimind.events import Text
from minimind.model.transformer import MiniMind
from minimind.model.variants.norms import install_norms

Formula = Callable[[Tensor, Tensor, float], Tensor]


def textbook(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / √(mean(x²) + ε) · weight in float64, then in the dtype of `x`: the formula and nothing else."""
    wide = x.double()  # [..., size]
    mean_square = (wide * wide).sum(-1, keepdim=True) / x.shape[-1]  # [..., 1]
    return (wide / (mean_square + eps).sqrt() * weight.double()).to(x.dtype)  # [..., size]


def root(mean_square: Tensor, eps: float) -> Tensor:
    """1 / √(mean square + ε)."""
    return torch.rsqrt(mean_square + eps)


def subtracts_mean(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [..., size]
    centred = wide - wide.mean(-1, keepdim=True)  # [..., size]
    return (centred * root(centred.pow(2).mean(-1, keepdim=True), eps)).to(x.dtype) * weight  # [..., size]


def sum_not_mean(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [..., size]
    return (wide * root(wide.pow(2).sum(-1, keepdim=True), eps)).to(x.dtype) * weight  # [..., size]


def wrong_axis(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [batch, time, size]
    return (wide * root(wide.pow(2).mean(-2, keepdim=True), eps)).to(x.dtype) * weight  # [batch, time, size]


def global_mean(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [..., size]
    return (wide * root(wide.pow(2).mean(), eps)).to(x.dtype) * weight  # [..., size]


def eps_outside(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [..., size]
    return (wide / (wide.pow(2).mean(-1, keepdim=True).sqrt() + eps)).to(x.dtype) * weight  # [..., size]


def forgot_weight(x: Tensor, _weight: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [..., size]
    return (wide * root(wide.pow(2).mean(-1, keepdim=True), eps)).to(x.dtype)  # [..., size]


def no_root(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [..., size]
    return (wide / (wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype) * weight  # [..., size]


def uses_std(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [..., size]
    return (wide / (wide.std(-1, keepdim=True) + eps)).to(x.dtype) * weight  # [..., size]


def no_upcast(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x * root(x.pow(2).mean(-1, keepdim=True), eps) * weight  # [..., size]


def no_keepdim(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [..., size]
    return (wide * root(wide.pow(2).mean(-1), eps)).to(x.dtype) * weight


def stays_float32(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [..., size]
    return wide * root(wide.pow(2).mean(-1, keepdim=True), eps) * weight  # [..., size]


def unchanged(x: Tensor, _weight: Tensor, _eps: float) -> Tensor:
    return x


def part_of(formula: Formula) -> type[nn.Module]:
    """A class with the learner's interface that computes `formula`."""

    class RMSNorm(nn.Module):
        def __init__(self, size: int, eps: float = 1e-6) -> None:
            super().__init__()
            self.eps = eps
            self.weight = nn.Parameter(torch.ones(size))

        def forward(self, x: Tensor) -> Tensor:
            return formula(x, self.weight, self.eps)

    return RMSNorm


def run(part: type[nn.Module], case: Case) -> Tensor:
    """Build the part for the case, give it the case's weight, and call it."""
    x, weight = case.inputs["x"], case.inputs["weight"]
    module = part(x.shape[-1], case.settings["eps"]).to(x.dtype)
    result: Tensor = torch.func.functional_call(module, {"weight": weight}, (x,))
    return result


def cases(generator: torch.Generator) -> list[Case]:
    """A small one, one with a mean, a tiny one in which ε matters, a large one in float16, one in bfloat16."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def weight(size: int) -> Tensor:
        return torch.rand(size, generator=generator) + 0.5  # [size]

    large = (draw(2, 3, 8).sign() * (300 + 100 * draw(2, 3, 8).abs())).half()  # [2, 3, 8]
    return [
        Case(
            Text("a small example", "小例子"),
            {"x": draw(2, 3, 8), "weight": weight(8)},
            {"eps": 1e-6},
            gradients=True,
        ),
        Case(
            Text("an input whose mean is not zero", "均值不为零的输入"),
            {"x": draw(3, 5, 16) * 2 + 1.5, "weight": weight(16)},
            {"eps": 1e-5},
            gradients=True,
        ),
        Case(
            Text("a tiny input, where eps matters", "很小的输入（eps 起作用）"),
            {"x": draw(2, 4, 16) * 1e-3, "weight": weight(16)},
            {"eps": 1e-5},
        ),
        Case(
            Text("a large input in float16", "较大的 float16 输入"),
            {"x": large, "weight": torch.ones(8).half()},
            {"eps": 1e-6},
            relative=5e-3,
            absolute=5e-3,
        ),
        Case(
            Text("an input in bfloat16", "bfloat16 输入"),
            {"x": draw(2, 3, 8).bfloat16(), "weight": weight(8).bfloat16()},
            {"eps": 1e-6},
            relative=2e-2,
            absolute=2e-2,
        ),
    ]


def short_and_long(generator: torch.Generator) -> tuple[Case, Case]:
    """Three positions and thirty."""
    short, long = (
        Case(
            Text("a longer input", "更长的输入"),
            {"x": torch.randn(2, time, 8, generator=generator), "weight": torch.ones(8)},
            {"eps": 1e-6},
        )
        for time in (3, 30)
    )
    return short, long


def inspect_part(part: type[nn.Module]) -> Text | None:
    """The weight must be one trainable number for each component, starting at 1."""
    module = part(5)
    weight = getattr(module, "weight", None)
    if not isinstance(weight, nn.Parameter) or weight.shape != (5,):
        return Text("weight must be an nn.Parameter of shape [size]", "weight 应为形状是 [size] 的 nn.Parameter")
    if not bool((weight == 1).all()):
        return Text("weight must start as ones", "weight 的初值应全为 1")
    return None


def ignores_scale(part: type[nn.Module], generator: torch.Generator) -> bool:
    """f(c·x) = f(x) where ε is negligible."""
    x = torch.randn(4, 8, generator=generator)  # [4, 8]
    module = part(8, 1e-12)
    return bool(torch.allclose(module(1000 * x), module(x), rtol=1e-3, atol=1e-4))


def has_unit_rms(part: type[nn.Module], generator: torch.Generator) -> bool:
    """With a weight of ones the root mean square of the result is 1, in any number of axes."""
    module = part(32)
    for shape in ((32,), (7, 32), (2, 3, 4, 32)):
        result = module(torch.randn(*shape, generator=generator) * 3 + 1)  # [..., 32]
        if not bool(torch.allclose(result.pow(2).mean(-1), torch.ones(shape[:-1]), rtol=1e-3)):
            return False
    return True


def install(model: MiniMind, part: type[nn.Module]) -> None:
    """Put the part in place of every norm of the residual stream."""
    install_norms(model, part)


CHECK = Check(
    part="RMSNorm",
    parameters=("size", "eps"),
    axes=("batch", "time", "hidden"),
    cases=cases,
    run=run,
    reference=part_of(textbook),
    mutants={
        formula.__name__: part_of(formula)
        for formula in (
            unchanged,
            subtracts_mean,
            sum_not_mean,
            wrong_axis,
            global_mean,
            eps_outside,
            forgot_weight,
            no_root,
            uses_std,
            no_upcast,
            no_keepdim,
            stays_float32,
        )
    },
    invariants=(
        Invariant(Text("scaling the input by 1000 changes the result", "输入放大 1000 倍，结果却变了"), ignores_scale),
        Invariant(
            Text(
                "the root mean square of the result is not 1 for inputs of 1, 2 or 4 axes",
                "输入是 1、2 或 4 维时，结果的均方根不是 1",
            ),
            has_unit_rms,
        ),
    ),
    inspect_part=inspect_part,
    install=install,
    longer=Longer(
        Text("the work grows with the number of positions: is there a loop?", "计算量随位置数增长：是不是写了循环？"),
        short_and_long,
    ),
)
