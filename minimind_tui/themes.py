"""The app's colours: dark, light, and one that takes the terminal's own sixteen (and none at all under NO_COLOR).

`series-1` … `series-6` are the colours of curves: after Okabe & Ito (2008), told apart with any colour vision.
"""

from __future__ import annotations

from textual.theme import Theme


def _series(*colors: str) -> dict[str, str]:
    return {f"series-{number}": color for number, color in enumerate(colors, 1)}


_DARK = Theme(
    name="minimind-dark",
    primary="#56b4e9",
    secondary="#2fb894",
    accent="#f0b24a",
    warning="#f0b24a",
    error="#ff7b6b",
    success="#4fce9b",
    foreground="#e4e7ee",
    background="#11141b",
    surface="#171b24",
    panel="#202633",
    dark=True,
    variables={
        "text-muted": "#94a0b8",
        "rule": "#3a4356",
        "border": "#56b4e9",
        "border-blurred": "#3a4356",
        "scrollbar": "#3a4356",
        "scrollbar-background": "#11141b",
        "block-cursor-foreground": "#0b0e14",
        "block-cursor-background": "#56b4e9",
        **_series("#56b4e9", "#f0a028", "#2fc894", "#f0e442", "#e28cc0", "#ff8050"),
    },
)
_LIGHT = Theme(
    name="minimind-light",
    primary="#0067a5",
    secondary="#00694f",
    accent="#994c00",
    warning="#994c00",
    error="#b3261e",
    success="#00694f",
    foreground="#1b1f27",
    background="#fbfaf7",
    surface="#f3f1ec",
    panel="#e6e3dc",
    dark=False,
    variables={
        "text-muted": "#5b6472",
        "rule": "#bdb8ad",
        "border": "#0067a5",
        "border-blurred": "#bdb8ad",
        "scrollbar": "#bdb8ad",
        "scrollbar-background": "#fbfaf7",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-background": "#0067a5",
        **_series("#0067a5", "#b85c00", "#007a5a", "#7d6400", "#a03d7a", "#c0301c"),
    },
)
_ANSI = Theme(
    name="minimind-ansi",
    ansi=True,
    primary="ansi_cyan",
    secondary="ansi_green",
    accent="ansi_yellow",
    warning="ansi_yellow",
    error="ansi_red",
    success="ansi_green",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    dark=True,
    variables={
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "text-muted": "ansi_default",
        "rule": "ansi_default",
        "border": "ansi_cyan",
        "border-blurred": "ansi_default",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_cyan",
        "input-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-selection-background": "ansi_cyan",
        "input-selection-foreground": "ansi_black",
        "screen-selection-background": "ansi_cyan",
        "screen-selection-foreground": "ansi_black",
        **_series("ansi_cyan", "ansi_yellow", "ansi_green", "ansi_magenta", "ansi_blue", "ansi_red"),
    },
)
THEMES = (_DARK, _LIGHT, _ANSI)
