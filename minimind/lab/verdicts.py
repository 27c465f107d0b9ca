"""From the numbers of a few seeds to supported, refuted or inconclusive."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

NOISE = 0.05
"""Nats. Seeds of the course's small models differ by about this much: a smaller mean difference is not called one."""


def is_lower(first: Sequence[float], second: Sequence[float], noise: float = NOISE) -> bool | None:
    """Whether `first` is lower than `second`, each with a number for every seed, paired.

    None where that cannot be said: the mean difference is smaller than `noise`, or the seeds disagree about its sign.
    An infinite number, of a run that diverged, is higher than any other. Raises ValueError for unequal lengths.
    """
    differences = [_difference(a, b) for a, b in zip(first, second, strict=True)]
    signs = {math.copysign(1, difference) for difference in differences}
    mean = sum(differences) / len(differences)
    if len(signs) != 1 or abs(mean) < noise:
        return None
    return mean < 0


def _difference(first: float, second: float) -> float:
    return 0.0 if first == second else first - second


def is_close(first: Sequence[float], second: Sequence[float], tolerance: float) -> bool | None:
    """Whether the two differ by less than `tolerance` at every seed; False where they differ by more at every seed."""
    near = [abs(_difference(a, b)) < tolerance for a, b in zip(first, second, strict=True)]
    return near[0] if len(set(near)) == 1 else None


def agree(verdicts: Sequence[bool]) -> bool | None:
    """One verdict of every seed's: None where they disagree."""
    return verdicts[0] if len(set(verdicts)) == 1 else None


def all_hold(verdicts: Sequence[bool | None]) -> bool | None:
    """One verdict for a sentence with several parts: False where a part is, else None where a part is undecided."""
    return False if False in verdicts else None if None in verdicts else True


def means(**values: Sequence[float]) -> dict[str, float]:
    """The mean over seeds of each, and how many ``seeds`` there were: what a `Claim` has measured."""
    return {name: statistics.fmean(numbers) for name, numbers in values.items()} | {
        "seeds": len(next(iter(values.values())))
    }
