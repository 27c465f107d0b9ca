"""What is left of the input, and of the gradient, after many layers, with and without a norm?

A plain stack of Linear + ReLU without residual connections, so that nothing hides the effect. Every arm gets the same
random draws: the weights of two initialisations differ by a factor only, and a norm adds no randomness.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from minimind.events import Claim, Event, Progress, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.model.transformer import RMSNorm

# Standard deviation of a weight times √width: torch.nn.Linear's default is uniform with variance 1/(3·width).
INITIALISATIONS = {"default": 1 / math.sqrt(3), "xavier": 1.0, "he": math.sqrt(2)}
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "none": lambda _: nn.Identity(),
    "RMS": RMSNorm,
    "Layer": nn.LayerNorm,
}
DEAD = 1e-3
"""Less than this share of the input's signal, or of the last layer's gradient, counts as gone."""


@dataclass
class Arm:
    """One norm with one initialisation, and what was measured on it, a list a seed, a value a layer."""

    norm: str
    initialisation: str
    name: str
    spread: list[list[float]] = field(default_factory=list)
    signal: list[list[float]] = field(default_factory=list)
    gradient: list[list[float]] = field(default_factory=list)

    def shares(self) -> list[float]:
        """Signal after the last layer as a share of the input's, for each seed."""
        return [series[-1] / series[0] for series in self.signal]

    def gradient_ratios(self) -> list[float]:
        """Gradient norm of the first layer over that of the last, for each seed."""
        return [series[0] / max(series[-1], 1e-38) for series in self.gradient]


@experiment(
    title=Text("Depth and the signal", "深度与信号"),
    question=Text(
        "Two different inputs pass many layers. Can the last layer still tell them apart?",
        "两个不同的输入穿过很多层之后，最后一层还分得清它们吗？",
    ),
    parameters={
        "depth": Parameter(Text("layers", "层数"), low=2, high=100),
        "width": Parameter(Text("width of a layer", "每层宽度"), choices=(32, 64, 128, 256)),
        "initialisation": Parameter(Text("initialisation", "初始化"), choices=tuple(INITIALISATIONS)),
        "bias": Parameter(Text("bias in every layer", "每层带偏置")),
        "residual": Parameter(Text("residual connections", "残差连接")),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=10),
    },
    quick={"seeds": 1},
    deep={"seeds": 5},
    smoke={"width": 64, "seeds": 1},
    predict=Text(
        "30 layers of Linear + ReLU, PyTorch's default initialisation, no norm. How large is the difference between "
        "inputs after the last layer, compared with the input?",
        "30 层 Linear + ReLU，PyTorch 默认初始化，不加归一化。最后一层输出中，不同输入之间的差异还剩输入时的多少？",
    ),
    choices=(
        Text("about the same", "差不多一样大"),
        Text("a tenth to a thousandth", "十分之一到千分之一"),
        Text("less than a thousandth: all inputs look the same", "不到千分之一：所有输入看起来都一样"),
        Text("larger: it explodes", "更大：爆炸了"),
    ),
    names={
        "layer": Text("layer", "层"),
        "spread": Text("Spread", "散布"),
        "signal": Text("Signal", "信号"),
        "gradient": Text("Gradient", "梯度"),
    },
)
def depth_signal(
    depth: int = 30,
    width: int = 128,
    initialisation: str = "default",
    bias: bool = True,
    residual: bool = False,
    seeds: int = 3,
) -> Iterator[Event]:
    """Stream, layer by layer: the spread over units, the signal over samples, and the gradient norm of each arm."""
    other = "default" if initialisation == "he" else "he"
    arms = [Arm(norm, initialisation, norm) for norm in NORMS]
    arms += [Arm(norm, other, f"{norm} {other}") for norm in ("none", "RMS")]
    for seed in range(seeds):
        for number, arm in enumerate(arms):
            yield Progress(seed * len(arms) + number, seeds * len(arms))
            yield from _measure(arm, depth, width, bias, residual, seed)
    yield Progress(1, 1)
    yield _summary(arms)
    yield from _claims(arms, depth)
    yield from _claim_on_residual(depth, width, initialisation, bias, seeds)


def _measure(arm: Arm, depth: int, width: int, bias: bool, residual: bool, seed: int) -> Iterator[Event]:
    """Send 64 random inputs through one stack and a gradient back; only the first seed is drawn."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(64, width, generator=generator)  # [sample, width]
    target = torch.randn(64, width, generator=generator)  # [sample, width]
    norm = NORMS[arm.norm](width)
    spread, signal = [float(x.std(1).mean())], [float(x.std(0).mean())]
    weights: list[Tensor] = []
    for layer in range(1, depth + 1):
        weight, offset = _linear(width, arm.initialisation, generator)
        weights.append(weight.requires_grad_())
        hidden = (norm(x) @ weight.T + (offset if bias else 0)).relu()  # [sample, width]
        x = x + hidden if residual else hidden  # [sample, width]
        spread.append(float(x.detach().std(1).mean()))
        signal.append(float(x.detach().std(0).mean()))
        if seed == 0:
            yield Scalars(layer, {arm.name: spread[-1]}, axis="layer", chart="spread")
            yield Scalars(layer, {arm.name: signal[-1]}, axis="layer", chart="signal")
    loss = (x - target).pow(2).mean()
    gradient = [float(g.norm()) for g in torch.autograd.grad(loss, weights)]
    if seed == 0:
        for layer, value in enumerate(gradient, 1):
            yield Scalars(layer, {arm.name: value}, axis="layer", chart="gradient")
    arm.spread.append(spread)
    arm.signal.append(signal)
    arm.gradient.append(gradient)


def _linear(width: int, initialisation: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A weight [width, width] and a bias [width], uniform as in torch.nn.Linear, the weight scaled."""
    bound = 1 / math.sqrt(width)
    weight = (torch.rand(width, width, generator=generator) * 2 - 1) * bound  # [width, width]
    offset = (torch.rand(width, generator=generator) * 2 - 1) * bound  # [width]
    return weight * (INITIALISATIONS[initialisation] / INITIALISATIONS["default"]), offset


def _mean(values: list[float]) -> float:
    """Geometric mean: these numbers span many powers of ten."""
    return math.exp(sum(math.log(max(value, 1e-45)) for value in values) / len(values))


def _summary(arms: list[Arm]) -> Event:
    rows = [
        (
            arm.name,
            _mean([series[-1] for series in arm.spread]),
            _mean([series[-1] for series in arm.signal]),
            _mean(arm.gradient_ratios()),
        )
        for arm in arms
    ]
    columns = (
        Text("arm", "组别"),
        Text("spread", "单元间标准差"),
        Text("signal", "输入间标准差"),
        Text("first ÷ last gradient", "首层 ÷ 末层梯度"),
    )
    return Table("summary", columns, tuple(rows), Text("After the last layer", "最后一层之后"))


def _verdict(holds: list[bool]) -> bool | None:
    """True or False where the seeds agree, else None."""
    return holds[0] if len(set(holds)) == 1 else None


def _claims(arms: list[Arm], depth: int) -> Iterator[Event]:
    none, rms, layer, none_other, rms_other = arms
    shares, ratios = none.shares(), none.gradient_ratios()
    half = depth // 2
    yield _prediction(_mean(shares))
    plateau = [series[-1] / series[half] for series in none.spread]
    yield Claim(
        "spread_misleads",
        Text(
            "Without a norm the spread over units stops falling although the signal is gone: the bias keeps it up",
            "不加归一化时，信号已经没了，单元间标准差却不再下降：是偏置撑着它",
        ),
        {
            "spread": _mean([s[-1] for s in none.spread]),
            "signal": _mean([s[-1] for s in none.signal]),
            "kept": _mean(plateau),
        },
        _verdict([p > 0.5 and s < DEAD for p, s in zip(plateau, shares, strict=True)]),
    )
    yield Claim(
        "signal_dies",
        Text("Without a norm less than 1/1000 of the signal is left", "不加归一化，信号只剩不到千分之一"),
        {"share": _mean(shares), "depth": depth},
        _verdict([share < DEAD for share in shares]),
    )
    yield Claim(
        "gradient_dies",
        Text(
            "Without a norm the first layer gets less than 1/20 of the last layer's gradient",
            "不加归一化，首层得到的梯度不到末层的二十分之一",
        ),
        {"ratio": _mean(ratios)},
        _verdict([ratio < 0.05 for ratio in ratios]),
    )
    yield from _claims_on_causes(none, rms, layer, none_other, rms_other)


def _claims_on_causes(none: Arm, rms: Arm, layer: Arm, none_other: Arm, rms_other: Arm) -> Iterator[Event]:
    other_shares = none_other.shares()
    yield Claim(
        "initialisation_is_the_cause",
        Text(
            f"The other initialisation ({none_other.initialisation}), still without a norm, keeps the signal",
            f"仍然不加归一化，只换一种初始化（{none_other.initialisation}），信号就保住了",
        ),
        {"share": _mean(other_shares), "ratio": _mean(none_other.gradient_ratios())},
        _verdict([10 * DEAD < share < 0.1 / DEAD for share in other_shares]),
    )
    change_none = [max(a, b) / min(a, b) for a, b in zip(none.shares(), other_shares, strict=True)]
    change_rms = [max(a, b) / min(a, b) for a, b in zip(rms.shares(), rms_other.shares(), strict=True)]
    yield Claim(
        "norm_forgives_initialisation",
        Text(
            "Changing the initialisation changes the signal at least 100 times more without a norm than with RMSNorm",
            "换初始化时，不加归一化的信号变化至少是加了 RMSNorm 的 100 倍",
        ),
        {"none": _mean(change_none), "rms": _mean(change_rms), "share": _mean(rms.shares())},
        _verdict([a > 100 * b for a, b in zip(change_none, change_rms, strict=True)]),
    )
    layer_ratios = layer.gradient_ratios()
    yield Claim(
        "layer_norm_explodes_backwards",
        Text(
            "In this plain stack LayerNorm keeps the inputs apart, but its gradient grows on the way back",
            "在这个没有残差的网络里，LayerNorm 保住了输入间的差异，但梯度在回传途中不断变大",
        ),
        {"share": _mean(layer.shares()), "ratio": _mean(layer_ratios)},
        _verdict([s > 0.1 and r > 2 for s, r in zip(layer.shares(), layer_ratios, strict=True)]),
    )


def _claim_on_residual(depth: int, width: int, initialisation: str, bias: bool, seeds: int) -> Iterator[Event]:
    """The same stack with x + f(x) in place of f(x), without a norm and with RMSNorm on the branch."""
    plain, normed = (Arm(norm, initialisation, norm) for norm in ("none", "RMS"))
    for seed in range(seeds):
        for arm in (plain, normed):
            for _ in _measure(arm, depth, width, bias, True, seed):
                yield Progress(1, 1)  # a sign of life; these arms are not drawn
    growth, kept, ratios = plain.shares(), normed.shares(), normed.gradient_ratios()
    yield Claim(
        "residual_needs_a_norm",
        Text(
            "With residual connections the signal grows at least 10 times more without a norm than with RMSNorm, "
            "whose first layer gets at least a tenth of the last one's gradient",
            "加上残差连接后，不加归一化的信号增长至少是加 RMSNorm 的 10 倍；而加了 RMSNorm 时，首层梯度不低于末层的十分之一",
        ),
        {"none": _mean(growth), "rms": _mean(kept), "ratio": _mean(ratios)},
        _verdict([g > 10 * k and r > 0.1 for g, k, r in zip(growth, kept, ratios, strict=True)]),
    )


def _prediction(share: float) -> Event:
    """Which of the choices came true."""
    choice = 3 if share > 2 else 0 if share > 0.1 else 1 if share > DEAD else 2
    return Claim(
        "prediction",
        Text(f"the share left is {share:.1e}", f"剩下的比例是 {share:.1e}"),
        {"choice": choice, "share": share},
        True,
    )
