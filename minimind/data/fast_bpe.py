"""The tokenizer's own encoding in compiled C: the same ids, many times as fast. Used where much text is to be encoded.

Only for tokenizers of the one scheme that MiniMind has (byte-level BPE, GPT-2's pattern, no normaliser); any other, and
a machine without a C compiler, goes on with the tokenizers library, which also stays the judge: tests compare the two.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tokenizers

from minimind import paths
from minimind.events import Text
from minimind.native import NativeLibrary, NativeUnavailable

_LIBRARY = NativeLibrary("bpe", Path(__file__).parent, ("bpe.c",))
_MOST_MERGES = (1 << 20) - 1
_CODE_POINTS = 0x110000
_ASSIGNED = (range(0xD800), range(0xE000, 0x40000), range(0xE0000, 0xE1000))
"""Where Unicode has or plans characters; all others are neither letter, number nor white space (a test looks)."""
_BLOCK = 1 << 14
_OTHER, _LETTER, _NUMBER, _SPACE = range(4)
_OTHER_SCHEME = NativeUnavailable(
    Text("another scheme than byte-level BPE with GPT-2's pattern", "不是采用 GPT-2 切分规则的字节级 BPE")
)

Ids = npt.NDArray[np.uint32]
Lengths = npt.NDArray[np.int64]


def is_ready() -> bool:
    """Whether using it costs no compilation (a second or two)."""
    return _LIBRARY.is_built()


class FastBPE:
    """An encoder for one tokenizer. May be shared by threads; one encodes at a time."""

    def __init__(self, definition: Mapping[str, Any], byte_values: Mapping[str, int]) -> None:
        """`definition` is a tokenizer.json; `byte_values` says which byte each character of its alphabet stands for.

        Raises NativeUnavailable where the scheme is another one or nothing can be compiled.
        """
        if not _has_the_scheme(definition):
            raise _OTHER_SCHEME
        vocabulary = definition["model"]["vocab"]
        characters = {byte: character for character, byte in byte_values.items()}
        library = _LIBRARY.load()
        library.encoder_new.restype = ctypes.c_void_p
        library.encoder_new.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64]
        library.encoder_free.argtypes = [ctypes.c_void_p]
        library.encoder_encode.restype = ctypes.c_int64
        library.encoder_encode.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64] * 3 + [ctypes.c_void_p] * 2
        try:
            self._classes = _known_classes()
            self._bytes = np.array([vocabulary[characters[byte]] for byte in range(256)], dtype=np.uint32)
            merges = [
                [vocabulary[left], vocabulary[right], vocabulary[left + right]]
                for left, right in map(_pair, definition["model"]["merges"])
            ]
        except KeyError:
            raise _OTHER_SCHEME from None
        if len(merges) >= _MOST_MERGES:
            raise _OTHER_SCHEME
        triples = np.array(merges, dtype=np.uint32).reshape(-1, 3)
        self._library = library
        self._encoder = library.encoder_new(
            self._classes.ctypes.data, self._bytes.ctypes.data, triples.ctypes.data, len(triples)
        )
        if not self._encoder:
            raise MemoryError
        self._lock = threading.Lock()

    def __del__(self) -> None:
        if getattr(self, "_encoder", None):
            self._library.encoder_free(self._encoder)

    def encode(self, texts: Sequence[str], *, first: int = -1, last: int = -1) -> tuple[Ids, Lengths]:
        """The ids of all texts, one after another, and how many each has, with `first` and `last` around each.

        A text with a piece of more than 4,096 bytes has the length -1 and no ids: such a piece needs another algorithm.
        """
        encoded = [text.encode() for text in texts]
        whole = b"".join(encoded)
        ends = np.cumsum([len(text) for text in encoded], dtype=np.int64)
        ids = np.empty(len(whole) + 2 * len(texts), dtype=np.uint32)
        lengths = np.empty(len(texts), dtype=np.int64)
        with self._lock:
            written = self._library.encoder_encode(
                self._encoder, whole, ends.ctypes.data, len(texts), first, last, ids.ctypes.data, lengths.ctypes.data
            )
        return ids[:written], lengths


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """A merge as files write it: a list of two, or (older) both in one string."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def _has_the_scheme(definition: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json is byte-level BPE with GPT-2's pattern and nothing that changes a text or a merge."""
    model, before = definition["model"], definition["pre_tokenizer"] or {}
    unset = ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "ignore_merges")
    return (
        model["type"] == "BPE"
        and not any(model.get(name) for name in unset)
        and definition["normalizer"] is None
        and definition.get("truncation") is None
        and definition.get("padding") is None
        and before.get("type") == "ByteLevel"
        and before.get("use_regex", True)
        and not before.get("add_prefix_space")
    )


def _known_classes() -> npt.NDArray[np.uint8]:
    """The table of `_character_classes`, kept on disk for each version of the library (it takes 0.2 s to make)."""
    place = paths.kernels() / f"characters-{tokenizers.__version__}.npy"
    try:
        kept = np.load(place, allow_pickle=False)
        if kept.shape == (_CODE_POINTS,) and kept.dtype == np.uint8 and kept.max() <= _SPACE:
            return np.ascontiguousarray(kept)
    except (OSError, ValueError, EOFError):
        pass
    classes = _character_classes(tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str)
    with contextlib.suppress(OSError):  # it is only made again
        aside = place.with_name(f".{place.name}.{os.getpid()}")
        place.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            np.save(file, classes, allow_pickle=False)
        aside.replace(place)
    return classes


def _character_classes(cut: Callable[[str], list[tuple[str, tuple[int, int]]]]) -> npt.NDArray[np.uint8]:
    """What the pre-tokeniser takes each code point for, [0x110000]. `cut` gives the pieces of a text and where they lie.

    Cutting the characters in order gives runs of one kind each; the first character of a run tells the kind of all.
    """
    classes = np.zeros(_CODE_POINTS, dtype=np.uint8)
    for block in _ASSIGNED:
        for first in range(block.start, block.stop, _BLOCK):
            points = range(first, min(first + _BLOCK, block.stop))
            for _, (start, end) in cut("".join(map(chr, points))):
                start += points[start] == ord(" ") and end > start + 1  # a space goes with what follows it
                neighbours = zip((_LETTER, _NUMBER, _OTHER), "a1.", strict=True)
                kind = next((kind for kind, known in neighbours if len(cut(known + chr(points[start]))) == 1), _SPACE)
                classes[points[start] : points[end - 1] + 1] = kind
    classes[ord(" ")] = _SPACE
    return classes
