"""One curve of a run, kept small however long the run is."""

from __future__ import annotations

import math
from bisect import bisect_right

POINT_LIMIT = 20_000
_BUCKETS = 5_000


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
        """Keep of each of 5,000 equal stretches of x the lowest, the highest and one non-finite point; and the ends."""
        first, last = self.x[0], self.x[-1]
        scale = _BUCKETS / (last - first) if last > first else 0.0
        kept: list[int] = []
        start = 0
        while start < len(self.x):
            bucket = int((self.x[start] - first) * scale)
            end = start + 1
            while end < len(self.x) and int((self.x[end] - first) * scale) == bucket:
                end += 1
            kept += self._notable(start, end)
            start = end
        kept = sorted({0, *kept, len(self.x) - 1})
        self.x = [self.x[index] for index in kept]
        self.y = [self.y[index] for index in kept]

    def _notable(self, start: int, end: int) -> set[int]:
        """The places in [start, end) that thinning keeps."""
        finite = [index for index in range(start, end) if math.isfinite(self.y[index])]
        notable = set()
        if finite:
            notable = {min(finite, key=self.y.__getitem__), max(finite, key=self.y.__getitem__)}
        if len(finite) < end - start:
            notable.add(next(index for index in range(start, end) if not math.isfinite(self.y[index])))
        return notable
