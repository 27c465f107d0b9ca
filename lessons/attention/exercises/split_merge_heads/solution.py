"""Cut the hidden axis into heads and put it back together."""

from torch import Tensor


class Heads:
    def __init__(self, heads: int) -> None:
        self.heads = heads

    def split(self, x: Tensor) -> Tensor:
        """[batch, time, hidden] to [batch, heads, time, head].

        Head h gets the h-th slice of hidden.
        """
        # hole: return x
        # 1. cut the last axis: [batch, time, heads, head]
        # 2. bring heads before time
        batch, time, hidden = x.shape
        cut = x.view(batch, time, self.heads, hidden // self.heads)
        return cut.transpose(1, 2)  # [batch, heads, time, head]
        # end hole

    def merge(self, x: Tensor) -> Tensor:
        """[batch, heads, time, head] to [batch, time, hidden]."""
        # hole: return x
        # 1. time before heads again
        # 2. the last two axes become one
        batch, _, time, _ = x.shape
        return x.transpose(1, 2).reshape(batch, time, -1)
        # end hole
