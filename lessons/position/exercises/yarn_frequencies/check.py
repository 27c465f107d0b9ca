"""Cases, reference and mutants of the exercise on YaRN's frequencies."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lessons.checking import Case, Check, Invariant
from minimind.events import Text

Part = Callable[[int, float, int, float, float, float], Tensor]
BETAS = (32.0, 1.0)


def textbook(head_size: int, base: float, trained: int, factor: float, fast: float, slow: float) -> Tensor:
    """Pair by pair, in double precision."""
    first = max(math.floor(pair_that_turns(fast, head_size, base, trained)), 0)
    last = min(math.ceil(pair_that_turns(slow, head_size, base, trained)), head_size // 2 - 1)
    found = []
    for pair in range(head_size // 2):
        share = min(max((pair - first) / max(last - first, 0.001), 0.0), 1.0)
        frequency = base ** (-2 * pair / head_size)
        found.append((1 - share) * frequency + share * frequency / factor)
    return torch.tensor(found)  # [head/2]


def pair_that_turns(times: float, head_size: int, base: float, trained: float) -> float:
    """The index of the pair that turns `times` times in the trained context."""
    return head_size / 2 * math.log(trained / (2 * math.pi * times)) / math.log(base)


def plain(head_size: int, base: float) -> Tensor:
    """The frequencies before stretching."""
    pairs = head_size // 2
    return base ** (-torch.arange(pairs).float() / pairs)  # [head/2]


def ramp_between(first: float, last: float, pairs: int) -> Tensor:
    """0 up to `first`, 1 from `last` on."""
    return ((torch.arange(pairs).float() - first) / max(last - first, 0.001)).clamp(0, 1)  # [head/2]


def right_ends(head_size: int, base: float, trained: float, fast: float, slow: float) -> tuple[int, int]:
    """Where the right ramp begins and ends."""
    first = max(math.floor(pair_that_turns(fast, head_size, base, trained)), 0)
    return first, min(math.ceil(pair_that_turns(slow, head_size, base, trained)), head_size // 2 - 1)


def mixed(frequencies: Tensor, ramp: Tensor, factor: float) -> Tensor:
    """Kept where the ramp is 0, divided by `factor` where it is 1."""
    return frequencies * (1 - ramp) + frequencies / factor * ramp  # [head/2]


def unchanged(head_size: int, base: float, _trained: int, _factor: float, _fast: float, _slow: float) -> Tensor:
    return plain(head_size, base)


def all_slowed(head_size: int, base: float, _trained: int, factor: float, _fast: float, _slow: float) -> Tensor:
    return plain(head_size, base) / factor


def larger_base(head_size: int, base: float, _trained: int, factor: float, _fast: float, _slow: float) -> Tensor:
    return plain(head_size, base * factor ** (head_size / (head_size - 2)))


def reversed_ramp(head_size: int, base: float, trained: int, factor: float, fast: float, slow: float) -> Tensor:
    ramp = ramp_between(*right_ends(head_size, base, trained, fast, slow), head_size // 2)
    return mixed(plain(head_size, base), 1 - ramp, factor)


def betas_swapped(head_size: int, base: float, trained: int, factor: float, fast: float, slow: float) -> Tensor:
    ramp = ramp_between(*right_ends(head_size, base, trained, slow, fast), head_size // 2)
    return mixed(plain(head_size, base), ramp, factor)


def periods_mixed(head_size: int, base: float, trained: int, factor: float, fast: float, slow: float) -> Tensor:
    ramp = ramp_between(*right_ends(head_size, base, trained, fast, slow), head_size // 2)
    return plain(head_size, base) / (1 - ramp + ramp * factor)


def ramp_over_turns(head_size: int, base: float, trained: int, factor: float, fast: float, slow: float) -> Tensor:
    turns = trained * plain(head_size, base) / (2 * math.pi)  # [head/2]
    kept = ((turns - slow) / (fast - slow)).clamp(0, 1)  # [head/2]
    return mixed(plain(head_size, base), 1 - kept, factor)


def not_clamped(head_size: int, base: float, trained: int, factor: float, fast: float, slow: float) -> Tensor:
    first, last = right_ends(head_size, base, trained, fast, slow)
    ramp = (torch.arange(head_size // 2).float() - first) / max(last - first, 0.001)  # [head/2]
    return mixed(plain(head_size, base), ramp, factor)


def speeds_up(head_size: int, base: float, trained: int, factor: float, fast: float, slow: float) -> Tensor:
    ramp = ramp_between(*right_ends(head_size, base, trained, fast, slow), head_size // 2)
    return mixed(plain(head_size, base), ramp, 1 / factor)


def no_ramp(head_size: int, base: float, trained: int, factor: float, fast: float, _slow: float) -> Tensor:
    frequencies = plain(head_size, base)
    turns = trained * frequencies / (2 * math.pi)  # [head/2]
    return torch.where(turns < fast, frequencies / factor, frequencies)


def begins_below_zero(head_size: int, base: float, trained: int, factor: float, fast: float, slow: float) -> Tensor:
    first, last = (pair_that_turns(times, head_size, base, trained) for times in (fast, slow))
    return mixed(plain(head_size, base), ramp_between(math.floor(first), math.ceil(last), head_size // 2), factor)


def run(part: Part, case: Case) -> Tensor:
    """Call the learner's function."""
    wanted = (case.settings[name] for name in ("head_size", "base", "trained", "factor"))
    return part(*wanted, *case.settings["betas"])


def cases(generator: torch.Generator) -> list[Case]:
    """A small head, the released model's, one of Llama's size, one trained on little, and one of random size."""
    factor = float(torch.randint(3, 30, (), generator=generator))
    size = 2 * int(torch.randint(20, 60, (), generator=generator))
    drawn = (
        (16, 10_000.0, 2048, 4.0, BETAS),
        (96, 1e6, 2048, 16.0, BETAS),
        (128, 10_000.0, 4096, 8.0, BETAS),
        (64, 1e6, 64, 8.0, BETAS),
        (32, 1e6, 256, 4.0, (4.0, 0.5)),
        (size, 10_000.0, 1024, factor, BETAS),
    )
    return [
        Case(
            Text(
                f"head_size = {s}, base = {b:g}, trained = {t}, factor = {f:g}",
                f"head_size = {s}，base = {b:g}，trained = {t}，factor = {f:g}",
            ),
            {},
            {"head_size": s, "base": b, "trained": t, "factor": f, "betas": betas},
            absolute=1e-9,
        )
        for s, b, t, f, betas in drawn
    ]


def ends_are_right(part: Part, _generator: torch.Generator) -> bool:
    """Fast pairs keep their frequency exactly, slow ones turn `factor` times more slowly, and the share only falls."""
    share = part(96, 1e6, 2048, 16.0, *BETAS) / plain(96, 1e6)  # [head/2]
    turns = 2048 * plain(96, 1e6) / (2 * math.pi)  # [head/2]
    fast, slow = share[turns > 1.5 * BETAS[0]], share[turns < BETAS[1] / 1.5]
    falls = bool((share.diff() < 1e-6).all())
    return falls and bool(torch.allclose(fast, torch.ones(len(fast)))) and bool(torch.allclose(slow * 16, slow / slow))


CHECK = Check(
    part="yarn_frequencies",
    parameters=("head_size", "base", "trained", "factor", "beta_fast", "beta_slow"),
    axes=("pair",),
    cases=cases,
    run=run,
    reference=textbook,
    mutants={
        part.__name__: part
        for part in (
            unchanged,
            all_slowed,
            larger_base,
            reversed_ramp,
            betas_swapped,
            periods_mixed,
            ramp_over_turns,
            not_clamped,
            speeds_up,
            no_ramp,
            begins_below_zero,
        )
    },
    invariants=(
        Invariant(
            Text(
                "pairs that turn often must stay, slow ones slow down by the factor, and the change only grow between",
                "转得快的分量对应当不变，慢的除以 factor，两者之间的变化应当只增不减",
            ),
            ends_are_right,
        ),
    ),
)
