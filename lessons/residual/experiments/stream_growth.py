"""How large does the residual stream become with depth, and what does scaling the output projections change?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

import torch
from torch import Tensor

from minimind.events import Claim, Event, Progress, Scalars, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.tiny import INITIAL_SCALE, rescale, tiny_model
from minimind.lab.verdicts import agree, means
from minimind.model.probe import residual_stream
from minimind.model.variants.blocks import depth_scale, scale_outputs

ARMS = {
    "plain": Text("plain", "不缩放"),
    "scaled": Text("outputs × 1/√(2L)", "输出 × 1/√(2L)"),
    "root": Text("√(1 + layer · growth of the first)", "√(1 + 层 · 首层增量)"),
}


@experiment(
    title=Text("The stream grows", "残差流会变大"),
    question=Text(
        "Every layer adds something to the stream. How large is it after L layers, before any training?",
        "每层都往残差流里加一点。过了 L 层，还没训练时，它有多大？",
    ),
    parameters={
        "depth": Parameter(Text("layers", "层数"), low=2, high=64),
        "width": Parameter(Text("hidden size", "隐藏维度"), choices=(32, 64, 128)),
        "scale": Parameter(Text("initial weights (standard deviation)", "初始权重的标准差"), choices=(0.02, 0.1, 0.2)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=10),
    },
    quick={"seeds": 1},
    deep={"seeds": 10, "depth": 64},
    smoke={"seeds": 1, "depth": 12},
    predict=Text(
        "After four times as many layers, what each layer adds being alike, the stream is larger by a factor of about …",
        "层数变成四倍，每层加的都差不多，残差流会变成原来的大约……",
    ),
    choices=(Text("2", "2 倍"), Text("4", "4 倍"), Text("16", "16 倍")),
    names={
        "stream": Text("Size (RMS) of the stream, against the embedding's", "残差流的大小（RMS），以嵌入为 1"),
        "layer": Text("layer", "层"),
        **ARMS,
    },
)
def stream_growth(depth: int = 32, width: int = 64, scale: float = 0.02, seeds: int = 3) -> Iterator[Event]:
    """The root mean square of the stream after each block, divided by that of the embedding."""
    sizes: dict[str, list[list[float]]] = {"plain": [], "scaled": []}
    for seed in range(seeds):
        for name in sizes:
            sizes[name].append(_sizes(depth, width, scale, seed, scaled=name == "scaled"))
        yield Progress(seed + 1, seeds)
    typical = {name: [statistics.fmean(column) for column in zip(*rows, strict=True)] for name, rows in sizes.items()}
    growth = typical["plain"][1] ** 2 - 1
    for layer in range(depth + 1):
        values = {name: column[layer] for name, column in typical.items()}
        yield Scalars(layer, values | {"root": math.sqrt(1 + layer * growth)}, axis="layer", chart="stream")
    yield from _claims(sizes, depth)


@torch.no_grad()
def _sizes(depth: int, width: int, scale: float, seed: int, *, scaled: bool) -> list[float]:
    model = tiny_model("T1", seed=seed, num_hidden_layers=depth, hidden_size=width)
    rescale(model, scale / INITIAL_SCALE)
    if scaled:
        scale_outputs(model, depth_scale(model))
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 256, (4, 32), generator=generator)  # [batch, time]
    stream: Tensor = residual_stream(model, tokens)  # [layers + 1, batch, time, hidden]
    sizes = stream.pow(2).mean((1, 2, 3)).sqrt()  # [layers + 1]
    return [float(size) for size in sizes / sizes[0]]


def _claims(sizes: dict[str, list[list[float]]], depth: int) -> Iterator[Event]:
    quarter = depth // 4
    factors = [row[-1] / row[quarter] for row in sizes["plain"]]
    factor = statistics.fmean(factors)
    choice = min(range(3), key=lambda index: abs(math.log(factor / (2, 4, 16)[index])))
    yield Claim("prediction", Text(f"{factor:.2f} ×", f"{factor:.2f} 倍"), {"choice": choice}, True)
    yield Claim(
        "grows_like_the_root",
        Text(
            "Four times the layers, about twice the size: the additions are independent, so their squares add up",
            "层数变四倍，大小约变两倍：各层加的量彼此独立，相加的是平方",
        ),
        means(factor=factors) | {"layers": depth, "quarter": quarter},
        agree([1.4 < factor < 2.6 for factor in factors]),
    )
    plain, scaled = [row[-1] for row in sizes["plain"]], [row[-1] for row in sizes["scaled"]]
    yield Claim(
        "scaling_keeps_it",
        Text(
            "With the output projections scaled by 1/√(2L) the stream stays below one and a half times the embedding",
            "输出投影乘上 1/√(2L)，残差流始终不到嵌入的一倍半",
        ),
        means(plain=plain, scaled=scaled),
        agree([size < 1.5 for size in scaled]),
    )
