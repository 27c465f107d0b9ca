"""Plain text in columns, for terminals in which a Chinese character takes two cells."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

_GAP = "  "


def cell_width(text: str) -> int:
    """The number of terminal cells that `text` takes."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def in_columns(rows: Iterable[Sequence[str]]) -> str:
    """`rows` as lines whose cells stand below each other, each column as wide as its widest cell."""
    lines = list(rows)
    count = max((len(row) for row in lines), default=0)
    widths = [max(cell_width(row[index]) for row in lines if index < len(row)) for index in range(count)]
    return "\n".join(
        _GAP.join(cell + " " * (width - cell_width(cell)) for cell, width in zip(row, widths, strict=False)).rstrip()
        for row in lines
    )
