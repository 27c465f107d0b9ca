"""``minimind bench ceilings``: how fast this machine multiplies and reads memory, which no program can exceed.

Every other benchmark is read against these: training and prefill against the matrix products, decoding (which reads
each weight once a token) against the memory.
"""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from minimind.commands.output import Output
from minimind.events import Text

if TYPE_CHECKING:
    import torch

_SECONDS = 0.6
"""How long each of the measurements goes on."""
_LARGEST_MATRIX = {"cpu": 2048, "cuda": 8192}
_MEMORY = 512 << 20
"""Bytes read at a time: many times what the processor's caches hold."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the machine can do at best.

    `matmul_float32` and `matmul_bfloat16` in floating-point operations a second (0.0: torch cannot multiply that
    type here), `memory_read` in bytes a second, both with `threads` threads of the CPU or on the GPU that `device` is.
    """

    matmul_float32: float
    matmul_bfloat16: float
    memory_read: float
    threads: int
    device: str


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``ceilings``."""
    text = "the most this machine can multiply and read / 这台机器计算与读内存的上限"
    parser = subparsers.add_parser("ceilings", help=text, description=text)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="device / 设备")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    ceilings = measure_ceilings(arguments.device)
    output.emit({"benchmark": "ceilings", **asdict(ceilings)}, lines(ceilings))
    return 0


@functools.cache
def measure_ceilings(device: str = "auto") -> Ceilings:
    """Measure, in about two seconds; a second call in the same process returns the same figures.

    Products are of square matrices large enough to keep every unit busy (2n³ operations), memory is read by adding up
    an array larger than the caches. Raises UserError for a `device` that is not there.
    """
    import torch

    from minimind.hardware import choose_device

    chosen = choose_device(device)
    return Ceilings(
        matmul_float32=_matmul(torch.float32, chosen),
        matmul_bfloat16=_matmul(torch.bfloat16, chosen),
        memory_read=_memory_read(chosen),
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else "cpu",
    )


def _matmul(dtype: torch.dtype, device: torch.device) -> float:
    """Operations a second. The matrices grow as long as a product of them is quick, so that slow types end in time."""
    import torch

    best, size = 0.0, 256
    try:
        while size <= _LARGEST_MATRIX[device.type]:
            one, other = (torch.ones(size, size, dtype=dtype, device=device) for _ in range(2))  # 2 × [size, size]
            seconds = best_seconds(functools.partial(torch.mm, one, other), device, _SECONDS / 4)
            best = max(best, 2 * size**3 / seconds)
            if seconds > _SECONDS / 8:
                break
            size *= 2
    except RuntimeError:  # a type that torch has no product of here, or a GPU without room
        return best
    return best


def _memory_read(device: torch.device) -> float:
    """Bytes a second."""
    import torch

    numbers = torch.ones(_MEMORY // 4, device=device)  # [numbers]
    return _MEMORY / best_seconds(numbers.sum, device, _SECONDS)


def best_seconds(work: Callable[[], object], device: torch.device, budget: float) -> float:
    """The shortest of the runs of `work` that fit into `budget` seconds (three at least), the first one not counted."""
    import torch

    def run() -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    run()
    began, best, runs = time.monotonic(), float("inf"), 0
    while runs < 3 or time.monotonic() - began < budget:
        best, runs = min(best, run()), runs + 1
    return best


def lines(ceilings: Ceilings) -> Text:
    """The ceilings as one line to print above other figures."""
    float32, bfloat16 = (
        f"{speed / 1e9:,.0f} GFLOP/s" if speed else "–" for speed in (ceilings.matmul_float32, ceilings.matmul_bfloat16)
    )
    memory = f"{ceilings.memory_read / 1e9:,.1f} GB/s"
    where = Text(f"{ceilings.threads} threads", f"{ceilings.threads} 线程")
    if ceilings.device != "cpu":
        where = Text(ceilings.device, ceilings.device)
    return Text(
        f"ceilings ({where.en}): float32 products {float32}, bfloat16 {bfloat16}, memory read {memory}",
        f"上限（{where.zh}）：float32 矩阵乘 {float32}，bfloat16 {bfloat16}，读内存 {memory}",
    )
