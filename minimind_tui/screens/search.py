"""Find words in all lessons; before anything is typed, the pages one marked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input, Static

from lessons.glossary import Term
from lessons.lesson import Lesson, load_glossary, readable_lessons
from lessons.progress import Progress
from lessons.search import Found, bookmarks, search
from minimind.errors import UserError
from minimind.safe_text import clean_line
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.list_table import Column, ListTable, TableRow

_COLUMNS = (Column("search.column.page", 0), Column("search.column.lesson", 20, appears_at=56))


class SearchBox(Input):
    """The line for the words; Down goes to what was found."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("down", "screen.to_list", "search.key.to_list")]


class SearchScreen(MiniMindScreen):
    """A line to type on, the pages, and the line in which the words stand."""

    TITLE_KEY = "search.title"
    DEFAULT_CSS = """
    SearchScreen SearchBox { background: $surface; border: none; height: 1; padding: 0 1; margin: 0 1; }
    SearchScreen SearchBox:focus { background: $panel; border: none; }
    SearchScreen #how { height: 1; padding: 0 1; color: $text-muted; }
    SearchScreen #line { height: auto; max-height: 4; padding: 0 1; color: $text-muted; }
    """
    AUTO_FOCUS = "SearchBox"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("slash", "to_words", "search.key.to_words")]

    def __init__(self) -> None:
        super().__init__()
        self._lessons: tuple[Lesson, ...] = ()
        self._terms: Mapping[str, Term] = {}
        self._progress = Progress()
        self._found: tuple[Found, ...] = ()

    def compose_body(self) -> ComposeResult:
        """The words, what is listed, the list, the line."""
        box = SearchBox()
        box.cursor_blink = False
        yield box
        yield Static(markup=False, id="how")
        yield ListTable(_COLUMNS)
        yield Static(markup=False, id="line")

    def on_mount(self) -> None:
        """Read the course aside."""
        self.relabel()
        self._read()

    @work(exclusive=True)
    async def _read(self) -> None:
        try:
            self._lessons, _ = await asyncio.to_thread(readable_lessons)
            self._terms = await asyncio.to_thread(load_glossary)
        except UserError as error:
            self.app.tell(error.text, severity="error")
            return
        self._progress = await asyncio.to_thread(Progress.load)
        self.relabel()

    @on(Input.Changed)
    def relabel(self) -> None:
        """Look for what is typed, in the current language; list the marked pages where nothing is."""
        words = self.query_one(SearchBox).value.strip()
        if words:
            self._found = search(self._lessons, self._terms, words, self.language)
            how = self.t("search.found", count=len(self._found))
        else:
            self._found = bookmarks(self._lessons, self._progress, self.language)
            how = self.t("search.bookmarks" if self._found else "search.how")
        self.query_one("#how", Static).update(Content(how))
        rows = [
            TableRow(_row_id(found), (clean_line(found.page.title), clean_line(self.say(found.lesson.title))))
            for found in self._found
        ]
        self.query_one(ListTable).set_rows(rows)
        self._show_line()

    @on(ListTable.Moved)
    def _show_line(self) -> None:
        current = self.query_one(ListTable).current
        line = next((found.line for found in self._found if _row_id(found) == current), "")
        self.query_one("#line", Static).update(Content(clean_line(line)))

    def action_to_list(self) -> None:
        """Go to what was found."""
        self.query_one(ListTable).focus()

    def action_to_words(self) -> None:
        """Type other words."""
        self.query_one(SearchBox).focus()

    @on(Input.Submitted)
    def _open_first(self) -> None:
        current = self.query_one(ListTable).current
        if current is not None:
            self._open(current)

    @on(ListTable.Chosen)
    def _open_chosen(self, event: ListTable.Chosen) -> None:
        self._open(event.row)

    def _open(self, row: str) -> None:
        slug, _, page = row.partition("/")
        self.app.leave_for_lesson(slug, page)


def _row_id(found: Found) -> str:
    return f"{found.lesson.slug}/{found.page.id}"
