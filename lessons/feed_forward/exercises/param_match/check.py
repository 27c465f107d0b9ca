"""Cases, reference and mutants of the exercise on the width of a gated layer."""

import math
from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text

Width = Callable[[int, int, int], int]


def reference(hidden: int, ratio: int, multiple: int) -> int:
    return math.ceil(Fraction(2 * ratio * hidden, 3 * multiple)) * multiple


def four_h_with_three(hidden: int, ratio: int, _multiple: int) -> int:
    return ratio * hidden


def rounded_four_h(hidden: int, ratio: int, multiple: int) -> int:
    return -(-ratio * hidden // multiple) * multiple


def no_rounding(hidden: int, ratio: int, _multiple: int) -> int:
    return 2 * ratio * hidden // 3


def rounds_down(hidden: int, ratio: int, multiple: int) -> int:
    return 2 * ratio * hidden // 3 // multiple * multiple


def rounds_to_nearest(hidden: int, ratio: int, multiple: int) -> int:
    return round(2 * ratio * hidden / 3 / multiple) * multiple


def always_one_more(hidden: int, ratio: int, multiple: int) -> int:
    return (2 * ratio * hidden // 3 // multiple + 1) * multiple


def ignores_ratio(hidden: int, _ratio: int, multiple: int) -> int:
    return -(-8 * hidden // (3 * multiple)) * multiple


def half(hidden: int, ratio: int, multiple: int) -> int:
    return -(-ratio * hidden // (2 * multiple)) * multiple


def upside_down(hidden: int, ratio: int, multiple: int) -> int:
    return -(-3 * ratio * hidden // (2 * multiple)) * multiple


def a_third(hidden: int, ratio: int, multiple: int) -> int:
    return -(-ratio * hidden // (3 * multiple)) * multiple


def blocks_only(hidden: int, ratio: int, multiple: int) -> int:
    return -(-2 * ratio * hidden // (3 * multiple))


def run(part: Width, case: Case) -> Tensor:
    """The widths for every hidden size of the case: [sizes]."""
    ratio, multiple = case.settings["ratio"], case.settings["multiple"]
    return torch.tensor([part(int(hidden), ratio, multiple) for hidden in case.inputs["hidden"]])


def cases(generator: torch.Generator) -> list[Case]:
    """The sizes of released models, random ones, another ratio, and sizes whose exact width is a multiple already."""

    def draw(count: int, step: int) -> Tensor:
        return step * torch.randint(3, 60, (count,), generator=generator)  # [count]

    def case(name: Text, hidden: Tensor, ratio: int, multiple: int) -> Case:
        return Case(name, {"hidden": hidden}, {"ratio": ratio, "multiple": multiple}, relative=0.0, absolute=0.0)

    return [
        case(Text("512 and 768, in steps of 64", "512 和 768，按 64 取整"), torch.tensor([512, 768]), 4, 64),
        case(Text("4096, in steps of 256", "4096，按 256 取整"), torch.tensor([4096]), 4, 256),
        case(Text("random widths", "随机的宽度"), torch.cat((draw(6, 8), torch.tensor([8, 16, 40]))), 4, 48),
        case(Text("a ratio of 6", "比例为 6"), torch.cat((draw(4, 8), torch.tensor([24]))), 6, 16),
        case(Text("already a multiple", "本来就是整倍数"), 48 * torch.tensor([1, 2, 5]), 4, 64),
    ]


def close_to_the_plain_layer(part: Width, generator: torch.Generator) -> bool:
    """At least as many parameters as the plain layer, and one multiple narrower it would have fewer."""
    for hidden in (8 * torch.randint(1, 300, (50,), generator=generator)).tolist():
        width, plain = part(hidden, 4, 64), 2 * 4 * hidden * hidden
        if not 3 * hidden * (width - 64) < plain <= 3 * hidden * width:
            return False
    return True


def is_whole(part: Width, _generator: torch.Generator) -> bool:
    """The width is an int: nn.Linear takes nothing else."""
    return isinstance(part(512, 4, 64), int)


CHECK = Check(
    part="gated_width",
    parameters=("hidden", "ratio", "multiple"),
    axes=("sizes",),
    cases=cases,
    run=run,
    reference=reference,
    mutants={
        mutant.__name__: mutant
        for mutant in (
            four_h_with_three,
            rounded_four_h,
            no_rounding,
            rounds_down,
            rounds_to_nearest,
            always_one_more,
            ignores_ratio,
            half,
            upside_down,
            a_third,
            blocks_only,
        )
    },
    invariants=(
        Invariant(
            Text(
                "the gated layer has fewer parameters than the plain one, or could be narrower by one multiple",
                "门控层的参数比普通层少，或者还能再窄一个单位",
            ),
            close_to_the_plain_layer,
        ),
        Invariant(Text("the width is not an int", "宽度不是 int"), is_whole),
    ),
)
