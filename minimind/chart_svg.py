"""Charts and heatmaps as one SVG picture, written by hand: lines stay lines at any size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape

from minimind.chart_layout import Layout, is_wide_range, lay_out
from minimind.chart_text import name_of
from minimind.charts import Chart, charts_of
from minimind.commands.columns import cell_width
from minimind.events import Event, Heatmap, Language, Text
from minimind.figures import show_number
from minimind.plot import Curve, linear_axis, tick_label
from minimind.safe_text import clean_line

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#b58900", "#cc79a7", "#56606a")
_WIDTH, _CHART_HEIGHT = 760, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 20, 56, 40
_CELL_HEIGHT, _LETTER = 22, 7


def draw_svg(title: str, events: Iterable[Event], names: Mapping[str, Text], language: Language) -> str | None:
    """A picture of every chart and heatmap among `events`, one below the other; None where there are none."""
    kept = list(events)
    parts: list[str] = []
    y = 40.0
    for chart in charts_of(kept).values():
        body = _chart(chart, names, language)
        if body:
            parts.append(f'<g transform="translate(0 {y:g})">{body}</g>')
            y += _CHART_HEIGHT
    for heatmap in (event for event in kept if isinstance(event, Heatmap) and event.rows):
        parts.append(f'<g transform="translate(0 {y:g})">{_heatmap(heatmap, language)}</g>')
        y += 80 + _CELL_HEIGHT * len(heatmap.rows)
    if not parts:
        return None
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y:g}" viewBox="0 0 {_WIDTH} {y:g}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#202428">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{_text(16, 26, title, size=17, bold=True)}\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _text(x: float, y: float, words: str, *, anchor: str = "start", size: int = 12, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"{weight}>'
        f"{escape(clean_line(words))}</text>"
    )


class _Frame:
    """Where values lie in the picture of one chart."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.width, self.height = _WIDTH - _LEFT - _RIGHT, _CHART_HEIGHT - _TOP - _BOTTOM

    def x(self, value: float) -> float:
        return _LEFT + (value - self.layout.x_low) / (self.layout.x_high - self.layout.x_low) * self.width

    def y(self, value: float) -> float:
        return _TOP + (1 - max(-0.05, self.layout.y.position(value))) * self.height

    def points(self, xs: Iterable[float], ys: Iterable[float]) -> str:
        return " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))


def _chart(chart: Chart, names: Mapping[str, Text], language: Language) -> str:
    curves = [curve for curve in chart.curves.values() if len(curve)]
    marks = [value for value in chart.levels.values() if math.isfinite(value)]
    layout = lay_out(curves, marks, 100, 20, logarithmic=bool(curves) and is_wide_range(curves, marks))
    if layout is None:
        return ""
    frame = _Frame(layout)
    parts = [_text(_LEFT, 16, name_of(chart.name, names, language), size=14, bold=True), *_axes(frame)]
    parts.append(_text(_WIDTH - _RIGHT, _CHART_HEIGHT - 6, name_of(chart.axis, names, language), anchor="end"))
    colors = {name: _COLORS[number % len(_COLORS)] for number, name in enumerate(chart.curves)}
    for name, band in chart.bands.items():
        outline = frame.points([*band.x, *reversed(band.x)], [*band.low, *reversed(band.high)])
        parts.append(f'<polygon points="{outline}" fill="{colors.get(name, "#888888")}" fill-opacity="0.15"/>')
    for name, value in chart.levels.items():
        if math.isfinite(value):
            y = frame.y(value)
            parts.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#7a5c00" '
                'stroke-dasharray="6 4"/>'
            )
            words = f"{name_of(name, names, language)} {show_number(value)}"
            parts.append(_text(_WIDTH - _RIGHT - 4, y - 4, words, anchor="end"))
    x = float(_LEFT)
    for name, curve in chart.curves.items():
        parts += [
            f'<polyline points="{frame.points(xs, ys)}" fill="none" stroke="{colors[name]}" stroke-width="1.8"/>'
            for xs, ys in _pieces(curve)
        ]
        words = name_of(name, names, language)
        parts.append(f'<rect x="{x:.1f}" y="30" width="14" height="4" fill="{colors[name]}"/>')
        parts.append(_text(x + 18, 37, words))
        x += 32 + _LETTER * cell_width(words)
    return "\n".join(parts)


def _axes(frame: _Frame) -> list[str]:
    layout = frame.layout
    bottom = _TOP + frame.height
    parts = [f'<path d="M{_LEFT} {_TOP}V{bottom}H{_WIDTH - _RIGHT}" fill="none" stroke="#8a9199"/>']
    step = layout.y.ticks[1] - layout.y.ticks[0] if len(layout.y.ticks) > 1 else 1.0
    for tick in layout.y.ticks:
        y = frame.y(tick)
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e4e7ea"/>')
        parts.append(_text(_LEFT - 6, y + 4, tick_label(tick, tick if layout.y.logarithmic else step), anchor="end"))
    for value in linear_axis(layout.x_low, layout.x_high, 6).ticks:
        if layout.x_low <= value <= layout.x_high:
            parts.append(_text(frame.x(value), bottom + 18, f"{value:g}", anchor="middle"))
    return parts


def _pieces(curve: Curve) -> Iterable[tuple[list[float], list[float]]]:
    """The curve's points between its gaps."""
    start = 0
    for index in range(1, len(curve) + 1):
        if index == len(curve) or not curve.joined(index - 1, index):
            yield curve.xs[start:index], curve.ys[start:index]
            start = index


def _heatmap(heatmap: Heatmap, language: Language) -> str:
    title = heatmap.title.of(language) if heatmap.title else heatmap.name
    finite = [value for row in heatmap.rows for value in row if math.isfinite(value)]
    low = heatmap.low if heatmap.low is not None else min(finite, default=0.0)
    high = heatmap.high if heatmap.high is not None else max(finite, default=1.0)
    columns = max(len(row) for row in heatmap.rows)
    width = min(80.0, (_WIDTH - 160) / max(1, columns))
    parts = [_text(_LEFT, 16, title, size=14, bold=True)]
    for x, label in enumerate(heatmap.column_labels):
        parts.append(_text(130 + (x + 0.5) * width, 36, label, anchor="middle"))
    for y, row in enumerate(heatmap.rows):
        top = 42 + y * _CELL_HEIGHT
        if y < len(heatmap.row_labels):
            parts.append(_text(124, top + 15, heatmap.row_labels[y], anchor="end"))
        for x, value in enumerate(row):
            if math.isfinite(value):
                share = min(1.0, max(0.0, (value - low) / (high - low) if high > low else 0.5))
                parts.append(
                    f'<rect x="{130 + x * width:.1f}" y="{top}" width="{width - 1:.1f}" height="{_CELL_HEIGHT - 1}" '
                    f'fill="{_shade(share)}"><title>{show_number(value)}</title></rect>'
                )
    return "\n".join(parts)


def _shade(share: float) -> str:
    """From nearly white to dark blue."""
    low, high = (240, 244, 248), (16, 60, 110)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in zip(low, high, strict=True))
