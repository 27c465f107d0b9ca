"""My MiniMind: every part that one has written, put into one model and trained beside ours."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from lessons.exercise import Exercise
from lessons.lesson import load_lesson, readable_lessons
from lessons.pages import ExerciseBlock
from lessons.part_runner import usable_parts
from lessons.progress import Progress
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean_line
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.list_table import Column, ListTable, TableRow
from minimind_tui.widgets.part_view import PartView

_COLUMNS = (
    Column("mine.column.part", 0),
    Column("mine.column.lesson", 20, appears_at=56),
    Column("mine.column.state", 14),
)


class MineScreen(MiniMindScreen):
    """The parts, those that are written first trained together at a key."""

    TITLE_KEY = "mine.title"
    DEFAULT_CSS = """
    MineScreen #about { height: auto; padding: 0 1; margin: 0 0 1 0; }
    MineScreen #mine { padding: 0 1; scrollbar-gutter: stable; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "run", "mine.key.run"),
        Binding("s", "stop", "lesson.key.stop"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._parts: tuple[tuple[Exercise, Text], ...] = ()
        self._usable: tuple[Exercise, ...] = ()

    def compose_body(self) -> ComposeResult:
        """What this is; the parts; the training."""
        with VerticalScroll(id="mine", can_focus=False):
            yield Static(markup=False, id="about")
            yield ListTable(_COLUMNS, id="parts")
            yield PartView()

    def on_mount(self) -> None:
        """Read the course aside."""
        self.relabel()
        self._read()

    @work(exclusive=True)
    async def _read(self) -> None:
        try:
            lessons, _ = await asyncio.to_thread(readable_lessons)
        except UserError as error:
            self.app.tell(error.text, severity="error")
            return
        progress = await asyncio.to_thread(Progress.load)
        self._usable = usable_parts(lessons, progress)
        self._parts = tuple(
            (exercise, lesson.title) for lesson in lessons for exercise in lesson.exercises if exercise.can_be_installed
        )
        self.relabel()
        self.query_one(ListTable).focus()

    def relabel(self) -> None:
        """Speak again."""
        key = "mine.about" if self._usable else "mine.nothing_yet"
        count = {"written": len(self._usable), "total": len(self._parts)}
        self.query_one("#about", Static).update(Content(self.t(key, **count)))
        table = self.query_one("#parts", ListTable)
        table.styles.height = len(self._parts) + 1
        table.set_rows([self._row(exercise, lesson) for exercise, lesson in self._parts])
        self.refresh_bindings()

    def _row(self, exercise: Exercise, lesson: Text) -> TableRow:
        is_written = exercise in self._usable
        marks = "*." if self.ascii_only else "●○"
        name = f"{marks[not is_written]} {clean_line(self.say(exercise.title))}"
        state = self.t("mine.written" if is_written else "mine.open")
        return TableRow(exercise.name, (name, clean_line(self.say(lesson)), state), "good" if is_written else "plain")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Run what is written; stop what runs."""
        is_running = any(view.is_running for view in self.query(PartView))
        if action == "run":
            return None if is_running or not self._usable else True
        return is_running if action == "stop" else True

    def action_run(self) -> None:
        """Train a small model with every part that is written."""
        view = self.query_one(PartView)
        if self._usable and not view.is_running:
            view.start(self._usable, together=True)
            self.refresh_bindings()
            self.call_after_refresh(view.scroll_visible, animate=False, top=True)

    def action_stop(self) -> None:
        """End the training."""
        self.query_one(PartView).stop()

    @on(PartView.Ended)
    def _ended(self) -> None:
        self.refresh_bindings()
        self.call_after_refresh(self.query_one(PartView).scroll_visible, animate=False, top=True)

    @on(ListTable.Chosen, "#parts")
    def _open(self, event: ListTable.Chosen) -> None:
        """Open the page on which the part is written."""
        exercise = next((exercise for exercise, _ in self._parts if exercise.name == event.row), None)
        if exercise is not None:
            self.app.leave_for_lesson(exercise.lesson, exercise_page(exercise))


def exercise_page(exercise: Exercise) -> str | None:
    """The id of the page of its lesson that holds the exercise."""
    for page in load_lesson(exercise.lesson).pages["en"]:
        if any(isinstance(block, ExerciseBlock) and block.name == exercise.name for block in page.blocks):
            return page.id
    return None
