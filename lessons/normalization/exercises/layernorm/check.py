"""Cases, reference and mutants of the exercise LayerNorm."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lessons.checking import Case, Check, Invariant
from minimind.events import Text
from minimind.model.transformer import MiniMind
from minimind.model.variants.norms import install_norms, replace_norms

Formula = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def finish(normalised: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Back to the dtype of `x` [..., size], times the weight, plus the bias."""
    return normalised.to(x.dtype) * weight + bias  # [..., size]


def centre(x: Tensor) -> Tensor:
    """`x` [..., size] in float32 without its mean."""
    wide = x.float()  # [..., size]
    return wide - wide.mean(-1, keepdim=True)  # [..., size]


def textbook(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """(x − mean) / √(variance + ε) · weight + bias in float64: the formula and nothing else."""
    wide = x.double()  # [..., size]
    mean = wide.sum(-1, keepdim=True) / x.shape[-1]  # [..., 1]
    variance = ((wide - mean) ** 2).sum(-1, keepdim=True) / x.shape[-1]  # [..., 1]
    result = (wide - mean) / (variance + eps).sqrt() * weight.double() + bias.double()  # [..., size]
    return result.to(x.dtype)  # [..., size]


def unchanged(x: Tensor, _weight: Tensor, _bias: Tensor, _eps: float) -> Tensor:
    return x


def keeps_mean(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [..., size]
    return finish(wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps), x, weight, bias)


def unbiased_variance(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    variance = x.float().var(-1, keepdim=True)  # [..., 1], divided by size - 1
    return finish(centre(x) * torch.rsqrt(variance + eps), x, weight, bias)


def eps_outside(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    centred = centre(x)  # [..., size]
    return finish(centred / (centred.pow(2).mean(-1, keepdim=True).sqrt() + eps), x, weight, bias)


def no_bias(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return textbook(x, weight, torch.zeros_like(bias), eps)


def no_weight(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return textbook(x, torch.ones_like(weight), bias, eps)


def no_root(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    centred = centre(x)  # [..., size]
    return finish(centred / (centred.pow(2).mean(-1, keepdim=True) + eps), x, weight, bias)


def not_centred_above(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    variance = centre(x).pow(2).mean(-1, keepdim=True)  # [..., 1]
    return finish(x.float() * torch.rsqrt(variance + eps), x, weight, bias)


def wrong_axis(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    wide = x.float()  # [batch, time, size]
    centred = wide - wide.mean(-2, keepdim=True)  # [batch, time, size]
    return finish(centred * torch.rsqrt(centred.pow(2).mean(-2, keepdim=True) + eps), x, weight, bias)


def whole_tensor(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    centred = x.float() - x.float().mean()  # [..., size]
    return finish(centred * torch.rsqrt(centred.pow(2).mean() + eps), x, weight, bias)


def bias_before_weight(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    ones, zeros = torch.ones_like(weight), torch.zeros_like(bias)  # 2 × [size]
    return (textbook(x, ones, zeros, eps) + bias) * weight  # [..., size]


def no_upcast(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)  # [..., size]
    return centred * torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + eps) * weight + bias  # [..., size]


def part_of(formula: Formula) -> type[nn.Module]:
    """A class with the learner's interface that computes `formula`."""

    class LayerNorm(nn.Module):
        def __init__(self, size: int, eps: float = 1e-5) -> None:
            super().__init__()
            self.eps = eps
            self.weight = nn.Parameter(torch.ones(size))
            self.bias = nn.Parameter(torch.zeros(size))

        def forward(self, x: Tensor) -> Tensor:
            return formula(x, self.weight, self.bias, self.eps)

    return LayerNorm


def run(part: type[nn.Module], case: Case) -> Tensor:
    """Build the part for the case, give it the case's weight and bias, and call it."""
    x, weight, bias = (case.inputs[name] for name in ("x", "weight", "bias"))
    module = part(x.shape[-1], case.settings["eps"]).to(x.dtype)
    result: Tensor = torch.func.functional_call(module, {"weight": weight, "bias": bias}, (x,))
    return result


def cases(generator: torch.Generator) -> list[Case]:
    """A small one, one far from zero, a tiny one in which ε matters, a large one in float16."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def parameters(size: int) -> dict[str, Tensor]:
        return {"weight": torch.rand(size, generator=generator) + 0.5, "bias": draw(size)}

    large = (300 * draw(2, 3, 8).sign() + 50 * draw(2, 3, 8)).half()  # [2, 3, 8]
    half = {"weight": torch.ones(8).half(), "bias": torch.zeros(8).half()}
    return [
        Case(Text("a small example", "小例子"), {"x": draw(2, 3, 8), **parameters(8)}, {"eps": 1e-5}, gradients=True),
        Case(
            Text("an input far from zero", "远离零的输入"),
            {"x": draw(3, 5, 16) + 4, **parameters(16)},
            {"eps": 1e-5},
            gradients=True,
        ),
        Case(
            Text("a tiny input, where eps matters", "很小的输入（eps 起作用）"),
            {"x": draw(2, 4, 16) * 1e-3, **parameters(16)},
            {"eps": 1e-5},
        ),
        Case(
            Text("a large input in float16", "较大的 float16 输入"),
            {"x": large, **half},
            {"eps": 1e-5},
            relative=5e-3,
            absolute=1e-2,
        ),
    ]


def ignores_shift(part: type[nn.Module], generator: torch.Generator) -> bool:
    """f(x + c) = f(x): what is common to all components is gone."""
    x = torch.randn(4, 8, generator=generator)  # [4, 8]
    module = part(8)
    return bool(torch.allclose(module(x + 10), module(x), rtol=1e-3, atol=1e-3))


def is_standard(part: type[nn.Module], generator: torch.Generator) -> bool:
    """Mean 0 and mean square 1, in any number of axes."""
    module = part(32)
    for shape in ((32,), (7, 32), (2, 3, 4, 32)):
        result = module(torch.randn(*shape, generator=generator) * 3 + 1)  # [..., 32]
        mean, square = result.mean(-1), result.pow(2).mean(-1)  # 2 × [...]
        if not bool((mean.abs() < 1e-4).all() and ((square - 1).abs() < 1e-3).all()):
            return False
    return True


def install(model: MiniMind, part: type[nn.Module]) -> None:
    """Put the part in place of every norm of the residual stream."""
    replace_norms(model, "layer")
    install_norms(model, part)


CHECK = Check(
    part="LayerNorm",
    parameters=("size", "eps"),
    axes=("batch", "time", "hidden"),
    cases=cases,
    run=run,
    reference=part_of(textbook),
    mutants={
        formula.__name__: part_of(formula)
        for formula in (
            unchanged,
            keeps_mean,
            unbiased_variance,
            eps_outside,
            no_bias,
            no_weight,
            no_root,
            not_centred_above,
            wrong_axis,
            whole_tensor,
            bias_before_weight,
            no_upcast,
        )
    },
    invariants=(
        Invariant(
            Text("adding 10 to every component changes the result", "每个分量都加 10，结果却变了"), ignores_shift
        ),
        Invariant(
            Text(
                "the result does not have mean 0 and mean square 1 for inputs of 1, 2 or 4 axes",
                "输入是 1、2 或 4 维时，结果的均值不是 0，或均方不是 1",
            ),
            is_standard,
        ),
    ),
    install=install,
)
