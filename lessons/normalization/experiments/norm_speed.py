"""What makes a norm fast? Five implementations, forward and with the backward pass, timed on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from minimind.events import Claim, Event, Note, Progress, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.model.transformer import RMSNorm

Norm = Callable[[Tensor], Tensor]
SAID_REPEATS = 20
"""With fewer repeats a median of timings says nothing, and every claim stays undecided."""


def hand_layer_norm(x: Tensor) -> Tensor:
    """LayerNorm from single operations, as on the page with the formula; x [..., size]."""
    centred = x - x.mean(-1, keepdim=True)  # [..., size]
    return centred / torch.sqrt(x.var(-1, correction=0, keepdim=True) + 1e-6)  # [..., size]


def hand_rms_norm(x: Tensor) -> Tensor:
    """RMSNorm from single operations; x [..., size]."""
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)  # [..., size]


@experiment(
    title=Text("What makes a norm fast", "归一化快在哪里"),
    question=Text(
        "RMSNorm leaves out the mean. Is that what makes the difference, or is it how the steps are put together?",
        "RMSNorm 省去了均值。快慢的差别来自这里，还是来自各步怎样拼在一起？",
    ),
    parameters={
        "rows": Parameter(Text("rows (positions)", "行数（位置）"), low=1, high=8192),
        "size": Parameter(Text("components of a row", "每行的分量数"), low=8, high=4096),
        "repeats": Parameter(Text("repeats", "重复次数"), low=3, high=500),
        "threads": Parameter(Text("threads", "线程数"), low=1, high=8),
    },
    quick={"repeats": 40},
    deep={"repeats": 300},
    smoke={"repeats": 3, "rows": 64},
    predict=Text(
        "1,000 rows of 512 numbers, forward and backward, on this machine. Which is fastest?",
        "1,000 行、每行 512 个数，前向加反向，在这台机器上。哪个最快？",
    ),
    choices=(
        Text("RMSNorm written by hand", "手写的 RMSNorm"),
        Text("LayerNorm written by hand", "手写的 LayerNorm"),
        Text("PyTorch's own LayerNorm, one fused operation", "PyTorch 自带的 LayerNorm，融合成一个操作"),
    ),
)
def norm_speed(rows: int = 1000, size: int = 512, repeats: int = 100, threads: int = 1) -> Iterator[Event]:
    """Median microseconds of each, taken in turn so that a busy moment hits all of them alike."""
    norms: dict[str, Norm] = {
        "rms_by_hand": hand_rms_norm,
        "layer_by_hand": hand_layer_norm,
        "rms_of_the_model": RMSNorm(size),
        "rms_fused": nn.RMSNorm(size, eps=1e-6),
        "layer_fused": nn.LayerNorm(size, eps=1e-6),
    }
    x = torch.randn(rows, size, generator=torch.Generator().manual_seed(0), requires_grad=True)  # [rows, size]
    gradient = torch.ones(rows, size)  # [rows, size]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    forward: dict[str, list[float]] = {name: [] for name in norms}
    both: dict[str, list[float]] = {name: [] for name in norms}
    try:
        for repeat in range(repeats + 2):
            for name, norm in norms.items():
                seconds = _time(norm, x, gradient)
                if repeat >= 2:  # the first two fill caches and allocate
                    forward[name].append(seconds[0])
                    both[name].append(seconds[1])
            yield Progress(repeat + 1, repeats + 2)
    finally:
        torch.set_num_threads(before)
    microseconds = {
        name: (1e6 * statistics.median(forward[name]), 1e6 * statistics.median(both[name])) for name in norms
    }
    yield _table(microseconds)
    yield Note(
        Text(
            "Timings hold for this machine, this shape and this version of PyTorch. On a GPU the order can differ.",
            "计时只对这台机器、这个形状和这个版本的 PyTorch 成立。换成 GPU，次序可能不同。",
        )
    )
    yield from _claims(microseconds, said=repeats >= SAID_REPEATS)


def _time(norm: Norm, x: Tensor, gradient: Tensor) -> tuple[float, float]:
    """Seconds of the forward pass, and of forward and backward together."""
    began = time.perf_counter()
    result = norm(x)
    middle = time.perf_counter()
    torch.autograd.backward(result, gradient)
    ended = time.perf_counter()
    x.grad = None
    return middle - began, ended - began


NAMES = {
    "rms_by_hand": Text("RMSNorm, by hand", "RMSNorm，手写"),
    "layer_by_hand": Text("LayerNorm, by hand", "LayerNorm，手写"),
    "rms_of_the_model": Text("RMSNorm of our model (float32 inside)", "我们模型的 RMSNorm（内部 float32）"),
    "rms_fused": Text("torch.nn.RMSNorm", "torch.nn.RMSNorm"),
    "layer_fused": Text("torch.nn.LayerNorm (fused)", "torch.nn.LayerNorm（融合）"),
}


def _table(microseconds: dict[str, tuple[float, float]]) -> Event:
    fastest = min(both for _, both in microseconds.values())
    rows = tuple(
        (str(NAMES[name].en), f"{forward:.0f}", f"{both:.0f}", f"{both / fastest:.1f} ×")
        for name, (forward, both) in microseconds.items()
    )
    columns = (
        Text("implementation", "实现"),
        Text("forward (µs)", "前向（µs）"),
        Text("with backward (µs)", "加反向（µs）"),
        Text("to the fastest", "与最快之比"),
    )
    return Table("times", columns, rows, Text("Median times", "中位数时间"))


def _claims(microseconds: dict[str, tuple[float, float]], said: bool) -> Iterator[Event]:
    candidates = ("rms_by_hand", "layer_by_hand", "layer_fused")
    fastest = min(candidates, key=lambda name: microseconds[name][1])
    yield Claim("prediction", NAMES[fastest], {"choice": candidates.index(fastest)}, True)
    by_hand, fused = microseconds["rms_by_hand"], microseconds["layer_fused"]
    yield Claim(
        "fusion_beats_subtraction",
        Text(
            "A fused LayerNorm is faster than an RMSNorm made of single operations, though it does more",
            "融合的 LayerNorm 做的事更多，却比用单个操作拼出的 RMSNorm 快",
        ),
        {"rms_by_hand": by_hand[1], "layer_fused": fused[1], "ratio": by_hand[1] / fused[1]},
        by_hand[1] > fused[1] if said else None,
    )
    layer = microseconds["layer_by_hand"]
    yield Claim(
        "by_hand_the_mean_costs",
        Text(
            "Written by hand, LayerNorm is slower than RMSNorm: this is where the popular figures come from",
            "同为手写，LayerNorm 比 RMSNorm 慢：流行的数字就是这么来的",
        ),
        {"layer_by_hand": layer[0], "rms_by_hand": by_hand[0], "ratio": layer[0] / by_hand[0]},
        layer[0] > by_hand[0] if said else None,
    )
