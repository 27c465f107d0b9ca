"""A curve stays small and keeps what a person would look for in it."""

from __future__ import annotations

import math
import random

import pytest

from minimind.training.series import POINT_LIMIT, Series


def test_a_short_curve_is_kept_whole() -> None:
    series = Series()
    for x in range(POINT_LIMIT):
        series.append(x, x * 0.5)
    assert series.x == list(range(POINT_LIMIT))
    assert series.y == [x * 0.5 for x in range(POINT_LIMIT)]


def test_a_long_curve_is_thinned_evenly_and_keeps_its_extremes() -> None:
    draw = random.Random(3)
    count = 300_000
    series = Series()
    values = [draw.gauss(0, 1) for _ in range(count)]
    values[12_345], values[250_001] = 99.0, -99.0
    for x, y in enumerate(values):
        series.append(x, y)
    assert len(series) <= POINT_LIMIT
    assert series.x == sorted(series.x)
    assert all(values[int(x)] == y for x, y in zip(series.x, series.y, strict=True))
    assert series.y[series.x.index(12_345)] == 99.0
    assert series.y[series.x.index(250_001)] == -99.0
    assert (series.x[0], series.x[-1]) == (0, count - 1)
    for tenth in range(10):
        assert sum(tenth <= x * 10 / count < tenth + 1 for x in series.x) > 500


def test_a_gap_survives_thinning() -> None:
    series = Series()
    for x in range(50_000):
        series.append(x, math.nan if x == 20_001 else math.inf if 30_000 <= x < 31_000 else 1.0)
    assert math.isnan(series.y[series.x.index(20_001)])
    assert any(math.isinf(y) for y in series.y)
    assert len(series) <= POINT_LIMIT


def test_points_at_one_place_do_not_pile_up() -> None:
    series = Series()
    for y in range(POINT_LIMIT + 1):
        series.append(7, y)
    assert series.x == [7] * len(series)
    assert {0, POINT_LIMIT} <= set(series.y)
    assert len(series) < 5


@pytest.mark.parametrize(("x", "left"), [(-1, 0), (0, 1), (4, 5), (4.5, 5), (100, 10)])
def test_what_lies_beyond_is_forgotten(x: float, left: int) -> None:
    series = Series()
    for step in range(10):
        series.append(step, step)
    series.forget_after(x)
    assert series.x == list(range(left))
    assert series.y == list(range(left))


def test_a_late_point_goes_where_it_belongs() -> None:
    series = Series()
    for x in (1, 2, 5, 3, 0, 5):
        series.append(x, 10 * x)
    assert series.x == [0, 1, 2, 3, 5, 5]
    assert series.y == [0, 10, 20, 30, 50, 50]
