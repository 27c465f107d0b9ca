"""The compiled kernels of a training step, callable with tensors."""

from __future__ import annotations

import ctypes
import functools

import torch
from torch import Tensor

from minimind import paths
from minimind.hardware import cpu_flags, cpu_is_amd
from minimind.native import NativeLibrary, cannot_load

_FLAGS = ("-fopenmp", "-fno-math-errno", "-fno-trapping-math")
KERNEL_TYPES = {torch.bfloat16: ("-DBFLOAT16",), torch.float32: ()}
"""What the kernels compute in, with the macros of the C file."""

_SIGNATURES = {
    "rms_norm": "pppnnf",
    "rms_norm_gradient": "pppppnnf",
    "rotate": "pppppnnnf",
    "rotate_gradient": "pppppppnnnf",
    "swiglu": "pppn",
    "swiglu_gradient": "pppppn",
    "cross_entropy": "pppnni",
    "attend": "ppppppnnnnn",
    "attend_gradient": "ppppppppppnnnnn",
}
"""The arguments of each function in C, before the number of threads: pointers, int64 numbers, floats, ints."""
_TYPES = {"p": ctypes.c_void_p, "n": ctypes.c_int64, "f": ctypes.c_float, "i": ctypes.c_int}
Argument = Tensor | float | None


class Kernels:
    """The functions of one compiled library, for tensors of one dtype in main memory."""

    def __init__(self, library: ctypes.CDLL, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.onednn = dtype == torch.float32 and _onednn_is_faster()
        self._functions = {}
        for name, signature in _SIGNATURES.items():
            function = getattr(library, name)
            function.argtypes = [*(_TYPES[letter] for letter in signature), ctypes.c_int]
            function.restype = ctypes.c_int
            self._functions[name] = function

    def __call__(self, name: str, *arguments: Argument) -> None:
        """Call a C function with tensors (contiguous, float32 or of the dtype, as it declares), numbers, None for null.

        Raises MemoryError where it says so.
        """
        plain = [argument.data_ptr() if isinstance(argument, Tensor) else argument for argument in arguments]
        if self._functions[name](*plain, torch.get_num_threads()):
            raise MemoryError(f"not enough memory in {name}")

    def __deepcopy__(self, _memo: dict[int, object]) -> Kernels:
        return self

    def serve(self, *tensors: Tensor) -> bool:
        """Whether tensors can be given to the kernels: in main memory and of their dtype."""
        return all(tensor.dtype == self.dtype and tensor.device.type == "cpu" for tensor in tensors)

    def multiply(self, left: Tensor, right: Tensor) -> Tensor:
        """left · rightᵀ of [rows, inner] and [columns, inner], by the library that is the faster one here."""
        if self.onednn:
            product: Tensor = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")  # [rows, columns]
            return product
        return left @ right.T  # [rows, columns]


def _onednn_is_faster() -> bool:
    """Whether float32 products should be oneDNN's: torch has them made by MKL, which uses AVX2 only on AMD processors.

    Measured 1.5–2.3 times as fast on a Zen 5.
    """
    there = torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    return there and hasattr(torch.ops.mkldnn, "_linear_pointwise") and cpu_is_amd() and "avx512f" in cpu_flags()


@functools.cache
def load_kernels(dtype: torch.dtype) -> Kernels:
    """The kernels for tensors of `dtype`, compiled now if they were not before (a second or two).

    Raises NativeUnavailable where they cannot be had.
    """
    try:
        return Kernels(_library(dtype).load(), dtype)
    except AttributeError as error:
        raise cannot_load(error) from None


def kernels_are_built(dtype: torch.dtype) -> bool:
    """Whether `load_kernels` returns at once."""
    return _library(dtype).is_built()


def _library(dtype: torch.dtype) -> NativeLibrary:
    # GCC halves the vectors of processors that it believes slow down on wide ones.
    wide = ("-mprefer-vector-width=512",) if "avx512f" in cpu_flags() else ()
    name = str(dtype).removeprefix("torch.")
    files = ("pointwise.c", "attention.c")
    return NativeLibrary(
        f"training-{name}", paths.training_kernel_sources(), files, (*_FLAGS, *wide, *KERNEL_TYPES[dtype])
    )
