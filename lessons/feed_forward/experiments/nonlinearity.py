"""What is a wide middle worth without an activation? Points of two classes in the plane, and who can part them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind.events import Claim, Event, Heatmap, Level, Note, Progress, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.feed_forward import percents
from minimind.lab.verdicts import agree, means
from minimind.model.variants.feed_forward import PLAIN, PlainFeedForward

WIDE = 64
POINTS, RATE, EVERY, SAID_STEPS = 512, 0.02, 20, 200
ROWS, COLUMNS = 15, 31
GOOD = 0.97
"""A share of points put right that counts as having found the shape."""
ARMS = {
    "linear_2": Text("no activation, 2 wide", "无激活，宽 2"),
    "linear_64": Text("no activation, 64 wide", "无激活，宽 64"),
    "active_2": Text("activation, 2 wide", "有激活，宽 2"),
    "active_4": Text("activation, 4 wide", "有激活，宽 4"),
    "active_64": Text("activation, 64 wide", "有激活，宽 64"),
}
BEST_LINE = "best_line"


@dataclass(frozen=True)
class Points:
    """Points as rows (x, y, 1), and whether each is of the second class: [points, 3] and [points]."""

    inputs: Tensor
    labels: Tensor


@experiment(
    title=Text("Wide, but straight", "很宽，但是直的"),
    question=Text(
        "Two matrices, the middle wide or narrow, with an activation between them or without. Who can part a disc "
        "from the ring around it?",
        "两个矩阵，中间有宽有窄，之间有激活或没有。谁能把圆盘和它外面的圆环分开？",
    ),
    parameters={
        "shape": Parameter(
            Text("shape", "形状"),
            choices=("ring", "corners"),
            help=Text("a disc in a ring, or opposite corners (XOR)", "圆环里的圆盘，或对角（XOR）"),
        ),
        "activation": Parameter(Text("activation", "激活函数"), choices=("relu", "gelu", "silu", "relu2")),
        "steps": Parameter(Text("training steps", "训练步数"), low=10, high=3000),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=10),
    },
    quick={"seeds": 1},
    deep={"seeds": 10, "steps": 1000},
    smoke={"seeds": 1, "steps": 20},
    predict=Text(
        "A disc and the ring around it. Which of these layers puts nearly all points right?",
        "一个圆盘，外面一个圆环。下面哪些层能把几乎所有点分对？",
    ),
    choices=(
        Text("every wide one, with or without an activation", "凡是宽的都行，有没有激活都一样"),
        Text("every one with an activation, however narrow", "凡是有激活的都行，再窄也行"),
        Text("only those with an activation and enough width", "有激活，而且够宽的才行"),
        Text("none of them: one layer cannot draw a circle", "都不行：一层画不出圆"),
    ),
    names={
        "accuracy": Text("Share of new points put right", "新的点中分对的比例"),
        "step": Text("step", "步"),
        BEST_LINE: Text("best straight line", "最好的直线"),
        **ARMS,
    },
)
def nonlinearity(shape: str = "ring", activation: str = "relu", steps: int = 400, seeds: int = 3) -> Iterator[Event]:
    """The course's plain feed-forward layer on (x, y, 1), its first output read as a score; the same points for all."""
    shares: dict[str, list[float]] = {name: [] for name in ARMS}
    lines: list[float] = []
    gaps: list[float] = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        training, fresh = _points(shape, generator), _points(shape, generator)
        lines.append(best_line(fresh))
        if seed == 0:
            yield Level("accuracy", BEST_LINE, lines[0])
        layers = _layers(activation, seed)
        yield from _train(layers, training, fresh, steps, seed, seeds)
        for name, layer in layers.items():
            shares[name].append(_accuracy(layer, fresh))
        gaps.append(collapse_gap(layers["linear_64"], fresh.inputs))
    yield _table(shares, activation)
    yield Note(
        Text(
            "The third input is always 1: with it a layer without biases can shift its lines away from the middle.",
            "第三个输入恒为 1：有了它，没有偏置的层也能把直线从中心移开。",
        )
    )
    yield from _claims(shares, lines, gaps, said=steps >= SAID_STEPS)


def _points(shape: str, generator: torch.Generator) -> Points:
    labels = (torch.arange(POINTS) % 2).float()  # [points]
    if shape == "ring":
        low, high = 0.8 * labels, 0.6 + 0.6 * labels  # 2 × [points]
        squares = low**2 + (high**2 - low**2) * torch.rand(POINTS, generator=generator)  # [points]
        angles = 2 * math.pi * torch.rand(POINTS, generator=generator)  # [points]
        x, y = squares.sqrt() * angles.cos(), squares.sqrt() * angles.sin()  # 2 × [points]
    else:
        sides = 0.1 + torch.rand(2, POINTS, generator=generator)  # [2, points]
        sign = torch.randint(0, 2, (POINTS,), generator=generator) * 2 - 1  # [points]
        x, y = sign * sides[0], sign * (1 - 2 * labels) * sides[1]  # 2 × [points]
    return Points(torch.stack((x, y, torch.ones(POINTS)), 1), labels)


def best_line(points: Points) -> float:
    """The largest share of `points` that any straight line puts right; lines of 60 directions are tried."""
    second = points.labels  # [points]
    best = 0.0
    for step in range(60):
        angle = math.pi * step / 60
        projection = points.inputs[:, 0] * math.cos(angle) + points.inputs[:, 1] * math.sin(angle)  # [points]
        ordered = second[projection.argsort()]  # [points]
        before = torch.cat((torch.zeros(1), ordered.cumsum(0)))  # [points + 1], of the second class below the line
        below = torch.arange(len(second) + 1)  # [points + 1]
        right = (below - before) + (second.sum() - before)  # [points + 1], the first class below, the second above
        share = right / len(second)  # [points + 1]
        best = max(best, float(share.max()), float((1 - share).max()))
    return best


def _layers(activation: str, seed: int) -> dict[str, PlainFeedForward]:
    """The arms; those of one width begin with the same matrices."""
    layers: dict[str, PlainFeedForward] = {}
    for name in ARMS:
        kind, width = name.split("_")
        torch.manual_seed(seed)
        layers[name] = PlainFeedForward(3, int(width), PLAIN[activation if kind == "active" else "linear"])
    return layers


def _train(
    layers: dict[str, PlainFeedForward], training: Points, fresh: Points, steps: int, seed: int, seeds: int
) -> Iterator[Event]:
    optimizers = {name: torch.optim.Adam(layer.parameters(), lr=RATE) for name, layer in layers.items()}
    for step in range(1, steps + 1):
        for name, layer in layers.items():
            scores = layer(training.inputs)[:, 0]  # [points]
            loss = F.binary_cross_entropy_with_logits(scores, training.labels)  # []
            optimizers[name].zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizers[name].step()
        yield Progress(seed * steps + step, seeds * steps)
        if seed == 0 and (step % EVERY == 0 or step == steps):
            yield Scalars(step, {name: _accuracy(layer, fresh) for name, layer in layers.items()}, chart="accuracy")
            for name in ("linear_64", "active_64"):
                yield _map(name, layers[name])


@torch.no_grad()
def _accuracy(layer: PlainFeedForward, points: Points) -> float:
    guesses = (layer(points.inputs)[:, 0] > 0).float()  # [points]
    return float((guesses == points.labels).float().mean())


@torch.no_grad()
def collapse_gap(layer: PlainFeedForward, inputs: Tensor) -> float:
    """How far `layer` without an activation is from the one matrix down · up, relative to its largest output."""
    single = layer.down_proj.weight @ layer.up_proj.weight  # [3, 3]
    outputs: Tensor = layer(inputs)  # [points, 3]
    return float((outputs - inputs @ single.T).abs().max() / outputs.abs().max())


@torch.no_grad()
def _map(name: str, layer: PlainFeedForward) -> Event:
    y, x = torch.meshgrid(torch.linspace(1.2, -1.2, ROWS), torch.linspace(-1.2, 1.2, COLUMNS), indexing="ij")
    grid = torch.stack((x, y, torch.ones_like(x)), -1)  # [rows, columns, 3]
    chances = layer(grid)[..., 0].sigmoid()  # [rows, columns]
    return Heatmap(f"map_{name}", tuple(map(tuple, chances.tolist())), low=0.0, high=1.0, title=_map_title(name))


def _map_title(name: str) -> Text:
    said = ARMS[name]
    return Text(
        f"{said.en}: the chance it gives the second class, over the plane", f"{said.zh}：平面上各处判为第二类的概率"
    )


def _table(shares: dict[str, list[float]], activation: str) -> Event:
    columns = (
        Text("layer", "层"),
        Text("between the matrices", "矩阵之间"),
        Text("parameters", "参数量"),
        Text("points right", "分对的点"),
    )
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (
            name,
            activation if name.startswith("active") else "—",
            float(6 * int(name.rpartition("_")[2])),
            f"{means(right=values)['right']:.1%}",
        )
        for name, values in shares.items()
    )
    return Table("shares", columns, rows, Text("New points, mean over seeds", "新的点，各种子平均"))


def _claims(shares: dict[str, list[float]], lines: list[float], gaps: list[float], *, said: bool) -> Iterator[Event]:
    good = {name: agree([share > GOOD for share in values]) is True for name, values in shares.items()}
    choice = 3 if not good["active_64"] else 0 if good["linear_64"] else 1 if good["active_2"] else 2
    names = ", ".join(name for name, is_good in good.items() if is_good) or "—"
    yield Claim(
        "prediction",
        Text(f"nearly all right: {names}", f"几乎全分对的：{names}"),
        {"choice": choice},
        True if said else None,
    )
    yield Claim(
        "linear_is_one_matrix",
        Text(
            "Without an activation the wide layer computes what one small matrix computes",
            "没有激活时，这个很宽的层算的就是一个小矩阵",
        ),
        {"gap": max(gaps), "parameters": 6.0 * WIDE, "single": 9.0, "seeds": len(gaps)},
        agree([gap < 1e-4 for gap in gaps]),
    )
    yield Claim(
        "width_alone_is_straight",
        Text(
            "However wide, it does no better than the best straight line",
            "再宽，也不会好过最好的那条直线",
        ),
        percents(narrow=shares["linear_2"], wide=shares["linear_64"], line=lines),
        agree([share <= line + 0.01 for share, line in zip(shares["linear_64"], lines, strict=True)]),
    )
    yield Claim(
        "activation_bends",
        Text(
            "The same matrices with an activation between them find the shape",
            "同样的矩阵，中间加上激活，就找到了形状",
        ),
        percents(wide=shares["active_64"], straight=shares["linear_64"]),
        agree([share > GOOD for share in shares["active_64"]]) if said else None,
    )
    lower = [wide - two > 0.1 for wide, two in zip(shares["active_64"], shares["active_2"], strict=True)]
    yield Claim(
        "width_pays_once_bent",
        Text("With an activation width pays: two neurons are too few", "有了激活，宽度才有用：两个神经元太少"),
        percents(two=shares["active_2"], four=shares["active_4"], wide=shares["active_64"]),
        agree(lower) if said else None,
    )
