"""Line breaking where Chinese needs it: between ideographs, and with the rules about punctuation (kinsoku).

Rich and Textual split a text into words at spaces, so that a Chinese paragraph is one word. Both call
`rich._wrap.words`, which `install` replaces. Rule set after JIS X 4051 / CLREQ: some characters may not begin a
line, some may not end one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

IDEOGRAPHIC = (
    "\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\u3400-\u4dbf\u4e00-\u9fff\ua000-\ua4cf\uac00-\ud7a3"
    "\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6\U00020000-\U0003fffd"
)
"""Ranges, for a character class, of characters that stand in a cell pair of their own."""

_NOT_FIRST = frozenset("，。、；：？！）》」』】〕〉…—·～％”’,.;:?!)]}%")
_NOT_LAST = frozenset("（《「『【〔〈“‘([{")
_PIECE = re.compile(rf"[{IDEOGRAPHIC}]|[^\s{IDEOGRAPHIC}]+|\s+")


def words(text: str) -> Iterator[tuple[int, int, str]]:
    """The pieces (start, end, piece with the space after it) between which `text` may be broken."""
    start = end = 0
    for match in _PIECE.finditer(text):
        piece = match[0]
        if start < end and not _belongs_to(text[start:end], piece):
            yield start, end, text[start:end]
            start = match.start()
        end = match.end()
    if start < end:
        yield start, end, text[start:end]


def _belongs_to(before: str, piece: str) -> bool:
    """Whether `piece` may not be parted from what stands before it."""
    if piece.isspace() or before.isspace():
        return True
    return not before[-1].isspace() and (piece[0] in _NOT_FIRST or before[-1] in _NOT_LAST)


def install() -> None:
    """Teach Rich and Textual these rules (both look the function up in `rich._wrap` at each call)."""
    import rich._wrap

    rich._wrap.words = words
