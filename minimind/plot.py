"""The arithmetic of charts: curves that answer range queries, axes with round numbers, a grid of Braille dots."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from minimind.figures import number

_BLOCK = 64
_SMOOTHING = 0.9
_SMOOTH_FROM = 32


@dataclass(frozen=True, slots=True)
class Span:
    """What a curve does within one column: its extremes, its first and last value, and whether it joins the one before."""

    low: float
    high: float
    first: float
    last: float
    joined: bool


class Curve:
    """Points in order of x. Values that are not finite are left out and leave a gap.

    Extremes of blocks of 64 points are kept, so that thinning a long curve to the columns of a chart costs little
    more than a short one, and every column still shows its true extremes.
    """

    def __init__(self, xs: Iterable[float] = (), ys: Iterable[float] = ()) -> None:
        self.xs: list[float] = []
        self.ys: list[float] = []
        self._gaps: list[int] = []
        self._lows: list[float] = []
        self._highs: list[float] = []
        self.rewrites = 0
        """How often points that were there have been taken back."""
        for x, y in sorted(zip(xs, ys, strict=True), key=lambda point: point[0]):
            self.append(x, y)

    def __len__(self) -> int:
        return len(self.xs)

    def append(self, x: float, y: float) -> None:
        """Add a point; one whose x lies before the last replaces everything from there on (a run that went back)."""
        if self.xs and x < self.xs[-1]:
            self._cut(bisect_left(self.xs, x))
        if not (math.isfinite(x) and math.isfinite(y)):
            if not self._gaps or self._gaps[-1] != len(self.xs):
                self._gaps.append(len(self.xs))
            return
        self.xs.append(float(x))
        self.ys.append(float(y))
        if len(self.ys) % _BLOCK == 0:
            block = self.ys[-_BLOCK:]
            self._lows.append(min(block))
            self._highs.append(max(block))

    def _cut(self, length: int) -> None:
        self.rewrites += 1
        del self.xs[length:], self.ys[length:]
        del self._lows[length // _BLOCK :], self._highs[length // _BLOCK :]
        self._gaps = [gap for gap in self._gaps if gap <= length]

    def extremes(self, start: int, stop: int) -> tuple[float, float]:
        """Lowest and highest value of the points `start` … `stop` - 1 (there must be one)."""
        first_block, last_block = -(-start // _BLOCK), stop // _BLOCK
        if last_block <= first_block:
            part = self.ys[start:stop]
            return min(part), max(part)
        edges = self.ys[start : first_block * _BLOCK] + self.ys[last_block * _BLOCK : stop]
        return (
            min(edges + self._lows[first_block:last_block]),
            max(edges + self._highs[first_block:last_block]),
        )

    def joined(self, before: int, after: int) -> bool:
        """Whether no value was left out between the points `before` and `after`."""
        return bisect_right(self._gaps, before) == bisect_right(self._gaps, after)

    def columns(self, low: float, high: float, count: int) -> list[Span | None]:
        """The curve between x = `low` and `high`, thinned to `count` columns."""
        spans: list[Span | None] = []
        scale = (high - low) / max(1, count - 1)
        start = bisect_left(self.xs, low - scale / 2)
        previous = -1
        for column in range(count):
            stop = bisect_left(self.xs, low + (column + 0.5) * scale, start)
            if stop == start:
                spans.append(None)
                continue
            lowest, highest = self.extremes(start, stop)
            is_joined = previous >= 0 and self.joined(previous, start)
            spans.append(Span(lowest, highest, self.ys[start], self.ys[stop - 1], is_joined))
            start, previous = stop, stop - 1
        return spans

    def value_at(self, x: float) -> float | None:
        """The height of the drawn line at `x`, or None where there is none."""
        after = bisect_left(self.xs, x)
        if after == len(self.xs) or (after == 0 and self.xs[0] != x):
            return None
        if self.xs[after] == x:
            return self.ys[after]
        if not self.joined(after - 1, after):
            return None
        share = (x - self.xs[after - 1]) / (self.xs[after] - self.xs[after - 1])
        return self.ys[after - 1] + share * (self.ys[after] - self.ys[after - 1])

    def nearest(self, x: float) -> int | None:
        """The index of the point nearest to `x`."""
        if not self.xs:
            return None
        after = bisect_left(self.xs, x)
        candidates = range(max(0, after - 1), min(len(self.xs), after + 1))
        return min(candidates, key=lambda index: abs(self.xs[index] - x))


class SmoothCurve:
    """The exponential moving average of a curve (weight 0.9, corrected for its start), kept up to date.

    A curve of fewer than 32 points is left as it is: its points are rare measurements, not noise. The correction divides by 1 - 0.9ᵗ as Adam does (Kingma & Ba 2015, section 3).
    """

    def __init__(self, source: Curve) -> None:
        self._source = source
        self._restart()

    def _restart(self) -> None:
        self._seen_rewrites = self._source.rewrites
        self._mean = self._weight = 0.0
        self._curve = Curve()

    def update(self) -> Curve:
        """Take in what the source has gained and return the smoothed curve."""
        source = self._source
        if len(source) < _SMOOTH_FROM:
            return source
        if source.rewrites != self._seen_rewrites:
            self._restart()
        for index in range(len(self._curve), len(source)):
            self._mean = _SMOOTHING * self._mean + (1 - _SMOOTHING) * source.ys[index]
            self._weight = _SMOOTHING * self._weight + (1 - _SMOOTHING)
            if index and not source.joined(index - 1, index):
                self._curve.append(source.xs[index], math.nan)
            self._curve.append(source.xs[index], self._mean / self._weight)
        return self._curve


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of values, where its ticks stand, and whether it is logarithmic."""

    low: float
    high: float
    ticks: tuple[float, ...]
    logarithmic: bool = False

    def position(self, value: float) -> float:
        """Where `value` lies, 0 at `low` and 1 at `high`; a logarithm of nothing lies far below."""
        if self.logarithmic:
            if value <= 0:
                return -1e9
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)


def linear_axis(low: float, high: float, count: int) -> Axis:
    """An axis over [`low`, `high`] widened to round numbers, with about `count` ticks."""
    if high - low <= max(abs(low), abs(high)) * 1e-12 or high - low < 1e-290:  # a constant curve, or one point
        margin = abs(low) * 0.1 or 1.0
        low, high = low - margin, high + margin
    step = round_step((high - low) / max(1, count))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if last <= first:
        last = first + 1
    return Axis(first * step, last * step, tuple(index * step for index in range(first, last + 1)))


def log_axis(low: float, high: float, count: int) -> Axis:
    """A logarithmic axis over the positive range [`low`, `high`]."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    if last - first >= 2:
        stride = max(1, math.ceil((last - first) / max(1, count)))
        return Axis(10.0**first, 10.0**last, tuple(10.0**power for power in range(first, last + 1, stride)), True)
    inner = linear_axis(low, high, count)
    bottom = inner.low if inner.low > 0 else low
    return Axis(bottom, inner.high, tuple(tick for tick in inner.ticks if tick >= bottom), True)


def round_step(step: float) -> float:
    """The smallest of 1, 2, 5 · 10ⁿ that is not below `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * (1 - 1e-9))


def stepped_range(low: float, high: float) -> tuple[float, float]:
    """A range for x that grows in steps, so that a curve being drawn does not shift at every new point."""
    if not high > low:
        return (0.0, low) if low > 0 else (low, low + 1)
    if 0 <= low <= 0.15 * high:
        low = 0.0
    step = 10.0 ** math.floor(math.log10(high - low)) / 4
    return low, low + math.ceil((high - low) / step - 1e-9) * step


def tick_label(value: float, step: float) -> str:
    """`value` with the digits that a step of this size needs: 0.25, 1200, 15k, 3e-05."""
    size = max(abs(value), abs(step))
    if value == 0:
        return "0"
    if size >= 1e6 or abs(value) < 1e-3:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    if size >= 10_000 and step >= 100:
        return f"{value / 1000:g}k"
    decimals = max(0, -math.floor(math.log10(abs(step)) + 1e-9)) if step else 2
    return f"{value:.{min(decimals, 6)}f}"


def figure(value: float) -> str:
    """`value` for a read-out: whole numbers grouped by thousands, others to four significant digits."""
    is_whole = math.isfinite(value) and value == int(value) and abs(value) < 1e12
    return f"{int(value):,}" if is_whole else number(value)


_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


class Canvas:
    """A grid of `width` × `height` cells into which curves are drawn, by dots (Braille) or by whole cells (ASCII)."""

    def __init__(self, width: int, height: int, *, braille: bool) -> None:
        self.width, self.height, self.braille = width, height, braille
        self.dots_across, self.dots_down = (width * 2, height * 4) if braille else (width, height)
        self.bits = [[0] * width for _ in range(height)]
        self.owners = [[-1] * width for _ in range(height)]

    def draw(self, spans: Sequence[Span | None], position: Callable[[float], float], owner: int) -> None:
        """Draw a thinned curve (one span a dot column); `position` maps a value to 0 (bottom) … 1 (top)."""
        bottom = self.dots_down - 1

        def row(value: float) -> float:
            return min(2.0 * bottom + 2, max(-bottom - 2.0, (1 - position(value)) * bottom))

        last_column, last_row = -1, 0.0
        for column, span in enumerate(spans):
            if span is None:
                continue
            first = row(span.first)
            top, low = row(span.high), row(span.low)
            if span.joined:
                self._bridge(last_column, last_row, column, first, owner)
            self._stroke(column, top, low, owner)
            last_column, last_row = column, row(span.last)

    def fill(
        self,
        lows: Sequence[Span | None],
        highs: Sequence[Span | None],
        position: Callable[[float], float],
        owner: int,
        sparse: bool = False,
    ) -> None:
        """Fill between two thinned curves; with `sparse` every third dot of every second column only."""
        bottom = self.dots_down - 1
        for column, (low, high) in enumerate(zip(_filled(lows), _filled(highs), strict=True)):
            if low is None or high is None or (sparse and column % 2):
                continue
            top_row, low_row = ((1 - position(value)) * bottom for value in (high, low))
            start, stop = max(0, math.floor(top_row + 0.5)), min(bottom, math.floor(low_row + 0.5))
            for row in range(start, stop + 1):
                if not sparse or (row + column // 2) % 3 == 0:
                    self._stroke(column, row, row, owner)

    def _bridge(self, column_a: int, row_a: float, column_b: int, row_b: float, owner: int) -> None:
        """The straight line between two columns."""
        width = column_b - column_a
        previous = row_a
        for offset in range(1, width + 1):
            current = row_a + (row_b - row_a) * offset / width
            middle = (previous + current) / 2
            self._stroke(column_a + offset - 1, previous, middle, owner)
            self._stroke(column_a + offset, middle, current, owner)
            previous = current

    def _stroke(self, column: int, row_a: float, row_b: float, owner: int) -> None:
        """Every dot of a column between two rows; outside the grid nothing is drawn."""
        top, bottom = (row_a, row_b) if row_a <= row_b else (row_b, row_a)
        start, stop = max(0, math.floor(top + 0.5)), min(self.dots_down - 1, math.floor(bottom + 0.5))
        if not self.braille:
            for dot_row in range(start, stop + 1):
                self.bits[dot_row][column] = 1
                self.owners[dot_row][column] = owner
            return
        cell, side = column >> 1, column & 1
        for dot_row in range(start, stop + 1):
            self.bits[dot_row >> 2][cell] |= _DOTS[dot_row & 3][side]
            self.owners[dot_row >> 2][cell] = owner


def _filled(spans: Sequence[Span | None]) -> list[float | None]:
    """The middle of each span; columns between two spans get what lies on the line between them."""
    values: list[float | None] = [None if span is None else (span.first + span.last) / 2 for span in spans]
    known = [column for column, value in enumerate(values) if value is not None]
    for left, right in pairwise(known):
        first, last = values[left], values[right]
        if first is not None and last is not None:
            for column in range(left + 1, right):
                values[column] = first + (last - first) * (column - left) / (right - left)
    return values
