"""The guide to several GPUs and machines."""

from __future__ import annotations

from minimind.events import Language
from minimind.guides import guide
from minimind_tui.screens.markdown import MarkdownScreen


class GuideScreen(MarkdownScreen):
    """What ``minimind guide cluster`` prints."""

    TITLE_KEY = "menu.guide"

    def read(self, language: Language) -> str:
        """The page."""
        return guide("cluster", language)
