"""One curve of a run, kept small however long the run is."""

from __future__ import annotations

from bisect import bisect_right
from math import isfinite

POINT_LIMIT = 20_000
_STRETCHES = 4_000


class Series:
    """A curve y(x) of at most 20,000 points; older points are thinned so that the extremes stay.

    `x` and `y` are parallel lists in ascending, finite x, fit for drawing; NaN and infinities in `y` mean a gap.
    """

    __slots__ = ("axis", "x", "y")

    def __init__(self, axis: str = "step") -> None:
        self.axis = axis
        self.x: list[float] = []
        self.y: list[float] = []

    def __len__(self) -> int:
        return len(self.x)

    def append(self, x: float, y: float) -> None:
        """Add a point. One that lies before the last goes where it belongs."""
        if self.x and x < self.x[-1]:
            place = bisect_right(self.x, x)
            self.x.insert(place, x)
            self.y.insert(place, y)
        else:
            self.x.append(x)
            self.y.append(y)
        if len(self.x) > POINT_LIMIT:
            self._thin()

    def forget_after(self, x: float) -> None:
        """Drop every point with an abscissa above `x`."""
        keep = bisect_right(self.x, x)
        del self.x[keep:]
        del self.y[keep:]

    def _thin(self) -> None:
        """Keep of each of 4,000 equal stretches of x the lowest, the highest and one non-finite point; and the ends."""
        xs, ys = self.x, self.y
        first, last = xs[0], xs[-1]
        scale = _STRETCHES / (last - first) if last > first else 0.0
        kept = {0, len(xs) - 1}
        stretch = lowest = highest = gap = -1
        for index, y in enumerate(ys):
            here = int((xs[index] - first) * scale)
            if here != stretch:
                kept.update((lowest, highest, gap))
                stretch, lowest, highest, gap = here, -1, -1, -1
            if not isfinite(y):
                gap = index
                continue
            if lowest < 0 or y < ys[lowest]:
                lowest = index
            if highest < 0 or y > ys[highest]:
                highest = index
        kept.update((lowest, highest, gap))
        kept.discard(-1)
        order = sorted(kept)
        self.x = [xs[index] for index in order]
        self.y = [ys[index] for index in order]
