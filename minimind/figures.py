"""Numbers as a person reads them, in a few cells: durations, sizes, counts, losses."""

from __future__ import annotations

import math

from minimind.events import Language

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNITS: dict[Language, tuple[str, str, str, str]] = {
    "en": (" s", " min", " h", " d"),
    "zh": (" 秒", " 分", " 小时", " 天"),
}


def duration(seconds: float, language: Language) -> str:
    """`seconds` in at most two units: ``45 s``, ``2 min 05 s``, ``3 h 20 min``, ``4 d 6 h``."""
    if not math.isfinite(seconds) or seconds < 0:
        return "–"
    second, minute, hour, day = _UNITS[language]
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{second}"
    if whole < 3600:
        return f"{whole // 60}{minute} {whole % 60:02}{second}"
    if whole < 86400:
        return f"{whole // 3600}{hour} {whole % 3600 // 60:02}{minute}"
    return f"{whole // 86400}{day} {whole % 86400 // 3600}{hour}"


def rough_duration(seconds: float, language: Language) -> str:
    """`seconds` to one unit, for estimates and ages: ``50 s``, ``2.5 min``, ``3.2 h``, ``12 d``."""
    if not math.isfinite(seconds) or seconds < 0:
        return "–"
    second, minute, hour, day = _UNITS[language]
    for limit, size, unit in ((90, 1, second), (5400, 60, minute), (129600, 3600, hour)):
        if seconds < limit:
            value = seconds / size
            return f"{value:.1f}{unit}" if size > 1 and value < 10 else f"{value:.0f}{unit}"
    return f"{seconds / 86400:.0f}{day}"


def size(count: float) -> str:
    """`count` bytes: ``812 kB``, ``26.4 MB``, ``1.2 GB``."""
    return _scaled(count, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)), " B")


def quantity(count: float) -> str:
    """`count` things: ``940``, ``8.3 k``, ``25.8 M``, ``1.2 B``."""
    return _scaled(count, (("B", 1e9), ("M", 1e6), ("k", 1e3)), "")


def _scaled(value: float, scales: tuple[tuple[str, float], ...], base: str) -> str:
    if not math.isfinite(value):
        return "–"
    for unit, scale in scales:
        if abs(value) >= 0.9995 * scale:
            short = value / scale
            return f"{short:.0f} {unit}" if abs(short) >= 99.95 else f"{short:.1f} {unit}"
    return f"{value:.0f}{base}"


def number(value: float | None) -> str:
    """A measured value to four significant digits: ``2.318``, ``0.0471``, ``3.0e-04``; what is not finite is named."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        digits = 3 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))))
        return f"{value:.{min(digits, 5)}f}"
    return f"{value:.2e}"


def percent(share: float) -> str:
    """A share of one as a percentage: ``37 %``, ``0.4 %``."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 9.95 or value == 0 else f"{value:.1f} %"


def show_number(value: float) -> str:
    """`value` for a reader: three significant digits, powers of ten where it is tiny or huge."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == int(value) and abs(value) < 1e6:
        return f"{int(value):,}"
    if 1e-3 <= abs(value) < 1e5:
        digits = max(0, 2 - math.floor(math.log10(abs(value))))
        return f"{value:,.{digits}f}"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPTS)}"
