"""A screen that is one Markdown text, in the language of the window."""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from minimind.errors import UserError
from minimind.events import Language
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.lesson_markdown import LessonMarkdown


class MarkdownScreen(MiniMindScreen):
    """Subclasses say what to `read`; it is read aside, and again when the language changes."""

    DEFAULT_CSS = """
    MarkdownScreen VerticalScroll { padding: 0 1; scrollbar-gutter: stable; }
    """
    AUTO_FOCUS = "VerticalScroll"

    def compose_body(self) -> ComposeResult:
        """The text."""
        with VerticalScroll():
            yield LessonMarkdown()

    def on_mount(self) -> None:
        """Read it aside."""
        self.relabel()

    def relabel(self) -> None:
        """In the other language."""
        self._show()

    @abstractmethod
    def read(self, language: Language) -> str:
        """The text (on a thread). Raises UserError where there is none."""

    @work(exclusive=True)
    async def _show(self) -> None:
        try:
            text = await asyncio.to_thread(self.read, self.language)
        except UserError as error:
            self.app.tell(error.text, severity="error")
            return
        await self.query_one(LessonMarkdown).show(text)
