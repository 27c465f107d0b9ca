"""Cases, reference and mutants of the exercise on rotary frequencies."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text
from minimind.model.transformer import MiniMind, apply_rotary, rotary_table
from minimind.model.variants.rotation import set_rotation

Part = Callable[[int, float], Tensor]


def textbook(head_size: int, base: float) -> Tensor:
    """Each number of the formula by itself, in double precision."""
    return torch.tensor([math.pow(base, -2 * pair / head_size) for pair in range(head_size // 2)])  # [head/2]


def pairs(head_size: int) -> Tensor:
    """The index of each pair."""
    return torch.arange(head_size // 2).float()  # [head/2]


def unfinished(head_size: int, _base: float) -> Tensor:
    return torch.zeros(head_size // 2)  # [head/2]


def half_the_exponent(head_size: int, base: float) -> Tensor:
    return base ** -(pairs(head_size) / head_size)  # [head/2]


def grows(head_size: int, base: float) -> Tensor:
    return base ** (2 * pairs(head_size) / head_size)  # [head/2]


def whole_number_division(head_size: int, base: float) -> Tensor:
    return base ** -(torch.arange(0, head_size, 2) // head_size).float()  # [head/2]


def ends_at_one_over_base(head_size: int, base: float) -> Tensor:
    return base ** -(2 * pairs(head_size) / (head_size - 2))  # [head/2]


def counts_from_one(head_size: int, base: float) -> Tensor:
    return base ** -(2 * (pairs(head_size) + 1) / head_size)  # [head/2]


def periods(head_size: int, base: float) -> Tensor:
    return 2 * math.pi / textbook(head_size, base)  # [head/2]


def in_turns(head_size: int, base: float) -> Tensor:
    return textbook(head_size, base) / (2 * math.pi)  # [head/2]


def evenly_spaced(head_size: int, base: float) -> Tensor:
    return torch.linspace(1.0, 1 / base, head_size // 2)  # [head/2]


def one_per_component(head_size: int, base: float) -> Tensor:
    return base ** -(torch.arange(head_size).float() / head_size)  # [head]


def run(part: Part, case: Case) -> Tensor:
    """Call the learner's function."""
    return part(case.settings["head_size"], case.settings["base"])


def cases(generator: torch.Generator) -> list[Case]:
    """A small head, the heads of the released models, and one of a random size and base."""
    base = float(torch.randint(50, 5000, (), generator=generator))
    size = 2 * int(torch.randint(5, 40, (), generator=generator))
    sizes = ((8, 10_000.0), (64, 1e6), (96, 1e6), (size, base))
    return [
        Case(
            Text(f"head_size = {head_size}, base = {value:g}", f"head_size = {head_size}，base = {value:g}"),
            {},
            {"head_size": head_size, "base": value},
            absolute=1e-9,
        )
        for head_size, value in sizes
    ]


def ends_are_right(part: Part, _generator: torch.Generator) -> bool:
    """The first pair turns one radian a position, the last base^(-(d-2)/d)."""
    found = part(64, 1e6)  # [head/2]
    return math.isclose(float(found[0]), 1.0) and math.isclose(float(found[-1]), 1e6 ** (-62 / 64), rel_tol=1e-4)


def install(model: MiniMind, part: Part) -> None:
    """Let the model turn its queries and keys by the learner's frequencies."""
    size, base = model.config.head_size, model.config.rope_theta

    def turn(x: Tensor, positions: Tensor) -> Tensor:
        return apply_rotary(x, *rotary_table(positions[None], part(size, base).to(x.device)))

    set_rotation(model, turn)


CHECK = Check(
    part="rope_frequencies",
    parameters=("head_size", "base"),
    axes=("pair",),
    cases=cases,
    run=run,
    reference=textbook,
    mutants={
        part.__name__: part
        for part in (
            unfinished,
            half_the_exponent,
            grows,
            whole_number_division,
            ends_at_one_over_base,
            counts_from_one,
            periods,
            in_turns,
            evenly_spaced,
            one_per_component,
        )
    },
    invariants=(
        Invariant(
            Text(
                "the first frequency is not 1, or the last is not base^(-(d-2)/d)",
                "第一个频率不是 1，或最后一个不是 base^(-(d-2)/d)",
            ),
            ends_are_right,
        ),
    ),
    install=install,
)
