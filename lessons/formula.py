"""Formulas as text: two-dimensional where they stand alone, one line where they stand in a sentence.

TeXicode does the drawing. What it does not know, or draws wrongly, is shown as its TeX source: a reader can still
read that, and a wrong formula would mislead.
"""

from __future__ import annotations

import re
from functools import lru_cache

_FRACTION = re.compile(r"\\[dt]?frac\s*\{")
_FUNCTION = re.compile(r"\\(ln|log|exp|sin|cos|tan|max|min)(?![A-Za-z])\s*(?=[A-Za-z0-9\\])(?!\\[,;])")
_SIGN = re.compile(r"(?<=\S) *(=|\\(?:approx|le|ge|to|cdot|odot)(?![A-Za-z])|(?<= )[-+](?= )) *(?=\S)")
_LEFTOVERS = {r"\lVert": r"\|", r"\rVert": r"\|", r"\operatorname": r"\mathrm", r"\left": "", r"\right": ""}


@lru_cache(512)
def block_formula(tex: str) -> tuple[str, ...]:
    """The rows of a formula that stands alone."""
    return _rows(tex) or tuple(line.strip() for line in tex.strip().splitlines())


@lru_cache(512)
def inline_formula(tex: str) -> str:
    """A formula on one line; a fraction becomes a/b."""
    for candidate in (tex, _linear(tex)):
        rows = _rows(candidate)
        if len(rows) == 1:
            return rows[0].strip()
    return tex.strip()


def _rows(tex: str) -> tuple[str, ...]:
    """What TeXicode draws, all rows of one width; nothing where it cannot be trusted."""
    source = _spaced(tex.strip())
    for unknown, known in _LEFTOVERS.items():
        source = re.sub(re.escape(unknown) + r"(?![A-Za-z])", known.replace("\\", r"\\"), source)
    try:
        from texicode.pipeline import init_arts, render_tex_rows

        init_arts({"fonts": "normal"})
        rows = [str(row) for row in render_tex_rows(source, False)]
    except Exception:  # a parser of someone else's: any failure means "show the source"
        return ()
    if not rows or rows[0].startswith("TeXicode:") or ("?" not in tex and any("?" in row for row in rows)):
        return ()
    width = max(len(row) for row in rows)
    return tuple(row.ljust(width) for row in rows)


def _spaced(tex: str) -> str:
    """`tex` with the thin spaces that TeXicode leaves out: after a function's name, around signs outside braces."""
    pieces, depth, start = [], 0, 0
    for index, character in enumerate([*tex, ""]):
        deeper = depth + (character == "{") - (character == "}")
        if character == "" or (depth == 0) != (deeper == 0):
            piece = tex[start:index]
            pieces.append(_SIGN.sub(r"\\,\1\\,", piece).replace(", ", r",\,") if depth == 0 else piece)
            start = index
        depth = deeper
    return _FUNCTION.sub(r"\\\1\\,", "".join(pieces))


def _linear(tex: str) -> str:
    r"""`tex` with each ``\frac{a}{b}`` written as ``(a)/(b)``, without brackets around a single symbol."""
    match = _FRACTION.search(tex)
    if match is None:
        return tex
    top_end = _closing(tex, match.end())
    bottom_start = tex.find("{", top_end)
    if top_end < 0 or bottom_start < 0:
        return tex
    bottom_end = _closing(tex, bottom_start + 1)
    if bottom_end < 0:
        return tex
    top, bottom = tex[match.end() : top_end], tex[bottom_start + 1 : bottom_end]
    return _linear(f"{tex[: match.start()]}{_bracket(top)}/{_bracket(bottom)}{tex[bottom_end + 1 :]}")


def _bracket(tex: str) -> str:
    return tex if re.fullmatch(r"\\?\w+", tex.strip()) else f"({tex})"


def _closing(tex: str, start: int) -> int:
    """Where the brace that was opened before `start` closes, or -1."""
    depth = 1
    for index in range(start, len(tex)):
        depth += (tex[index] == "{") - (tex[index] == "}")
        if depth == 0:
            return index
    return -1
