"""Cases, reference and mutants of the exercise on sinusoidal positions."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text

Part = Callable[[int, int, float], Tensor]


def textbook(time: int, size: int, base: float) -> Tensor:
    """The paper's two lines, number by number."""
    rows = [
        [
            (math.cos if column % 2 else math.sin)(position / base ** ((column - column % 2) / size))
            for column in range(size)
        ]
        for position in range(time)
    ]
    return torch.tensor(rows)  # [time, size]


def interleaved(angles: Tensor) -> Tensor:
    """Sine and cosine of `angles` [time, size/2] by turns."""
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)  # [time, size]


def angles_of(time: int, frequencies: Tensor, first: int = 0) -> Tensor:
    """Position times frequency."""
    return torch.arange(first, first + time).float()[:, None] * frequencies  # [time, frequencies]


def exponents(size: int) -> Tensor:
    """2i/size of each pair."""
    return torch.arange(0, size, 2).float() / size  # [size/2]


def unfinished(time: int, size: int, _base: float) -> Tensor:
    return torch.zeros(time, size)  # [time, size]


def forgot_base(time: int, size: int, _base: float) -> Tensor:
    return interleaved(angles_of(time, (-exponents(size)).exp()))  # [time, size]


def wrong_logarithm(time: int, size: int, base: float) -> Tensor:
    return interleaved(angles_of(time, (-exponents(size) * math.log10(base)).exp()))  # [time, size]


def grows(time: int, size: int, base: float) -> Tensor:
    return interleaved(angles_of(time, base ** exponents(size)))  # [time, size]


def half_the_exponent(time: int, size: int, base: float) -> Tensor:
    return interleaved(angles_of(time, base ** (-exponents(size) / 2)))  # [time, size]


def in_halves(time: int, size: int, base: float) -> Tensor:
    angles = angles_of(time, base ** -exponents(size))  # [time, size/2]
    return torch.cat((angles.sin(), angles.cos()), -1)  # [time, size]


def cosine_first(time: int, size: int, base: float) -> Tensor:
    angles = angles_of(time, base ** -exponents(size))  # [time, size/2]
    return torch.stack((angles.cos(), angles.sin()), -1).flatten(1)  # [time, size]


def only_sines(time: int, size: int, base: float) -> Tensor:
    return angles_of(time, base ** -(torch.arange(size).float() / size)).sin()  # [time, size]


def own_frequency(time: int, size: int, base: float) -> Tensor:
    angles = angles_of(time, base ** -(torch.arange(size).float() / size))  # [time, size]
    is_odd = torch.arange(size) % 2 == 1  # [size]
    return torch.where(is_odd, angles.cos(), angles.sin())  # [time, size]


def positions_from_one(time: int, size: int, base: float) -> Tensor:
    return interleaved(angles_of(time, base ** -exponents(size), first=1))  # [time, size]


def transposed(time: int, size: int, base: float) -> Tensor:
    return interleaved(angles_of(time, base ** -exponents(size))).T  # [size, time]


def run(part: Part, case: Case) -> Tensor:
    """Call the learner's function."""
    return part(case.settings["time"], case.settings["size"], case.settings["base"])


def cases(generator: torch.Generator) -> list[Case]:
    """A small table, a longer one, and one of random size and base."""
    base = float(torch.randint(50, 5000, (), generator=generator))
    size = 2 * int(torch.randint(4, 20, (), generator=generator))
    return [
        Case(
            Text(f"time = {t}, size = {s}, base = {b:g}", f"time = {t}，size = {s}，base = {b:g}"),
            {},
            {"time": t, "size": s, "base": b},
            absolute=1e-4,
        )
        for t, s, b in ((5, 8, 10_000.0), (100, 32, 10_000.0), (41, size, base))
    ]


def moves_linearly(part: Part, generator: torch.Generator) -> bool:
    """The row k positions on is a fixed rotation of the row: the same for every row."""
    shift = int(torch.randint(1, 9, (), generator=generator))
    rows = part(30, 16, 10_000.0)  # [30, 16]
    sines, cosines = rows[:, 0::2], rows[:, 1::2]  # 2 × [30, 8]
    angles = shift * 10_000.0 ** -exponents(16)  # [8]
    expected = sines * angles.cos() + cosines * angles.sin()  # [30, 8]
    return bool(torch.allclose(expected[:-shift], sines[shift:], atol=1e-4))


CHECK = Check(
    part="sinusoidal_positions",
    parameters=("time", "size", "base"),
    axes=("time", "size"),
    cases=cases,
    run=run,
    reference=textbook,
    mutants={
        part.__name__: part
        for part in (
            unfinished,
            forgot_base,
            wrong_logarithm,
            grows,
            half_the_exponent,
            in_halves,
            cosine_first,
            only_sines,
            own_frequency,
            positions_from_one,
            transposed,
        )
    },
    invariants=(
        Invariant(
            Text(
                "moving by k positions is not the same rotation for every row",
                "平移 k 个位置，不是对每一行做同一个旋转",
            ),
            moves_linearly,
        ),
    ),
)
