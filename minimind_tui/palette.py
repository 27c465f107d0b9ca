"""Colours as numbers: those of series, and ramps for heatmaps, for as many colours as the terminal has."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from rich.style import Style
from textual.app import App
from textual.color import Color

SERIES_COLORS = 6
_DEFAULT = ("#56b4e9", "#f0a028", "#2fc894", "#f0e442", "#e28cc0", "#ff8050")


def has_colors(app: App[Any]) -> bool:
    """Whether colour may carry meaning here (NO_COLOR is not set)."""
    return not getattr(app, "no_color", False)


def series_style(app: App[Any], number: int) -> Style:
    """The style of the curve `number`, by the theme; they repeat after six."""
    number %= SERIES_COLORS
    return _foreground(app.theme_variables.get(f"series-{number + 1}", _DEFAULT[number]))


@lru_cache(64)
def _foreground(color: str) -> Style:
    return Style(color=Color.parse(color).rich_color)
