"""Where the parts of a chart made of characters stand: its plot, its axes and their labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from minimind.plot import Axis, Canvas, Curve, Span, linear_axis, log_axis, stepped_range, tick_label

MARKERS = "*o+x#@%&"
"""The characters of the series, in order, where curves are told apart by characters."""
_WIDE_RANGE = 1000
_LEAST_WIDTH, _LEAST_HEIGHT = 20, 3


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts of the chart are: sizes in cells, ranges in values."""

    gutter: int
    plot_width: int
    plot_height: int
    x_low: float
    x_high: float
    y: Axis
    shows_axis: bool

    def row_of(self, value: float) -> int | None:
        """The row of the plot, from the top, in which `value` lies; None outside."""
        share = self.y.position(value) if math.isfinite(value) else -1.0
        return round((1 - share) * (self.plot_height - 1)) if 0 <= share <= 1 else None

    def spans(self, curve: Curve, canvas: Canvas) -> list[Span | None]:
        """`curve` thinned to the dot columns of `canvas`."""
        return curve.columns(self.x_low, self.x_high, canvas.dots_across)

    def ticks(self) -> dict[int, str]:
        """Which rows carry a tick, and its label."""
        rows: dict[int, str] = {}
        for tick in reversed(self.y.ticks):
            row = round((1 - self.y.position(tick)) * (self.plot_height - 1))
            rows.setdefault(row, _tick_label(self.y, tick))
        return rows

    def x_labels(self, room: int) -> str:
        """The labels under the plot, in `room` cells."""
        span = self.x_high - self.x_low
        axis = linear_axis(self.x_low, self.x_high, max(2, self.plot_width // 14))
        step = axis.ticks[1] - axis.ticks[0]
        row = [" "] * room
        free_from = 0
        for tick in axis.ticks:
            if not self.x_low - 1e-9 <= tick <= self.x_high + 1e-9:
                continue
            label = tick_label(tick, step)
            start = max(0, round((tick - self.x_low) / span * (self.plot_width - 1)) - len(label) // 2)
            if start >= free_from and start + len(label) <= room:
                row[start : start + len(label)] = label
                free_from = start + len(label) + 1
        return "".join(row)


def label_start(drawn: Sequence[int], width: int) -> int:
    """Where in a row, of which `drawn` says what curves occupy, a label of `width` cells hides least of them.

    The right end where that is as good as any other.
    """
    last = max(0, len(drawn) - width)
    covered = {start: sum(map(bool, drawn[start : start + width])) for start in range(last + 1)}
    return max(covered, key=lambda start: (-covered[start], start))


def is_wide_range(curves: Sequence[Curve], marks: Sequence[float]) -> bool:
    """Whether the values are positive and so far apart that only a logarithmic axis shows them all."""
    low, high = value_range(curves, marks)
    return low > 0 and high > _WIDE_RANGE * low


def value_range(curves: Sequence[Curve], marks: Sequence[float]) -> tuple[float, float]:
    """The lowest and highest of the points of `curves` (none of them empty) and of `marks`."""
    ranges = [curve.extremes(0, len(curve)) for curve in curves]
    return min([r[0] for r in ranges] + [*marks]), max([r[1] for r in ranges] + [*marks])


def lay_out(
    curves: Sequence[Curve], marks: Sequence[float], width: int, height: int, *, logarithmic: bool
) -> Layout | None:
    """The layout of a chart of `curves` in `width` × `height` cells, one row of them a header.

    `marks` are finite values that must be in view. None where there is no room, or no curve with points.
    """
    drawn = [curve for curve in curves if len(curve)]
    if not drawn or height < _LEAST_HEIGHT or width < _LEAST_WIDTH:
        return None
    x_low, x_high = stepped_range(min(curve.xs[0] for curve in drawn), max(curve.xs[-1] for curve in drawn))
    shows_axis = height >= 5
    plot_height = height - 1 - shows_axis
    y = _value_axis(drawn, marks, max(2, plot_height // 3), logarithmic)
    gutter = max(4, *(len(_tick_label(y, tick)) for tick in y.ticks)) + 1
    return Layout(gutter, width - gutter, plot_height, x_low, x_high, y, shows_axis)


def _value_axis(curves: Sequence[Curve], marks: Sequence[float], count: int, logarithmic: bool) -> Axis:
    low, high = value_range(curves, marks)
    if not logarithmic or high <= 0:
        return linear_axis(low, high, count)
    if low <= 0:
        low = min((y for curve in curves for y in curve.ys if y > 0), default=high / 10)
    return log_axis(low, high if high > low else low * 10, count)


def _tick_label(axis: Axis, tick: float) -> str:
    if axis.logarithmic:
        return tick_label(tick, tick)
    return tick_label(tick, axis.ticks[1] - axis.ticks[0] if len(axis.ticks) > 1 else axis.high - axis.low)
