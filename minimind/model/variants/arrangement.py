"""How the parts of a block can be put together, and which combinations make sense. No torch: screens use it too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NoReturn

from minimind.errors import UserError

NormPlace = Literal["pre", "post", "sandwich"]
Residual = Literal["both", "none", "one"]
Order = Literal["attention_first", "feed_forward_first", "parallel", "sandwich"]


def refuse(en: str, zh: str) -> NoReturn:
    """Raise a UserError."""
    raise UserError(en, zh)


@dataclass(frozen=True)
class Arrangement:
    """How the parts of a block are put together. Raises UserError for a combination that makes no sense.

    A skip adds a sublayer's input to its output; `around` adds the block's input to the output of both.
    """

    place: NormPlace = "pre"
    order: Order = "attention_first"
    attention_skip: bool = True
    feed_forward_skip: bool = True
    around: bool = False

    def __post_init__(self) -> None:
        if self.order == "parallel":
            if self.place == "post":
                refuse("a parallel block adds once: two norms after it", "并行的块只相加一次：其后无处放两个归一化")
            if self.around or self.attention_skip != self.feed_forward_skip:
                refuse(
                    "a parallel block has one residual connection: keep it (both) or take it away (none)",
                    "并行的块只有一条残差连接：要么保留（both），要么去掉（none）",
                )
        if self.around and self.order == "sandwich":
            refuse(
                "in a sandwich of sublayers no block holds both: there is nothing to lead one residual around",
                "子层夹心排列中没有同时含两个子层的块：一条残差无处可绕",
            )
        if self.around and self.place == "post":
            refuse(
                "post-norm follows an addition, and one residual leaves one for two norms: put them first",
                "post-norm 跟在相加之后，而单条残差只有一次相加、却有两个归一化：请改用 pre",
            )


def ends_of_sandwich(layers: int) -> int:
    """How many attentions come first, and how many feed-forwards last: the paper's best of 6 in 16 layers, at least 1."""
    return max(1, 3 * layers // 8)
