"""Colours that can be read, and told apart with any colour vision."""

from __future__ import annotations

import itertools
import math

import pytest
from textual.color import Color
from textual.theme import Theme

from minimind_tui.themes import THEMES

RGB_THEMES = [theme for theme in THEMES if not theme.ansi]
# Linear sRGB -> what a dichromat sees (Viénot, Brettel & Mollon 1999, for protanopia and deuteranopia).
DICHROMATS = {
    "protanope": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deuteranope": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
}


def linear(color: Color) -> tuple[float, ...]:
    return tuple(
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (v / 255 for v in color.rgb)
    )


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    light = [
        sum(w * part for w, part in zip((0.2126, 0.7152, 0.0722), linear(Color.parse(color)), strict=True)) + 0.05
        for color in (one, other)
    ]
    return max(light) / min(light)


def lab(rgb: tuple[float, ...]) -> tuple[float, float, float]:
    """CIE L*a*b* of linear sRGB (D65)."""
    matrix = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    xyz = [sum(m * c for m, c in zip(row, rgb, strict=True)) for row in matrix]
    fx, fy, fz = (
        value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116
        for value in (max(0.0, part) / white for part, white in zip(xyz, (0.9505, 1.0, 1.089), strict=True))
    )
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("theme", RGB_THEMES, ids=lambda theme: theme.name)
def test_text_stands_out(theme: Theme) -> None:
    for ground in (theme.background, theme.surface, theme.panel):
        assert ground is not None
        for name, color in {
            "foreground": theme.foreground,
            "primary": theme.primary,
            "accent": theme.accent,
            "error": theme.error,
            "success": theme.success,
            "muted": theme.variables["text-muted"],
        }.items():
            assert color is not None
            assert contrast(color, ground) >= (7 if name == "foreground" else 4.5), (name, ground)
    cursor = theme.variables["block-cursor-foreground"], theme.variables["block-cursor-background"]
    assert contrast(*cursor) >= 4.5


@pytest.mark.parametrize("theme", RGB_THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("eye", ["trichromat", *DICHROMATS])
def test_the_first_curves_are_told_apart(theme: Theme, eye: str) -> None:
    assert theme.background is not None
    seen = []
    for number in (1, 2, 3):
        color = theme.variables[f"series-{number}"]
        assert contrast(color, theme.background) >= 3
        rgb = linear(Color.parse(color))
        if eye in DICHROMATS:
            rgb = tuple(sum(m * c for m, c in zip(row, rgb, strict=True)) for row in DICHROMATS[eye])
        seen.append(lab(rgb))
    for one, other in itertools.combinations(seen, 2):
        assert math.dist(one, other) > 20


def test_every_theme_has_what_the_widgets_use() -> None:
    wanted = {"text-muted", "rule", "border-blurred", *(f"series-{number}" for number in range(1, 7))}
    assert all(wanted <= theme.variables.keys() for theme in THEMES)
    assert [theme.name for theme in THEMES if theme.ansi] == ["minimind-ansi"]
