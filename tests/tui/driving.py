"""What the tests of screens share: the screen as plain text, and waiting for something to be on it."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.cells import cell_len
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Static
from textual.widgets._toast import Toast

from minimind.events import Language
from minimind_tui.themes import THEMES


class BareApp(App[None]):
    """An app with our themes and a language, for a widget on its own."""

    language: Language = "en"

    def __init__(self) -> None:
        super().__init__()
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = "minimind-dark"


def lines_of(app: App[None]) -> list[str]:
    """The rows of the screen as text; asserts that every row is exactly as wide as the terminal.

    Empty between a change of the terminal's size and the layout that answers it.
    """
    lines: list[str] = []
    if app.screen._compositor.size != app.size:
        return lines
    for strip in app.screen._compositor.render_strips():
        text = "".join(segment.text for segment in strip if not segment.control)
        assert strip.cell_length == app.size.width == cell_len(text), repr(text)
        lines.append(text)
    assert len(lines) in (0, app.size.height)  # none before the first layout
    return lines


def text_of(app: App[None]) -> str:
    """The screen as one text, wide gaps shortened."""
    return "\n".join(line.rstrip() for line in lines_of(app))


async def until(pilot: Pilot[None], holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Let the app work until `holds()` is true."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s:\n{text_of(pilot.app)}")
        await pilot.pause(0.02)


async def until_shown(pilot: Pilot[None], *words: str, seconds: float = 20.0) -> str:
    """Let the app work until every one of `words` is on the screen; returns the screen."""
    await until(pilot, lambda: all(word in text_of(pilot.app) for word in words), seconds)
    return text_of(pilot.app)


async def until_told(pilot: Pilot[None], words: str, seconds: float = 20.0) -> None:
    """Let the app work until a notice with `words` is on the screen, wherever its lines break."""

    def is_told() -> bool:
        toasts = pilot.app.screen.query(Toast)
        return any(words in str(toast.render()) and toast.region.overlaps(pilot.app.screen.region) for toast in toasts)

    await until(pilot, is_told, seconds)


async def until_said(pilot: Pilot[None], selector: str, words: str, seconds: float = 20.0) -> None:
    """Let the app work until the text `selector` holds `words`, wherever its lines break, and is in view."""
    place = pilot.app.screen.query_one(selector, Static)
    view = pilot.app.screen.region
    await until(pilot, lambda: words in str(place.content) and place.region.overlaps(view), seconds)
