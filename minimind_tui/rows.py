"""Text in terminal cells: measuring, cutting and padding where a Chinese character takes two."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

width_of = cell_len
_LEAST_COLUMN = 4


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


def share_widths(wanted: Sequence[int], room: int) -> list[int]:
    """Column widths that fit `room`: narrow columns get what they want, wide ones share the rest."""
    widths = [max(1, width) for width in wanted]
    while sum(widths) > room:
        widest = max(widths)
        if widest <= _LEAST_COLUMN:
            break
        widths[widths.index(widest)] -= 1
    return widths
