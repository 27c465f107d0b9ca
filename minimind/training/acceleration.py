"""Where, in which precision and with what help a run computes."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Text
from minimind.hardware import choose_device, choose_dtype
from minimind.model.transformer import MiniMind
from minimind.native import NativeUnavailable
from minimind.training.attention import install_fast_attention
from minimind.training.gradient_checkpointing import install_gradient_checkpointing
from minimind.training.kernels.library import KERNEL_TYPES, Kernels, kernels_are_built, load_kernels
from minimind.training.kernels.modules import PARTS, install_kernels

Tell = Callable[[Text], None]

COMPILE_FROM = 1000
"""Steps from which torch.compile earns on a GPU what it costs at the start (a minute or two)."""
_BUILDING = Text(
    "compiling the kernels for this processor (once, a few seconds)", "正在为本机处理器编译内核（仅此一次，需几秒）"
)
COMPILING = Text("torch.compile is at work: the first step takes a minute", "torch.compile 正在编译：第一步约需一分钟")


@dataclass(frozen=True, slots=True)
class Precision:
    """Where and in what the gradients are computed, and what helps.

    kernels        our own, compiled for this processor; None where PyTorch does all the work
    parts          of the step that they do (benchmarks leave some out)
    recompute      whether blocks keep only their input for the backward pass (gradient checkpointing)
    compile_from   the remaining steps from which the model is given to torch.compile; None: never
    """

    device: torch.device
    dtype: torch.dtype
    kernels: Kernels | None = None
    parts: frozenset[str] = PARTS
    compile_from: int | None = None
    recompute: bool = False


def choose_precision(config: TrainConfig, tell: Tell | None = None) -> tuple[Precision, Text | None]:
    """What `config` asks for on this machine, and a note where it is slower than it could be.

    ``compile = "auto"`` means our kernels on a CPU, torch.compile for long runs on a GPU. `tell` hears that kernels are
    being compiled. Raises UserError for a device that is not there and for kernels that were asked for and cannot be had.
    """
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, device, half=True)
    precision = Precision(device, dtype, recompute=config.gradient_checkpointing)
    wish = "off" if config.sharding == "fsdp" else config.compile  # the compiled forms take whole weights
    if wish == "auto":
        wish = {"cpu": "kernels", "cuda": "torch"}.get(device.type, "off")
    if wish == "torch":
        return replace(precision, compile_from=0 if config.compile == "torch" else COMPILE_FROM), None
    if wish == "off":
        return precision, None
    try:
        if device.type != "cpu":
            raise NativeUnavailable(Text("they are for the CPU", "它们只用于 CPU"))
        if dtype not in KERNEL_TYPES:
            raise NativeUnavailable(Text("they do not compute in float16", "它们不支持 float16"))
        if tell is not None and not kernels_are_built(dtype):
            tell(_BUILDING)
        return replace(precision, kernels=load_kernels(dtype)), None
    except NativeUnavailable as error:
        if config.compile == "kernels":
            raise UserError(
                f"compile = 'kernels': {error.text.en}; or use compile = 'off'",
                f"compile = 'kernels'：{error.text.zh}；或改用 compile = 'off'",
            ) from None
        note = Text(
            f"training goes without compiled kernels and is slower ({error.text.en})",
            f"未使用编译的内核，训练会慢一些（{error.text.zh}）",
        )
        return precision, note


def accelerate(working: MiniMind, precision: Precision, *, shared: MiniMind) -> MiniMind:
    """The model that computes as fast as `precision` allows: `working` changed in place, or a twin of it.

    `shared`, the model that is saved and that writes samples, stays as it is: where `working` is that very one, its
    twin has the same parameters in other modules.
    """
    if precision.kernels is not None:
        if working is shared:
            working = copy.deepcopy(working, {id(parameter): parameter for parameter in working.parameters()})
        install_kernels(working, precision.kernels, precision.parts)
    if precision.kernels is None or "attention" not in precision.parts:
        install_fast_attention(working, precision.dtype, precision.device)
    if precision.recompute:
        install_gradient_checkpointing(working)
    return working


def use_deterministic_algorithms(wish: bool) -> None:
    """Let torch choose only algorithms that give the same bits each time, or any. Call before a GPU computes.

    An operation that has no such algorithm on the device raises RuntimeError when it runs.
    """
    if wish:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS adds up in any order
        torch.backends.cudnn.benchmark = False
    # Filling new memory helps in the search for faults, and is slow.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(wish)


def compile_model(model: MiniMind) -> None:
    """Give the blocks of `model` to torch.compile, which works when they first run; where it fails they run as before.

    All blocks share one compiled program, so that this takes as long for sixteen as for one.
    """
    import torch._dynamo

    torch._dynamo.config.suppress_errors = True
    for block in model.model.layers:
        block.compile()
