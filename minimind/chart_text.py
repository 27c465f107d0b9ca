"""Charts as plain text: for the command line, for files, and for the lab notebook, where there are no colours."""

from __future__ import annotations

import math
from collections.abc import Mapping

from minimind.chart_layout import MARKERS, Layout, is_wide_range, label_start, lay_out
from minimind.charts import Chart
from minimind.commands.columns import cell_width
from minimind.events import Language, Text
from minimind.figures import show_number
from minimind.plot import Canvas, Curve
from minimind.safe_text import clean_line

WIDTH, HEIGHT = 76, 15
_LEVEL, _BAND = "-", "."


def name_of(name: str, names: Mapping[str, Text], language: Language) -> str:
    """What people call the chart, axis or series `name`."""
    return clean_line(names[name].of(language) if name in names else name)


def draw_chart(
    chart: Chart,
    names: Mapping[str, Text],
    language: Language,
    *,
    width: int = WIDTH,
    height: int = HEIGHT,
    logarithmic: bool | None = None,
) -> list[str]:
    """Title, legend and plot of `chart`, no wider than `width` cells.

    Each series has its character; levels are dashed lines with their name, bands over seeds are dotted.
    `logarithmic` None takes a logarithmic axis for positive values over more than three powers of ten.
    """
    rows = _legend(chart, names, language, width)
    curves = [curve for curve in chart.curves.values() if len(curve)]
    marks = [value for value in chart.levels.values() if math.isfinite(value)]
    if not curves:
        return rows
    wide = is_wide_range(curves, marks) if logarithmic is None else logarithmic
    layout = lay_out(curves, marks, width, height, logarithmic=wide)
    if layout is None:
        return rows
    grid = _grid(chart, layout, names, language)
    ticks = layout.ticks()
    for number, line in enumerate(grid):
        label = ticks.get(number)
        rows.append(f"{label or '':>{layout.gutter - 1}}{'+' if label else '|'}{line}".rstrip())
    name = f" {name_of(chart.axis, names, language)}" if chart.axis else ""
    room = max(0, layout.plot_width - cell_width(name))
    rows.append(" " * layout.gutter + layout.x_labels(room) + name)
    return rows


def _legend(chart: Chart, names: Mapping[str, Text], language: Language, width: int) -> list[str]:
    """The title and, for each series, its character, name and last value, on as many lines as that takes."""
    lines = [name_of(chart.name, names, language)] if chart.name else []
    line = ""
    for number, (name, curve) in enumerate(chart.curves.items()):
        last = show_number(curve.ys[-1]) if len(curve) else "–"
        entry = f"{MARKERS[number % len(MARKERS)]} {name_of(name, names, language)} {last}"
        if line and cell_width(line) + cell_width(entry) + 3 > width:
            lines.append(line)
            line = ""
        line += ("   " if line else "") + entry
    return [*lines, line]


def _grid(chart: Chart, layout: Layout, names: Mapping[str, Text], language: Language) -> list[str]:
    """The rows of the plot."""
    canvas = Canvas(layout.plot_width, layout.plot_height, braille=False)
    bands = Canvas(layout.plot_width, layout.plot_height, braille=False)
    for band in chart.bands.values():
        low, high = Curve(band.x, band.low), Curve(band.x, band.high)
        bands.fill(layout.spans(low, bands), layout.spans(high, bands), layout.y.position, 0)
    for number, curve in enumerate(chart.curves.values()):
        canvas.draw(layout.spans(curve, canvas), layout.y.position, number)
    rows = []
    labels = _levels(chart, layout, names, language)
    for y in range(layout.plot_height):
        label = labels.get(y, "")
        start = label_start(canvas.bits[y], cell_width(label))
        line = ""
        x = 0
        while x < layout.plot_width:
            if label and x == start:
                line += label
                x += cell_width(label)
                continue
            if canvas.bits[y][x]:
                line += MARKERS[canvas.owners[y][x] % len(MARKERS)]
            elif label:
                line += _LEVEL
            else:
                line += _BAND if bands.bits[y][x] else " "
            x += 1
        rows.append(line.rstrip())
    return rows


def _levels(chart: Chart, layout: Layout, names: Mapping[str, Text], language: Language) -> dict[int, str]:
    """Which rows hold a level, and the words that stand in it."""
    found: dict[int, str] = {}
    for name, value in chart.levels.items():
        row = layout.row_of(value)
        if row is not None:
            label = f" {name_of(name, names, language)} {show_number(value)} "
            found[row] = f"{found[row].rstrip()},{label}" if row in found else label
    return found
