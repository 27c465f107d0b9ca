"""When Python looks for garbage: what is loaded for good is not looked through at every collection.

A full collection with torch loaded takes 0.1 to 0.2 s, in the middle of whatever page is being opened.
"""

from __future__ import annotations

import gc
import sys

_settled: set[str] = set()


def settle() -> None:
    """Collect again (the command line had switched it off), but never look at what is there by now."""
    gc.freeze()
    gc.enable()


def settle_with_torch() -> None:
    """The same once more when torch has been loaded; afterwards nothing."""
    if "torch" in sys.modules and not _settled:
        _settled.add("torch")
        gc.freeze()
