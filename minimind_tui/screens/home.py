"""The first screen."""

from __future__ import annotations

from textual.app import ComposeResult

from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.phrase import Phrase


class HomeScreen(MiniMindScreen):
    """Where one starts: the paths, the lessons, the runs, and one prominent action."""

    TITLE_KEY = "home.title"

    def compose_body(self) -> ComposeResult:
        """The tagline."""
        yield Phrase("home.tagline")
