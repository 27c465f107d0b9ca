"""Diagrams for terminals that can draw ASCII only: lines, corners, arrows and blocks by what comes nearest."""

from __future__ import annotations

_NEAREST = (
    ("─━═╌╍┄┅┈┉╴╶╸╺―", "-"),
    ("│┃║╎╏┆┇┊┋╵╷╹╻", "|"),
    ("→▶▸►⟶⇒", ">"),
    ("←◀◂◄⟵⇐", "<"),
    ("↑▲▴⇑", "^"),
    ("↓▼▾⇓", "v"),
    ("█▓▒▉▊▋▌▍▎▐▀▄■▇▆▅", "#"),
    ("░▏▁▂▃□", "."),
    ("●○◉◎•◆◇⊙⊚", "o"),
    ("⊕⊞", "+"),
    ("⊗×✕✖✗", "x"),
    ("✓✔", "+"),
    ("·∙⋅…⋯", "."),
    ("≈∼", "~"),
    ("−–—", "-"),
    ("“”", '"'),
    ("‘’", "'"),
)
_TABLE = {ord(character): plain for characters, plain in _NEAREST for character in characters}
_BOX = range(0x2500, 0x2580)
_SHAPES = (range(0x2190, 0x2200), range(0x2580, 0x2600))


def to_ascii(text: str) -> str:
    """`text` with each line-drawing character replaced by one of the same width; letters of any script stay."""
    return "".join(_plain(character) for character in text)


def _plain(character: str) -> str:
    code = ord(character)
    if code in _TABLE:
        return _TABLE[code]
    if code in _BOX:
        return "+"
    return "*" if any(code in shapes for shapes in _SHAPES) else character
