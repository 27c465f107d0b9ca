"""Text in terminal cells: measuring, cutting and padding where a Chinese character takes two."""

from __future__ import annotations

from rich.cells import cell_len, set_cell_size

width_of = cell_len


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells, with an ellipsis where something was left out."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…" if width > 0 else ""


def fit(text: str, width: int) -> str:
    """`text` in exactly `width` cells: cut with an ellipsis or padded with spaces."""
    return set_cell_size(cut(text, width), max(0, width))


def fit_right(text: str, width: int) -> str:
    """Like `fit`, with the padding on the left."""
    short = cut(text, width)
    return " " * (width - cell_len(short)) + short
