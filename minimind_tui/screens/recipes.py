"""Whole recipes: those that come with the app, and how far the begun ones are."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from minimind.commands.recipe import start_detached
from minimind.errors import UserError
from minimind.figures import duration, rough_duration
from minimind.recipe.book import Book, begin, list_books
from minimind.recipe.plan import Recipe, read_recipe, shipped_recipes
from minimind.safe_text import clean_line
from minimind.training.runs import find_run
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.screens.dialog import ConfirmDialog
from minimind_tui.screens.report import ReportScreen
from minimind_tui.widgets.list_table import Column, ListTable, TableRow
from minimind_tui.widgets.phrase import Phrase

_POLL_SECONDS = 1.0
_COLUMNS = (
    Column("recipes.column.recipe", 0),
    Column("recipes.column.done", 7, right=True),
    Column("recipes.column.state", 12),
    Column("recipes.column.age", 9, right=True, appears_at=60),
)


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row: a recipe of the package, or one that was begun."""

    recipe: Recipe
    name: str
    book: Book | None = None
    is_cooking: bool = False


def _look() -> dict[str, _Entry]:
    """All rows by their ids; reads files."""
    entries = {f"recipe:{name}": _Entry(read_recipe(name), name) for name in shipped_recipes()}
    for book in list_books():
        entries[f"book:{book.id}"] = _Entry(book.recipe, book.id, book, book.is_cooking)
    return entries


class RecipesScreen(MiniMindScreen):
    """The recipes, and the steps of the one under the cursor."""

    TITLE_KEY = "recipes.title"
    DEFAULT_CSS = """
    RecipesScreen #about { height: auto; padding: 0 1; margin: 0 0 1 0; color: $text-muted; }
    RecipesScreen ListTable { height: 1fr; }
    RecipesScreen VerticalScroll { height: 1fr; border-top: solid $rule; padding: 0 1; scrollbar-gutter: stable; }
    RecipesScreen #steps { height: auto; }
    """
    AUTO_FOCUS = "ListTable"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "go_on", "recipes.key.go_on"),
        Binding("r", "run", "recipes.key.run"),
        Binding("o", "report", "recipes.key.report"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._entries: dict[str, _Entry] = {}

    def compose_body(self) -> ComposeResult:
        """What a recipe is, the table, and the steps."""
        yield Phrase("recipes.about", id="about")
        yield ListTable(_COLUMNS, id="table")
        with VerticalScroll(can_focus=False):
            yield Static(markup=False, id="steps")

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Follow them again."""
        super().on_screen_resume(event)
        self._follow()

    def on_screen_suspend(self) -> None:
        """Nobody looks: stop reading."""
        self.workers.cancel_group(self, "follow")

    @work(group="follow", exclusive=True)
    async def _follow(self) -> None:
        while True:
            try:
                self._entries = await asyncio.to_thread(_look)
            except UserError as error:
                self.app.tell(error.text, severity="error")
                return
            if not self.is_running:
                return
            self.relabel()
            await asyncio.sleep(_POLL_SECONDS)

    @property
    def _current(self) -> _Entry | None:
        return self._entries.get(self.query_one(ListTable).current or "")

    # --- showing ------------------------------------------------------------------------------------------------------

    def relabel(self) -> None:
        """Speak again."""
        self.query_one(ListTable).set_rows([self._row(name, entry) for name, entry in self._entries.items()])
        self._show_steps()

    def _row(self, name: str, entry: _Entry) -> TableRow:
        book = entry.book
        title = clean_line(self.say(entry.recipe.title))
        if book is None:
            return TableRow(name, (title, "", self.t("recipes.state.shipped"), ""), "plain")
        done, steps = len(book.done), len(book.steps())
        state = "done" if done == steps else "at_work" if entry.is_cooking else "waits"
        tone = {"done": "good", "at_work": "busy", "waits": "quiet"}[state]
        age = rough_duration(time.time() - book.began, self.language)
        return TableRow(
            name, (f"  {title} · {book.id}", f"{done}/{steps}", self.t(f"recipes.state.{state}"), age), tone
        )

    @on(ListTable.Moved)
    def _show_steps(self) -> None:
        entry = self._current
        lines: list[Content] = []
        if entry is not None:
            about = clean_line(self.say(entry.recipe.about))
            lines = [Content(about), Content("")] if about else []
            lines += self._plan(entry.recipe) if entry.book is None else self._progress(entry.book, entry.is_cooking)
        self.query_one("#steps", Static).update(Content("\n").join(lines))
        self.refresh_bindings()

    def _plan(self, recipe: Recipe) -> list[Content]:
        lines = []
        for stage in recipe.stages:
            settings = "  ".join(f"{name} = {clean_line(str(value), 60)}" for name, value in stage.settings.items())
            lines.append(Content(f"· {stage.name}: {stage.objective}  {settings}"))
        return lines

    def _progress(self, book: Book, is_cooking: bool) -> list[Content]:
        marks = ".+>" if self.ascii_only else "·✓▸"
        lines, reached = [], False
        for step in book.steps():
            kind, _, name = step.partition(":")
            is_done = step in book.done
            is_now = is_cooking and not is_done and not reached
            reached = reached or is_now
            label = clean_line(name if kind == "stage" else self.t(f"recipes.step.{kind}", name=name))
            took = duration(float(book.done[step]["seconds"]), self.language) if is_done else ""
            words = f"{marks[1] if is_done else marks[2] if is_now else marks[0]} {label}  {took}  {book.runs.get(name, '')}"
            lines.append(
                Content.styled(words.rstrip(), "$success" if is_done else "$primary" if is_now else "$foreground")
            )
        return lines

    # --- doing --------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's signature)
        """Each where it makes sense."""
        entry = self._current
        book = entry.book if entry is not None else None
        match action:
            case "go_on":
                return (
                    book is not None
                    and entry is not None
                    and not entry.is_cooking
                    and len(book.done) < len(book.steps())
                )
            case "run":
                return book is not None and bool(book.runs)
            case "report":
                return book is not None and "report" in book.done
            case _:
                return True

    @on(ListTable.Chosen)
    def _choose(self) -> None:
        """What one would want: begin, read the report, or look at the run."""
        entry = self._current
        if entry is None:
            return
        if entry.book is None:
            self._ask_to_begin(entry)
        elif "report" in entry.book.done:
            self.action_report()
        else:
            self.run_worker(self.action_run())

    @work
    async def _ask_to_begin(self, entry: _Entry) -> None:
        question = ConfirmDialog("recipes.begin", yes="recipes.key.begin", recipe=self.say(entry.recipe.title))
        if await self.app.push_screen_wait(question):
            await self._start(entry)

    async def _start(self, entry: _Entry) -> None:
        def start() -> Book:
            book = entry.book or begin(entry.recipe, entry.name)
            start_detached(book)
            return book

        try:
            book = await asyncio.to_thread(start)
        except UserError as error:
            self.app.tell(error.text, severity="error")
            return
        self.app.tell(self.t("recipes.started", id=book.id))

    async def action_go_on(self) -> None:
        """Go on with it where it stopped."""
        entry = self._current
        if entry is not None and entry.book is not None:
            await self._start(entry)

    async def action_run(self) -> None:
        """Open the newest run of the recipe."""
        entry = self._current
        if entry is None or entry.book is None or not entry.book.runs:
            self.app.tell(self.t("recipes.no_run"))
            return
        try:
            directory = await asyncio.to_thread(find_run, list(entry.book.runs.values())[-1])
        except UserError as error:
            self.app.tell(error.text, severity="error")
            return
        await self.app.show_run(directory)

    def action_report(self) -> None:
        """Read the report."""
        entry = self._current
        if entry is not None and entry.book is not None:
            self.app.push_screen(ReportScreen(Path(entry.book.directory)))
