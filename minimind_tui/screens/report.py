"""A report that lies as Markdown in a directory, in the language of the window."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual import work
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from minimind.events import Text
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.lesson_markdown import LessonMarkdown

_LARGEST = 2 << 20


class ReportScreen(MiniMindScreen):
    """``report.LANGUAGE.md`` in `directory`; its pictures lie beside it."""

    TITLE_KEY = "recipes.report"
    DEFAULT_CSS = """
    ReportScreen VerticalScroll { padding: 0 1; scrollbar-gutter: stable; }
    """
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def compose_body(self) -> ComposeResult:
        """The text."""
        with VerticalScroll():
            yield LessonMarkdown()

    def on_mount(self) -> None:
        """Read it aside."""
        self.relabel()

    def relabel(self) -> None:
        """In the other language."""
        self._read()

    @work(exclusive=True)
    async def _read(self) -> None:
        path = self._directory / f"report.{self.language}.md"
        try:
            text = await asyncio.to_thread(lambda: path.read_bytes()[:_LARGEST].decode("utf-8", "replace"))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self.app.tell(Text(f"{path}: cannot be read: {reason}", f"{path}：无法读取：{reason}"), severity="error")
            return
        await self.query_one(LessonMarkdown).show(text)
