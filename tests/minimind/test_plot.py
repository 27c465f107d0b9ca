"""The arithmetic of charts, against brute force and formulas."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minimind.chart_layout import label_start
from minimind.plot import (
    Canvas,
    Curve,
    SmoothCurve,
    Span,
    figure,
    linear_axis,
    log_axis,
    round_step,
    stepped_range,
    tick_label,
)

FINITE = st.floats(-1e6, 1e6)


@given(st.lists(FINITE, min_size=1, max_size=400), st.data())
def test_extremes_are_those_of_the_points(values: list[float], data: st.DataObject) -> None:
    curve = Curve(range(len(values)), values)
    start = data.draw(st.integers(0, len(values) - 1))
    stop = data.draw(st.integers(start + 1, len(values)))
    assert curve.extremes(start, stop) == (min(values[start:stop]), max(values[start:stop]))


@pytest.mark.parametrize("points", [1, 10, 63, 64, 65, 1000, 5000])
def test_thinning_keeps_every_columns_extremes(points: int) -> None:
    rng = random.Random(points)
    values = [rng.gauss(0, 1) for _ in range(points)]
    values[points // 2] = 100.0
    columns = Curve(range(points), values).columns(0, max(1, points - 1), 50)
    assert len(columns) == 50
    scale = max(1, points - 1) / 49
    for number, span in enumerate(columns):
        inside = [y for x, y in enumerate(values) if math.floor(x / scale + 0.5) == number]
        edges = [y for x, y in enumerate(values) if abs(x / scale - number) <= 0.5 + 1e-9]
        assert (span is None) == (not edges) or not inside
        if span is not None:
            assert min(edges) <= span.low <= span.high <= max(edges)
            assert {span.first, span.last} <= set(edges)
    assert max(span.high for span in columns if span) == 100.0


def test_what_is_not_finite_is_a_gap() -> None:
    curve = Curve(range(6), [1.0, 2.0, math.nan, math.inf, 3.0, 4.0])
    assert curve.ys == [1.0, 2.0, 3.0, 4.0]
    assert [curve.joined(index, index + 1) for index in range(3)] == [True, False, True]
    assert [span.joined for span in curve.columns(0, 5, 6) if span] == [False, True, False, True]
    assert curve.value_at(0.5) == 1.5
    assert curve.value_at(2.5) is None


def test_a_run_that_goes_back_replaces_what_it_did() -> None:
    curve = Curve()
    for x in range(200):
        curve.append(x, x)
    curve.append(100, -7.0)
    assert curve.xs[-2:] == [99, 100]
    assert curve.extremes(0, len(curve)) == (-7.0, 99)
    assert curve.rewrites == 1
    for x in range(101, 300):
        curve.append(x, 0.0)
    assert curve.extremes(100, 300) == (-7.0, 0.0)


def test_the_nearest_point() -> None:
    curve = Curve([1, 4, 9], [10, 20, 30])
    assert [curve.nearest(x) for x in (-5, 2, 3, 6.4, 6.6, 99)] == [0, 0, 1, 1, 2, 2]
    assert Curve().nearest(1) is None


def test_smoothing_is_adams_corrected_average() -> None:
    rng = random.Random(0)
    values = [rng.random() for _ in range(100)]
    source = Curve(range(60), values[:60])
    smooth = SmoothCurve(source)
    smooth.update()
    for x in range(60, 100):
        source.append(x, values[x])
    shown = smooth.update()
    for step in range(100):
        weights = [0.1 * 0.9 ** (step - index) for index in range(step + 1)]
        expected = sum(w * v for w, v in zip(weights, values, strict=False)) / (1 - 0.9 ** (step + 1))
        assert shown.ys[step] == pytest.approx(expected)
    source.append(50, 0.0)
    assert len(smooth.update()) == 51


def test_smoothing_leaves_few_points_alone_and_keeps_gaps() -> None:
    few = Curve(range(5), [5.0, 1.0, 5.0, 1.0, 5.0])
    assert SmoothCurve(few).update().ys == few.ys
    source = Curve(range(80), [1.0] * 40 + [math.nan] + [1.0] * 39)
    smooth = SmoothCurve(source).update()
    assert not smooth.joined(39, 40)


@given(FINITE, st.floats(0, 1e6), st.integers(1, 12))
def test_linear_axes_hold_their_data_with_round_ticks(low: float, size: float, count: int) -> None:
    axis = linear_axis(low, low + size, count)
    assert axis.low <= low + 1e-6 * max(1, abs(low), size)
    assert axis.high >= low + size - 1e-6 * max(1, abs(low), size)
    assert axis.low < axis.high
    assert axis.position(axis.low) == 0
    assert axis.position(axis.high) == 1
    assert list(axis.ticks) == sorted(axis.ticks)
    assert len(axis.ticks) <= count + 3


@given(st.floats(1e-9, 1e6), st.floats(1.0001, 1e9), st.integers(1, 10))
def test_log_axes_hold_their_data(low: float, factor: float, count: int) -> None:
    axis = log_axis(low, low * factor, count)
    assert 0 < axis.low <= low * (1 + 1e-6)
    assert axis.high >= low * factor * (1 - 1e-6)
    assert axis.position(axis.low) == pytest.approx(0, abs=1e-9)
    assert axis.position(axis.high) == pytest.approx(1)
    assert axis.position(0.0) < -1000
    middle = math.sqrt(axis.low * axis.high)
    assert axis.position(middle) == pytest.approx(0.5)


@pytest.mark.parametrize(("step", "rounded"), [(0.3, 0.5), (1.0, 1.0), (1.01, 2.0), (6, 10), (0.02, 0.02), (49, 50)])
def test_steps_are_round(step: float, rounded: float) -> None:
    assert round_step(step) == pytest.approx(rounded)


def test_the_range_of_x_grows_in_steps() -> None:
    ranges = {stepped_range(1, x) for x in range(100, 200)}
    assert sorted(high for _, high in ranges) == [100, 125, 150, 175, 200]
    assert all(low == 0 for low, _ in ranges)
    assert stepped_range(5, 5) == (0.0, 5)
    assert stepped_range(0, 0) == (0, 1)
    assert stepped_range(1000, 1010)[0] == 1000
    assert stepped_range(-3, 2)[0] == -3


@pytest.mark.parametrize(
    ("value", "step", "label"),
    [
        (0, 1, "0"),
        (0.4, 0.2, "0.4"),
        (0.25, 0.05, "0.25"),
        (3, 1, "3"),
        (1200, 200, "1200"),
        (15000, 5000, "15k"),
        (3e-5, 1e-5, "3e-5"),
        (2_500_000, 500_000, "2.5e6"),
        (-0.5, 0.5, "-0.5"),
    ],
)
def test_tick_labels(value: float, step: float, label: str) -> None:
    assert tick_label(value, step) == label


@pytest.mark.parametrize(("value", "words"), [(1500.0, "1,500"), (2.31847, "2.318"), (math.nan, "nan"), (-3.0, "-3")])
def test_figures(value: float, words: str) -> None:
    assert figure(value) == words


def dots(canvas: Canvas) -> set[tuple[int, int]]:
    """The (column, row) of every dot drawn."""
    bit = {
        0x01: (0, 0),
        0x02: (0, 1),
        0x04: (0, 2),
        0x40: (0, 3),
        0x08: (1, 0),
        0x10: (1, 1),
        0x20: (1, 2),
        0x80: (1, 3),
    }
    return {
        (2 * x + dx, 4 * y + dy)
        for y, row in enumerate(canvas.bits)
        for x, bits in enumerate(row)
        for mask, (dx, dy) in bit.items()
        if bits & mask
    }


def span(value: float, *, joined: bool = True) -> Span:
    return Span(value, value, value, value, joined)


def test_braille_dots_stand_where_they_belong() -> None:
    canvas = Canvas(2, 1, braille=True)
    canvas.draw([span(1.0, joined=False), None, None, span(0.0, joined=False)], lambda value: value, 0)
    assert dots(canvas) == {(0, 0), (3, 3)}


def test_points_apart_are_joined_by_a_line_and_gaps_are_not() -> None:
    joined, apart = Canvas(4, 2, braille=True), Canvas(4, 2, braille=True)
    ends = [span(1.0, joined=False), *[None] * 6, span(0.0)]
    joined.draw(ends, lambda value: value, 0)
    assert {x for x, _ in dots(joined)} == set(range(8))
    columns: dict[int, list[int]] = {}
    for x, y in dots(joined):
        columns.setdefault(x, []).append(y)
    assert all(abs(sum(ys) / len(ys) - x) <= 1 for x, ys in columns.items())
    assert [min(ys) for _, ys in sorted(columns.items())] == sorted(min(ys) for ys in columns.values())
    apart.draw([span(1.0, joined=False), *[None] * 6, span(0.0, joined=False)], lambda value: value, 0)
    assert dots(apart) == {(0, 0), (7, 7)}


def test_what_lies_outside_is_not_drawn() -> None:
    canvas = Canvas(3, 2, braille=False)
    canvas.draw([span(9.0, joined=False), span(-9.0), span(9.0)], lambda value: value, 3)
    assert all(owner in (-1, 3) for row in canvas.owners for owner in row)
    canvas = Canvas(3, 2, braille=False)
    canvas.draw([span(9.0, joined=False)], lambda value: value, 3)
    assert all(owner == -1 for row in canvas.owners for owner in row)


def test_a_label_hides_as_little_as_it_can() -> None:
    assert label_start([0] * 10, 4) == 6
    assert label_start([0, 0, 0, 0, 1, 1, 1, 1, 1, 1], 4) == 0
    assert label_start([1, 1, 1, 0, 0, 0, 0, 1, 1, 1], 4) == 3
    assert label_start([1] * 10, 4) == 6
    assert label_start([0, 0], 4) == 0
