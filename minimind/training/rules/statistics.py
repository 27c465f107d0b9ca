"""Noisy curves and small statistics for them, in plain Python: a screen asks for these several times a minute."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

BLOCKS = 12
T_95 = 2.228
"""Student's t for 10 degrees of freedom (12 block means less two), two-sided 95 %."""
_MAD_TO_SIGMA = 1.4826
"""A normal distribution's standard deviation in units of its median absolute deviation."""


@dataclass(frozen=True, slots=True)
class Points:
    """The finite points of a curve: parallel sequences, `x` ascending."""

    x: Sequence[float]
    y: Sequence[float]

    def __len__(self) -> int:
        return len(self.x)

    def after(self, step: float) -> Points:
        """The points with an abscissa above `step`."""
        return self.between(step, math.inf)

    def between(self, low: float, high: float) -> Points:
        """The points with an abscissa above `low` and not above `high`."""
        kept = [(x, y) for x, y in zip(self.x, self.y, strict=True) if low < x <= high]
        return Points([x for x, _ in kept], [y for _, y in kept])


class Trend(NamedTuple):
    """How much a curve changes over its length by a straight line, with the standard error of that, and its mean."""

    change: float
    error: float
    level: float

    @property
    def low(self) -> float:
        """The lower end of the change's 95 % interval."""
        return self.change - T_95 * self.error

    @property
    def high(self) -> float:
        """The upper end of the change's 95 % interval."""
        return self.change + T_95 * self.error


def block_means(values: Sequence[float], count: int = BLOCKS) -> list[float]:
    """The means of `count` blocks of equal length (there must be at least `count` values).

    Neighbouring values of a training curve are correlated; the means of blocks hardly are.
    """
    edges = [index * len(values) // count for index in range(count + 1)]
    return [statistics.fmean(values[start:stop]) for start, stop in itertools.pairwise(edges)]


def trend(values: Sequence[float]) -> Trend | None:
    """The straight line through the block means by least squares; None for fewer than 4 values a block."""
    if len(values) < 4 * BLOCKS:
        return None
    means = block_means(values)
    middle = (BLOCKS - 1) / 2
    level = statistics.fmean(means)
    spread = sum((index - middle) ** 2 for index in range(BLOCKS))
    slope = sum((index - middle) * (mean - level) for index, mean in enumerate(means)) / spread
    residuals = sum((mean - level - slope * (index - middle)) ** 2 for index, mean in enumerate(means))
    error = math.sqrt(residuals / (BLOCKS - 2) / spread)
    return Trend(slope * (BLOCKS - 1), error * (BLOCKS - 1), level)


def noise(values: Sequence[float]) -> float:
    """The standard deviation of what differs from one value to the next, unmoved by a trend or a few outliers."""
    steps = [after - before for before, after in itertools.pairwise(values)]
    if len(steps) < 2:
        return 0.0
    middle = statistics.median(steps)
    return _MAD_TO_SIGMA * statistics.median(abs(step - middle) for step in steps) / math.sqrt(2)
