"""Colours as numbers: those of series, and ramps for heatmaps, for as many colours as the terminal has."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from rich.color import Color as RichColor
from rich.color import ColorSystem
from rich.style import Style
from textual.app import App
from textual.color import Color

Depth = Literal["truecolor", "256", "16", "none"]

SERIES_COLORS = 6
LEVELS = 24
"""Steps of a ramp: more cannot be told apart, and equal neighbours are sent as one piece."""

_DEFAULT = ("#56b4e9", "#f0a028", "#2fc894", "#f0e442", "#e28cc0", "#ff8050")
# Lightness rises steadily, hue goes from blue to yellow: the order is seen with any colour vision.
_RAMP_DARK = (
    (16, 20, 46),
    (32, 62, 120),
    (44, 113, 152),
    (62, 160, 148),
    (148, 196, 110),
    (240, 214, 92),
    (255, 246, 205),
)
_RAMP_LIGHT = (
    (252, 250, 240),
    (222, 232, 206),
    (156, 206, 196),
    (84, 164, 186),
    (40, 112, 164),
    (34, 62, 128),
    (20, 20, 64),
)


def has_colors(app: App[Any]) -> bool:
    """Whether colour may carry meaning here (NO_COLOR is not set)."""
    return not getattr(app, "no_color", False)


def color_depth(app: App[Any]) -> Depth:
    """How many colours reach the screen: the terminal's, or fewer where the theme or NO_COLOR says so."""
    if not has_colors(app):
        return "none"
    if app.native_ansi_color:
        return "16"
    systems: dict[str | None, Depth] = {"truecolor": "truecolor", "256": "256", "standard": "16", "windows": "16"}
    return systems.get(app.console.color_system, "none")


def series_style(app: App[Any], number: int) -> Style:
    """The style of the curve `number`, by the theme; they repeat after six."""
    number %= SERIES_COLORS
    return _foreground(app.theme_variables.get(f"series-{number + 1}", _DEFAULT[number]))


@lru_cache(64)
def _foreground(color: str) -> Style:
    return Style(color=Color.parse(color).rich_color)


@lru_cache(8)
def ramp(dark: bool, depth: Depth) -> tuple[RichColor, ...]:
    """The colours of `LEVELS` steps from low to high (as the terminal's 256 colours, if it has no more)."""
    stops = _RAMP_DARK if dark else _RAMP_LIGHT
    colors = []
    for level in range(LEVELS):
        place = level / (LEVELS - 1) * (len(stops) - 1)
        index = min(int(place), len(stops) - 2)
        share = place - index
        red, green, blue = (round(a + (b - a) * share) for a, b in zip(stops[index], stops[index + 1], strict=True))
        color = RichColor.from_rgb(red, green, blue)
        colors.append(color if depth == "truecolor" else color.downgrade(ColorSystem.EIGHT_BIT))
    return tuple(colors)


@lru_cache(2048)
def cell_style(dark: bool, depth: Depth, level: int, below: int) -> Style:
    """A cell: background of `level` with readable text; or, where `below` is not -1, `level` over `below` (half blocks)."""
    colors = ramp(dark, depth)
    if below >= 0:
        return Style(color=colors[level], bgcolor=colors[below])
    is_light = (level > LEVELS // 2) == dark
    return Style(color=RichColor.from_rgb(*((0, 0, 0) if is_light else (255, 255, 255))), bgcolor=colors[level])
