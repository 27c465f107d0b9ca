"""Why RMSNorm computes in float32: what each number format makes of x / √(mean(x²) + ε) as x grows."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from minimind.events import Claim, Event, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.model.transformer import RMSNorm

MAGNITUDES = (1e-4, 1.0, 16.0, 200.0, 255.0, 256.0, 300.0, 1000.0, 30000.0)
FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
MODEL = "float16, RMSNorm of the model"
WIDTH = 64


@experiment(
    title=Text("Overflow in half precision", "半精度溢出"),
    question=Text(
        "RMSNorm turns a vector of equal sizes into ones, however large it is. Which formats manage without float32?",
        "各分量一样大的向量，不管多大，RMSNorm 都应把它变成 1。不升到 float32，哪些格式做得到？",
    ),
    parameters={"eps": Parameter(Text("epsilon", "epsilon"), choices=(1e-8, 1e-6, 1e-5))},
    quick={},
    predict=Text(
        "float16 without the detour over float32, every component 300. What does RMSNorm return?",
        "用 float16 直接计算，不升到 float32，每个分量都是 300。RMSNorm 会返回什么？",
    ),
    choices=(
        Text("1, as it should", "1，正确"),
        Text("infinity", "无穷大"),
        Text("NaN", "NaN"),
        Text("0", "0"),
    ),
    names={
        "size": Text("Size of the result", "结果的大小"),
        "exact": Text("exact", "精确值"),
        MODEL: Text(MODEL, "float16，模型的 RMSNorm"),
    },
)
def half_precision_overflow(eps: float = 1e-6) -> Iterator[Event]:
    """Compute the formula in each format, and with the model's own RMSNorm on float16, for growing inputs."""
    results: dict[str, list[float]] = {name: [] for name in ("exact", *FORMATS, MODEL)}
    module = RMSNorm(WIDTH, eps).half()
    for magnitude in MAGNITUDES:
        signs = torch.ones(WIDTH)  # [width]
        signs[::2] = -1
        results["exact"].append(magnitude / math.sqrt(magnitude**2 + eps))
        for name, dtype in FORMATS.items():
            results[name].append(_size(_in_one_format((signs * magnitude).to(dtype), eps)))
        results[MODEL].append(_size(module((signs * magnitude).half()).detach()))
        values = {name: series[-1] for name, series in results.items()}
        yield Scalars(math.log10(magnitude), values, axis="log10 |x|", chart="size")
    columns = (
        Text("|x|", "|x|"),
        Text("exact", "精确值"),
        *(Text(name, name) for name in FORMATS),
        Text(MODEL, "float16，模型的 RMSNorm"),
    )
    rows = tuple((magnitude, *(series[i] for series in results.values())) for i, magnitude in enumerate(MAGNITUDES))
    yield Table("results", columns, rows, Text("Size of the result", "结果的大小"))
    yield from _claims(results)


def _in_one_format(x: Tensor, eps: float) -> Tensor:
    """The formula computed wholly in the dtype of `x` [width]."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)  # [width]


def _size(result: Tensor) -> float:
    return float(result.float().abs().mean())


def _largest_error(results: dict[str, list[float]], name: str) -> float:
    """Relative to the exact value."""
    return max(abs(value / exact - 1) for value, exact in zip(results[name], results["exact"], strict=True))


def _claims(results: dict[str, list[float]]) -> Iterator[Event]:
    at_300 = results["float16"][MAGNITUDES.index(300.0)]
    choice = 2 if math.isnan(at_300) else 1 if math.isinf(at_300) else 3 if at_300 == 0 else 0
    yield Claim("prediction", Text(f"it returns {at_300:g}", f"它返回 {at_300:g}"), {"choice": choice}, True)
    below = results["float16"][MAGNITUDES.index(255.0)]
    above = results["float16"][MAGNITUDES.index(256.0)]
    yield Claim(
        "float16_returns_zero",
        Text(
            "From |x| = 256 on float16 silently returns 0, not NaN: 256² is larger than the largest float16, 65504",
            "从 |x| = 256 起，float16 悄悄返回 0 而不是 NaN：256² 超过了 float16 的最大值 65504",
        ),
        {"at_255": below, "at_256": above},
        abs(below - 1) < 0.01 and above == 0.0,
    )
    error = _largest_error(results, "bfloat16")
    yield Claim(
        "bfloat16_is_only_coarse",
        Text(
            "bfloat16 does not overflow here: it has the range of float32 and is wrong by less than 1 %",
            "bfloat16 在这里不会溢出：它的范围与 float32 相同，误差不到 1 %",
        ),
        {"error": error},
        error < 0.01,
    )
    error = _largest_error(results, MODEL)
    yield Claim(
        "upcast_repairs_it",
        Text(
            "The model's RMSNorm, which squares in float32, is right for every input float16 can hold",
            "模型里的 RMSNorm 先升到 float32 再平方，float16 装得下的输入都算得对",
        ),
        {"error": error},
        error < 0.01,
    )
