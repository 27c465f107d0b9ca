"""How wide a gated layer may be: as many parameters as a plain one, in a width that hardware likes."""


def gated_width(hidden: int, ratio: int, multiple: int) -> int:
    """The width of a gated feed-forward with about as many parameters as a plain one of ratio · hidden.

    It is rounded up to a multiple of `multiple`.
    """
    # hole: return ratio * hidden
    # 1. a plain layer has two matrices, a gated one three: what is left of ratio · hidden?
    # 2. round up to the next multiple, and stay where it is one already
    exact = 2 * ratio * hidden / 3
    blocks = -(-exact // multiple)
    return int(blocks) * multiple
    # end hole
