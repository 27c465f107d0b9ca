"""The decoding step, compiled with the system's C compiler at first use, with its functions declared. No torch."""

from __future__ import annotations

import ctypes
import functools

from minimind import paths
from minimind.native import NativeLibrary, NativeUnavailable, cannot_load

__all__ = ["STEP", "NativeUnavailable", "load"]


STEP = NativeLibrary("step", paths.kernel_sources(), ("step.c",), ("-pthread",))


@functools.cache
def load() -> ctypes.CDLL:
    """The library, built if need be. Raises NativeUnavailable (each time anew: a compiler may be installed meanwhile)."""
    library = STEP.load()
    try:
        library.team_new.restype = ctypes.c_void_p
        library.team_new.argtypes = [ctypes.c_int, ctypes.c_int]
        library.team_free.restype = None
        library.team_free.argtypes = [ctypes.c_void_p]
        library.workspace_size.restype = ctypes.c_int64
        library.workspace_size.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64]
        library.decode_step.restype = None
        library.decode_step.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int, ctypes.c_int64] + [ctypes.c_void_p] * 2
    except AttributeError as error:
        raise cannot_load(error) from None
    return library
