"""Curves in Braille dots: many points thinned truly, only changed rows sent, readable without colour or Braille."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.reactive import reactive

from minimind.chart_layout import MARKERS, Layout, is_wide_range, label_start, lay_out, value_range
from minimind.events import Text
from minimind.plot import Canvas, Curve, SmoothCurve, figure
from minimind.safe_text import clean_line
from minimind_tui.palette import has_colors, series_style
from minimind_tui.rows import cut, fit_right, width_of
from minimind_tui.widgets.painted import Painted, Row, StyleKey

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_RAW, _BAND, _GHOST = 1000, 2000, 3000
"""Owners of cells: a series' number; plus _RAW for its unsmoothed curve, _BAND for its spread, _GHOST for another run's."""
_FAINT_MARKERS = {_BAND: ".", _GHOST: ":"}


@dataclass(frozen=True, slots=True)
class Reference:
    """A horizontal line at `value`, a floor or a target, with its name."""

    value: float
    label: Text | str


@dataclass(slots=True)
class _Series:
    label: Text | str
    color: int
    curve: Curve
    smooth: SmoothCurve = field(init=False)

    def __post_init__(self) -> None:
        self.smooth = SmoothCurve(self.curve)


class LineChart(Painted, can_focus=True):
    """A chart of several series. `append` and `set_series` may be called at any rate: it is drawn once a refresh.

    Left and right move a cursor that reads values out, `y` switches to a logarithmic axis, `e` to an exponential
    moving average. Values that are not finite leave gaps. Series keep their colours as they come and go. Under the
    curves lie levels (dashed), the spread of a series over seeds (dotted), and the dim curves of another run.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"line-chart--{part}" for part in ("axis", "title", "text", "cursor", "reference")
    }
    DEFAULT_CSS = """
    LineChart { width: 1fr; height: 1fr; min-height: 3; background: $background; color: $foreground; }
    LineChart > .line-chart--axis { color: $text-muted; }
    LineChart > .line-chart--title { text-style: bold; }
    LineChart > .line-chart--text { color: $foreground; }
    LineChart > .line-chart--cursor { color: $accent; }
    LineChart > .line-chart--reference { color: $warning; }
    LineChart:focus > .line-chart--title { color: $primary; text-style: bold underline; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "chart.key.cursor_left", show=False),
        Binding("right", "move(1)", "chart.key.cursor_right", show=False),
        Binding("shift+left", "move(-10)", "chart.key.cursor_far_left", show=False),
        Binding("shift+right", "move(10)", "chart.key.cursor_far_right", show=False),
        Binding("y", "toggle_log", "chart.key.log"),
        Binding("e", "toggle_smooth", "chart.key.smooth"),
        Binding("escape", "drop_cursor", "chart.key.drop_cursor", show=False),
    ]

    logarithmic: reactive[bool | None] = reactive[bool | None](None, init=False)
    """None: linear, or with `auto_log` whatever the data's range asks for."""
    smoothed: reactive[bool] = reactive(False, init=False)

    def __init__(
        self,
        title: Text | str = "",
        *,
        axis: Text | str = "",
        references: Sequence[Reference] = (),
        auto_log: bool = False,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self._auto_log, self._is_log = auto_log, False
        self._title, self._axis_name = title, axis
        self._references = {f"{place}": reference for place, reference in enumerate(references)}
        self._series: dict[str, _Series] = {}
        self._bands: dict[str, tuple[Curve, Curve]] = {}
        self._ghosts: dict[str, Curve] = {}
        self._colors: dict[str, int] = {}
        self._cursor: int | None = None
        self._layout_now: Layout | None = None

    # --- data ---------------------------------------------------------------------------------------------------

    def set_series(
        self, name: str, xs: Iterable[float], ys: Iterable[float], *, label: Text | str | None = None
    ) -> None:
        """Give the whole of a series (in any order of x)."""
        self._put(name, Curve(xs, ys), label)

    def append(self, name: str, x: float, y: float, *, label: Text | str | None = None) -> None:
        """Add a point to a series, which begins with it if need be."""
        if name not in self._series:
            self._put(name, Curve(), label)
        self._series[name].curve.append(x, y)
        self.schedule()

    def set_level(self, name: str, value: float, *, label: Text | str | None = None) -> None:
        """Draw a dashed line at `value`, or move the one called `name` there."""
        self._references[name] = Reference(value, clean_line(name) if label is None else label)
        self.schedule()

    def set_band(self, name: str, xs: Sequence[float], lows: Sequence[float], highs: Sequence[float]) -> None:
        """Shade from `lows` to `highs` at `xs`, in the colour of the series `name`."""
        self._bands[name] = Curve(xs, lows), Curve(xs, highs)
        self._color(name)
        self.schedule()

    def set_ghosts(self, curves: Mapping[str, Curve]) -> None:
        """Draw the curves of another run, dim, each in its series' colour; none takes them away."""
        self._ghosts = dict(curves)
        for name in curves:
            self._color(name)
        self.schedule()

    def name_axes(self, title: Text | str, axis: Text | str) -> None:
        """What is drawn, and over what."""
        self._title, self._axis_name = title, axis
        self.schedule()

    def clear(self) -> None:
        """Take all series away; one that comes back has its colour again."""
        self._series.clear()
        self._bands.clear()
        self._cursor = None
        self.schedule()

    def _put(self, name: str, curve: Curve, label: Text | str | None) -> None:
        known = self._series.get(name)
        if label is None:
            label = clean_line(name) if known is None else known.label
        self._series[name] = _Series(label, self._color(name), curve)
        self.schedule()

    def _color(self, name: str) -> int:
        return self._colors.setdefault(name, len(self._colors))

    # --- keys -----------------------------------------------------------------------------------------------------

    def action_move(self, columns: int) -> None:
        """Move the cursor by so many columns; it starts at the newest point."""
        layout = self._layout_now
        if layout is None or not any(len(series.curve) for series in self._series.values()):
            return
        if self._cursor is None:
            newest = max(series.curve.xs[-1] for series in self._series.values() if len(series.curve))
            share = (newest - layout.x_low) / (layout.x_high - layout.x_low)
            self._cursor = round(share * (layout.plot_width - 1))
        else:
            self._cursor += columns
        self._cursor = max(0, min(layout.plot_width - 1, self._cursor))
        self.schedule()

    def action_drop_cursor(self) -> None:
        """Put the cursor away."""
        self._cursor = None
        self.schedule()

    def action_toggle_log(self) -> None:
        """Linear or logarithmic."""
        self.logarithmic = not self._is_log

    def action_toggle_smooth(self) -> None:
        """As measured, or averaged."""
        self.smoothed = not self.smoothed

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's signature)
        """Escape is ours only while there is a cursor to put away."""
        return self._cursor is not None if action == "drop_cursor" else True

    def on_click(self, event: events.Click) -> None:
        """Put the cursor where the mouse clicked."""
        if self._layout_now is not None:
            self._cursor = 0
            self.action_move(event.x - self._layout_now.gutter)

    # --- when to draw ---------------------------------------------------------------------------------------------

    def watch_logarithmic(self) -> None:
        """Draw anew."""
        self.schedule()

    def watch_smoothed(self) -> None:
        """Draw anew."""
        self.schedule()

    # --- what to draw -----------------------------------------------------------------------------------------------

    def paint(self, width: int, height: int) -> list[Row]:
        """Header, plot, axis."""
        layout = self._layout_now = self._make_layout(width, height)
        header = self._header()
        if self._cursor is None and sum(width_of(text) for text, _ in header) > width:
            header = self._header(values=False)
        if layout is None:
            blank: list[Row] = [[] for _ in range(height - 1)]
            if not self._series and height > 2:
                blank[(height - 1) // 2] = [
                    (" " * max(0, (width - width_of(self.t("chart.empty"))) // 2), "text"),
                    (self.t("chart.empty"), "axis"),
                ]
            return [header, *blank]
        rows = [header, *self._plot(layout)]
        if layout.shows_axis:
            rows.append([(self._x_axis(layout), "axis")])
        return rows

    def _make_layout(self, width: int, height: int) -> Layout | None:
        curves = [self._shown(series) for series in self._series.values() if len(series.curve)]
        if not curves:
            return None
        under = [*self._ghosts.values(), *(curve for band in self._bands.values() for curve in band)]
        curves += [curve for curve in under if len(curve)]
        marks = [reference.value for reference in self._references.values() if math.isfinite(reference.value)]
        wide = self._auto_log and is_wide_range(curves, marks)
        wanted = wide if self.logarithmic is None else self.logarithmic
        self._is_log = wanted and value_range(curves, marks)[1] > 0
        return lay_out(curves, marks, width, height, logarithmic=self._is_log)

    def _shown(self, series: _Series) -> Curve:
        return series.smooth.update() if self.smoothed else series.curve

    def _plot(self, layout: Layout) -> list[Row]:
        """The rows with the curves, each with its part of the axis on the left."""
        canvas = Canvas(layout.plot_width, layout.plot_height, braille=not self.ascii_only)
        under = self._draw_under(layout)
        overlay: dict[tuple[int, int], tuple[str, StyleKey]] = {}
        lettered = not self.ascii_only and len(self._series) > 1 and not has_colors(self.app)
        for series in self._series.values() if self.smoothed else ():
            canvas.draw(layout.spans(series.curve, canvas), layout.y.position, series.color + _RAW)
        for number, series in enumerate(self._series.values()):
            canvas.draw(layout.spans(self._shown(series), canvas), layout.y.position, series.color)
            if lettered:
                self._letter(series, number, layout, overlay)
        dashed = self._place_references(layout, canvas, overlay)
        ticks = layout.ticks()
        rule = "|" if self.ascii_only else "│"
        joint = "+" if self.ascii_only else "┤"
        rows: list[Row] = []
        for y in range(layout.plot_height):
            label = ticks.get(y)
            left = fit_right(label or "", layout.gutter - 1) + (joint if label else rule)
            rows.append([(left, "axis"), *self._body(canvas, under, overlay, y, y in dashed)])
        return rows

    def _draw_under(self, layout: Layout) -> Canvas:
        """Spreads over seeds and, on them, the curves of another run."""
        under = Canvas(layout.plot_width, layout.plot_height, braille=not self.ascii_only)
        for name, band in self._bands.items():
            low, high = (layout.spans(curve, under) for curve in band)
            under.fill(low, high, layout.y.position, self._colors[name] + _BAND, sparse=under.braille)
        for name, curve in self._ghosts.items():
            under.draw(layout.spans(curve, under), layout.y.position, self._colors[name] + _GHOST)
        return under

    def _place_references(
        self, layout: Layout, canvas: Canvas, overlay: dict[tuple[int, int], tuple[str, StyleKey]]
    ) -> set[int]:
        """The rows of dashed lines; their names stand where they hide no curve, at the right if they can."""
        rows = set()
        for reference in self._references.values():
            y = layout.row_of(reference.value)
            if y is None:
                continue
            rows.add(y)
            name = clean_line(reference.label if isinstance(reference.label, str) else self.say(reference.label))
            label = cut(f" {name} {figure(reference.value)} ", layout.plot_width // 2)
            overlay[y, label_start(canvas.bits[y], width_of(label))] = (label, "reference")
        return rows

    def _letter(
        self,
        series: _Series,
        number: int,
        layout: Layout,
        overlay: dict[tuple[int, int], tuple[str, StyleKey]],
    ) -> None:
        """Without colours: the series' letter on its curve every dozen columns."""
        for x in range(3 + 4 * number % 12, layout.plot_width, 12):
            at = layout.x_low + (layout.x_high - layout.x_low) * x / max(1, layout.plot_width - 1)
            value = self._shown(series).value_at(at)
            y = None if value is None else layout.row_of(value)
            if y is not None:
                overlay[y, x] = (_LETTERS[number % 26], series.color)

    def _body(
        self,
        canvas: Canvas,
        under: Canvas,
        overlay: dict[tuple[int, int], tuple[str, StyleKey]],
        y: int,
        is_dashed: bool,
    ) -> Row:
        """One row of the grid as pieces of equal style."""
        pieces: Row = []
        x = 0
        while x < canvas.width:
            text, style = overlay.get((y, x)) or self._cell(canvas, under, x, y, is_dashed)
            if pieces and pieces[-1][1] == style:
                pieces[-1] = (pieces[-1][0] + text, style)
            else:
                pieces.append((text, style))
            x += width_of(text)
        return pieces

    def _cell(self, canvas: Canvas, under: Canvas, x: int, y: int, is_dashed: bool) -> tuple[str, StyleKey]:
        """The uppermost of what is drawn in a cell: curve, level, another run or spread, cursor."""
        if canvas.bits[y][x]:
            owner = canvas.owners[y][x]
            mark = MARKERS[owner % _RAW % len(MARKERS)]
            return chr(0x2800 + canvas.bits[y][x]) if canvas.braille else mark, owner
        if is_dashed:
            return "-" if self.ascii_only else "╌", "reference"
        if x == self._cursor:
            return "|" if self.ascii_only else "│", "cursor"
        if under.bits[y][x]:
            owner = under.owners[y][x]
            return chr(0x2800 + under.bits[y][x]) if under.braille else _FAINT_MARKERS[owner // _RAW * _RAW], owner
        return " ", "text"

    def _x_axis(self, layout: Layout) -> str:
        """The labels under the plot, and the name of the axis at its end."""
        name = clean_line(self._axis_name if isinstance(self._axis_name, str) else self.say(self._axis_name))
        name = cut(f" {name}" if name else "", layout.plot_width // 3)
        return " " * layout.gutter + layout.x_labels(layout.plot_width - width_of(name)) + name

    def _header(self, *, values: bool = True) -> Row:
        """The title and, for each series, its mark, its name and its value: the latest, or the one at the cursor.

        Without `values` more names fit.
        """
        title = clean_line(self._title if isinstance(self._title, str) else self.say(self._title))
        row: Row = [(f"{title}  " if title else "", "title")]
        at = self._cursor_x()
        if at is not None:
            row.append((f"{figure(at)}: ", "cursor"))
        for number, series in enumerate(self._series.values()):
            name = clean_line(series.label if isinstance(series.label, str) else self.say(series.label))
            curve = self._shown(series)
            index = curve.nearest(at) if at is not None else len(curve) - 1
            value = figure(curve.ys[index]) if index is not None and len(curve) else "–"
            row += [
                (f"{self._mark(number, series)} ", series.color),
                (f"{name} {value}  " if values else f"{name}  ", "text"),
            ]
        flags = [self.t(f"chart.{name}") for name, on in (("log", self._is_log), ("smooth", self.smoothed)) if on]
        if flags:
            row.append((" ".join(flags), "axis"))
        return row

    def _mark(self, number: int, series: _Series) -> str:
        if self.ascii_only:
            return MARKERS[series.color % len(MARKERS)]
        return "━" if has_colors(self.app) or len(self._series) == 1 else _LETTERS[number % 26]

    def _cursor_x(self) -> float | None:
        """The x of the point nearest to the cursor."""
        layout = self._layout_now
        if self._cursor is None or layout is None:
            return None
        x = layout.x_low + (layout.x_high - layout.x_low) * self._cursor / max(1, layout.plot_width - 1)
        found = []
        for series in self._series.values():
            index = series.curve.nearest(x)
            if index is not None:
                found.append(series.curve.xs[index])
        return min(found, key=lambda candidate: abs(candidate - x), default=None)

    # --- colours ------------------------------------------------------------------------------------------------------

    def style_of(self, key: StyleKey) -> Style:
        """A part's component style, or a series' colour (dim for its unsmoothed curve)."""
        if not isinstance(key, int):
            return self.get_component_rich_style(f"line-chart--{key}", partial=True)
        found = series_style(self.app, key % _RAW)
        return found + Style(dim=True) if key >= _RAW else found
