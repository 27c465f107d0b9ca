"""Numbers for a person."""

from __future__ import annotations

import math

import pytest

from minimind.figures import duration, number, percent, quantity, rough_duration, size


@pytest.mark.parametrize(
    ("seconds", "en", "zh"),
    [
        (0, "0 s", "0 秒"),
        (59.6, "1 min 00 s", "1 分 00 秒"),
        (125, "2 min 05 s", "2 分 05 秒"),
        (3600, "1 h 00 min", "1 小时 00 分"),
        (360000, "4 d 4 h", "4 天 4 小时"),
        (math.nan, "–", "–"),
        (math.inf, "–", "–"),
        (-1, "–", "–"),
    ],
)
def test_durations(seconds: float, en: str, zh: str) -> None:
    assert duration(seconds, "en") == en
    assert duration(seconds, "zh") == zh


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s"), (89, "89 s"), (95, "1.6 min"), (1800, "30 min"), (7200, "2.0 h"), (864000, "10 d"), (math.nan, "–")],
)
def test_rough_durations(seconds: float, words: str) -> None:
    assert rough_duration(seconds, "en") == words


def test_sizes_and_quantities() -> None:
    assert [size(value) for value in (0, 999, 1000, 999_600, 26_400_000, 1.5e9, math.nan)] == [
        "0 B", "999 B", "1.0 kB", "1.0 MB", "26.4 MB", "1.5 GB", "–",
    ]  # fmt: skip
    assert [quantity(value) for value in (12, 8330, 25_829_888, 198_416_640)] == ["12", "8.3 k", "25.8 M", "198 M"]


def test_measured_values_keep_four_digits() -> None:
    values = (None, 0.0, 2.31849, 0.04712, 7.6246, 12345.6, 0.0003, 3e-3, -1.5, 1e9, math.nan, -math.inf)
    assert [number(value) for value in values] == [
        "–", "0.000", "2.318", "0.04712", "7.625", "12346", "3.00e-04", "0.00300", "-1.500", "1.00e+09", "nan", "-inf",
    ]  # fmt: skip


def test_percentages() -> None:
    assert [percent(value) for value in (0, 0.004, 0.0994, 0.5, 1)] == ["0 %", "0.4 %", "9.9 %", "50 %", "100 %"]
