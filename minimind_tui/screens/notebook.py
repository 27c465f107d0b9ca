"""The lab notebook of a lesson, an entry at a time, the newest first."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from lessons.notebook import Entry, add_note, notebook_file, read_entries
from minimind.errors import UserError
from minimind.safe_text import clean_line
from minimind_tui.rows import width_of
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.screens.note import NoteDialog
from minimind_tui.widgets.lesson_markdown import LessonMarkdown


class NotebookScreen(MiniMindScreen):
    """The notebook of the lesson `slug`."""

    TITLE_KEY = "notebook.title"
    DEFAULT_CSS = """
    NotebookScreen #where { height: 1; padding: 0 1; color: $text-muted; }
    NotebookScreen VerticalScroll { padding: 0 1; scrollbar-gutter: stable; }
    NotebookScreen .heading { text-style: bold; color: $primary; height: auto; padding: 0 1; margin: 0 0 1 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "turn(1)", "notebook.key.newer"),
        Binding("p", "turn(-1)", "notebook.key.older"),
        Binding("w", "note", "lesson.key.note"),
        Binding("l", "app.back", "common.key.back", show=False),
    ]

    def __init__(self, slug: str) -> None:
        super().__init__()
        self._slug = slug
        self._entries: tuple[Entry, ...] = ()
        self._number = -1

    def compose_body(self) -> ComposeResult:
        """Where the file is; the entry."""
        yield Static(markup=False, id="where")
        with VerticalScroll():
            yield Static(markup=False, classes="heading")
            yield LessonMarkdown()

    def on_mount(self) -> None:
        """Open the newest entry."""
        self._read()

    @work(exclusive=True)
    async def _read(self, number: int | None = None) -> None:
        try:
            self._entries = await asyncio.to_thread(read_entries, self._slug)
        except UserError as error:
            self.app.tell(error.text, severity="error")
        self._number = len(self._entries) - 1 if number is None else number
        await self._show()

    async def _show(self) -> None:
        entry = self._entries[self._number] if self._entries else None
        await self.query_one(LessonMarkdown).update("" if entry is None else entry.text)
        self.query_one(VerticalScroll).scroll_home(animate=False)
        self.relabel()
        self.refresh_bindings()

    def relabel(self) -> None:
        """Name the entry and the file; what was written stays in its own language."""
        entry = self._entries[self._number] if self._entries else None
        heading = (
            self.t("notebook.empty") if entry is None else f"{self._number + 1}/{len(self._entries)} · {entry.title}"
        )
        self.query_one(".heading", Static).update(Content(clean_line(heading)))
        self.query_one("#where", Static).update(Content(self._file()))

    def _file(self) -> str:
        """Where the notebook is; of a path too long for the row its end."""
        path, room = clean_line(str(notebook_file(self._slug))), max(2, self.size.width - 2)
        while width_of(path) > room:
            path = f"…{path[2:]}"
        return path

    def on_resize(self, event: events.Resize) -> None:
        """Fit the path into the row."""
        super().on_resize(event)
        self.relabel()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No entry before the first, none after the last."""
        if action == "turn" and parameters:
            return True if 0 <= self._number + int(str(parameters[0])) < len(self._entries) else None
        return bool(self._entries) if action == "note" else True

    async def action_turn(self, entries: int) -> None:
        """An entry newer or older."""
        self._number += entries
        await self._show()

    def action_note(self) -> None:
        """Add a note to this entry."""
        self.app.push_screen(NoteDialog(), self._add)

    def _add(self, words: str | None) -> None:
        if words:
            self._write(words)

    @work
    async def _write(self, words: str) -> None:
        try:
            await asyncio.to_thread(add_note, self._slug, self._number, words, self.language)
        except UserError as error:
            self.app.tell(error.text, severity="error")
        self._read(self._number)
