"""What this machine is and how to use it well: device, precision, memory, the C library's allocator. No torch at import."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from minimind.errors import UserError

if TYPE_CHECKING:
    import torch

_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
_TENSOR_CORES = (7, 0)
"""The compute capability from which NVIDIA's GPUs multiply float16 several times as fast as float32."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt(3), from malloc.h."""

_ALLOCATION_FAILURES = ("can't allocate memory", "not enough memory", "out of memory", "status_alloc_failed")
"""What torch says in a plain RuntimeError, in small letters, when memory does not suffice."""


def _cpu_info(*names: str) -> str:
    """What Linux tells about the first processor under one of `names`; empty elsewhere."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return ""


@functools.cache
def cpu_flags() -> frozenset[str]:
    """The feature flags of the processor as Linux lists them; empty elsewhere."""
    return frozenset(_cpu_info("flags", "Features").split())


@functools.cache
def cpu_is_amd() -> bool:
    """Whether the processor is AMD's, as far as can be told."""
    return _cpu_info("vendor_id") == "AuthenticAMD"


def cpu_has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 faster than float32 (AVX-512 BF16 or AMX); elsewhere it is emulated."""
    return bool(_BFLOAT16_FLAGS & cpu_flags())


def cpu_name() -> str:
    """The processor's name, for a person."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def available_cores() -> int:
    """The cores this process may use (its affinity, not the machine's number)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_device(wish: str) -> torch.device:
    """The device for ``auto``, ``cpu``, ``cuda`` or ``mps``. ``auto`` is CUDA where there is one, else the CPU.

    Apple's GPU is used only when asked for: on models of this size it is slower than the CPU.
    Raises UserError where the wished device is not there.
    """
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wish == "auto":
        return torch.device("cuda" if present["cuda"] else "cpu")
    if not present.get(wish, False):
        there = ", ".join(name for name, found in present.items() if found)
        raise UserError(
            f"device = {wish!r}: this machine has none that torch can use: use one of {there}",
            f"device = {wish!r}：torch 在这台机器上找不到它：可用 {there}",
        )
    return torch.device(wish)


def choose_dtype(wish: str, device: torch.device, *, half: bool = False) -> torch.dtype:
    """The precision for ``auto``, ``float32``, ``bfloat16`` or ``float16``.

    ``auto`` is bfloat16 where the hardware is fast at it. On an NVIDIA GPU that is not, but has tensor cores (Volta,
    Turing), it is float16 for those who take it (`half`: what trains in it must scale the loss); elsewhere float32.
    """
    import torch

    if wish != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[wish]
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return torch.bfloat16
        tensor_cores = torch.cuda.get_device_capability(device) >= _TENSOR_CORES
        return torch.float16 if half and tensor_cores else torch.float32
    return torch.bfloat16 if device.type == "cpu" and cpu_has_fast_bfloat16() else torch.float32


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory instead of giving it back: training frees and asks for the same blocks each step.

    Saves the page faults of every step (measured 1.07–1.18× on a CPU). Call before torch allocates. Returns whether
    the C library took it; other platforms are left alone.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        library = ctypes.CDLL(None)
        limit = 1 << 30
        return bool(library.mallopt(_M_MMAP_THRESHOLD, limit)) and bool(library.mallopt(_M_TRIM_THRESHOLD, limit))
    except (OSError, AttributeError):
        return False


def wait_without_spinning() -> None:
    """Let OpenMP's threads sleep while they wait for each other. Call before torch is loaded: it is read only then.

    By default they spin, which is a little faster on idle cores; but where another program wants a core, each barrier
    of the (hundreds of) parallel regions of a step costs a time slice. On two shared cores an update of the nano model
    took 230 ms with this and 1 to 4 s without. A person's own OMP_WAIT_POLICY is respected.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def memory_in_use(device: torch.device) -> int:
    """Bytes this process holds: on the GPU where it trains there, else resident in main memory."""
    import psutil

    if device.type == "cuda":
        import torch

        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def peak_memory(device: torch.device) -> int:
    """The most bytes this process has held so far, on the GPU where it trains there, else in main memory."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated(device))
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` tells of too little memory, in this machine or on its GPU, and of nothing else."""
    if isinstance(error, RuntimeError):
        return any(sign in str(error).lower() for sign in _ALLOCATION_FAILURES)
    return isinstance(error, MemoryError)
