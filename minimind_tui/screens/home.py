"""The first screen: one prominent action, three paths, the lessons of the chosen one, the runs, and the chat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from minimind.figures import number, percent, rough_duration
from minimind.safe_text import clean_line
from minimind_tui.rows import cut, fit, width_of
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.card import Card
from minimind_tui.widgets.list_table import Column, ListTable, TableRow
from minimind_tui.widgets.painted import Row
from minimind_tui.widgets.phrase import Phrase

if TYPE_CHECKING:
    # The course and the runs are read after the first paint; importing what reads them would delay it.
    from lessons.lesson import LearningPath, Lesson, Step
    from minimind_tui.app import MiniMindApp
    from minimind_tui.overview import Course
    from minimind_tui.supervisor import RunList, RunSummary

_POLL_SECONDS = 1.0
_FIRST_MODEL = "nano"
_MOST_PATHS = 3

_LESSON_COLUMNS = (
    Column("home.column.lesson", 0),
    Column("home.column.minutes", 8, right=True),
    Column("home.column.done", 5, right=True),
)
_RUN_COLUMNS = (
    Column("home.column.run", 0),
    Column("home.column.progress", 5, right=True),
    Column("home.column.loss", 6, right=True),
    Column("home.column.age", 9, right=True, appears_at=56),
)


class HomeList(ListTable):
    """A table that lets go of the cursor at its ends."""

    def action_move(self, rows: int) -> None:
        """Move, or leave to the neighbour in that direction."""
        before = self.current
        super().action_move(rows)
        if abs(rows) == 1 and self.current == before and isinstance(self.screen, HomeScreen):
            self.screen.action_walk("down" if rows > 0 else "up")


class HomeScreen(MiniMindScreen):
    """Where one starts, and comes back to."""

    TITLE_KEY = "home.title"
    DEFAULT_CSS = """
    HomeScreen #tagline { height: 1; padding: 0 2; color: $text-muted; }
    HomeScreen #paths { height: 4; }
    HomeScreen.-tall #paths { height: 6; }
    HomeScreen.-tall #paths Card { height: 6; }
    HomeScreen.-tall #tagline { height: 3; padding: 1 2; }
    HomeScreen #columns { height: 1fr; }
    HomeScreen.-tall #columns { padding: 1 0 0 0; }
    HomeScreen #columns > Vertical { width: 1fr; }
    HomeScreen #left { padding: 0 1 0 0; }
    HomeScreen #about { height: 1; padding: 0 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis; }
    HomeScreen.-tall #lessons { min-height: 8; }
    HomeScreen.-tall #about { height: auto; max-height: 14; text-wrap: wrap; margin: 1 0 0 0; }
    HomeScreen #no-runs { height: auto; padding: 0 1; margin: 0 0 1 0; color: $text-muted; display: none; }
    HomeScreen.-no-runs #no-runs { display: block; }
    HomeScreen.-no-runs #runs { display: none; }
    """
    AUTO_FOCUS = "#train"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "train", "home.key.train"),
        Binding("n", "next", "home.key.next"),
        Binding("v", "app.show('review')", "home.key.review", show=False),
        Binding("m", "app.show('mine')", "home.key.mine", show=False),
        Binding("e", "app.show('paths')", "home.key.paths", show=False),
        Binding("y", "known", "home.key.known", show=False),
        *(Binding(key, f"walk('{key}')", f"home.key.{key}", show=False) for key in ("up", "down", "left", "right")),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._course: Course | None = None
        self._path = 1
        self._list: RunList | None = None
        self._runs: list[RunSummary] = []
        self._has_looked = False

    # --- what it is made of -----------------------------------------------------------------------------------------

    def compose_body(self) -> ComposeResult:
        """From the top: tagline, the action, the paths, and lessons beside runs and chat."""
        yield Phrase("home.tagline", id="tagline")
        yield Card(id="train", classes="-prominent")
        with Horizontal(id="paths"):
            for number_ in range(_MOST_PATHS):
                yield Card(id=f"path-{number_}")
        with Horizontal(id="columns"):
            with Vertical(id="left"):
                yield HomeList(_LESSON_COLUMNS, id="lessons")
                yield Static(markup=False, id="about")
            with Vertical():
                yield HomeList(_RUN_COLUMNS, id="runs")
                yield Phrase("home.no_runs", id="no-runs")
                yield Card(id="chat")

    def on_mount(self) -> None:
        """Show what is known without reading anything; the rest follows after the first paint."""
        self.relabel()

    def on_resize(self, event: events.Resize) -> None:
        """More air where there is room."""
        super().on_resize(event)
        self.set_class(event.size.height >= 30, "-tall")
        self.relabel()

    def on_screen_resume(self, event: events.ScreenResume) -> None:
        """Read progress again and follow the runs."""
        super().on_screen_resume(event)
        self._follow()

    def on_screen_suspend(self) -> None:
        """Nobody looks: stop reading."""
        self.workers.cancel_group(self, "follow")

    def on_unmount(self) -> None:
        """Let go of the files."""
        if self._list is not None:
            self._list.close()

    @work(group="follow", exclusive=True)
    async def _follow(self) -> None:
        course, runs = await asyncio.to_thread(_begin, self.app)
        if not self.is_running:  # the app was left while the thread was reading
            return
        self._course, self._list = course, self._list or runs
        self._show_course()
        following = course.next_lesson(self._path)
        if following is not None:
            self.query_one("#lessons", HomeList).go_to(following)
        while True:
            self._runs = await asyncio.to_thread(self._list.poll)
            if not self.is_running:
                return
            self._has_looked = True
            self._show_runs()
            await asyncio.sleep(_POLL_SECONDS)

    @property
    def _paths(self) -> Sequence[LearningPath]:
        return self._course.paths if self._course is not None else ()

    # --- showing ----------------------------------------------------------------------------------------------------

    def relabel(self) -> None:
        """Speak again."""
        self._show_course()
        self._show_runs()
        arrow = ">" if self.ascii_only else "▸"
        title: Row = [(f"{arrow} {self.t('home.chat.title')}", "title")]
        self.query_one("#chat", Card).show_rows([title, [(self.t("home.chat.about"), "quiet")]])

    def _show_course(self) -> None:
        due = self._course.due() if self._course is not None else 0
        tagline = self.query_one("#tagline", Phrase)
        if due:
            tagline.set("home.due", count=due)
        else:
            tagline.set("home.tagline")
        for place in range(_MOST_PATHS):
            card = self.query_one(f"#path-{place}", Card)
            card.show_rows(self._path_rows(place, card.size.width) if place < len(self._paths) else [])
        self._show_lessons()

    def _path_rows(self, place: int, width: int) -> list[Row]:
        assert self._course is not None
        path = self._paths[place]
        takes = self._takes(path.minutes)
        mark = ("* " if self.ascii_only else "● ") if place == self._path else ""
        title = mark + clean_line(self.say(path.title))
        done, share = self._course.path_done(path)
        count = f" {done}/{len(path.steps)}"
        cells = max(4, width - len(count))
        full = round(share * cells)
        bar, rest = ("#", ".") if self.ascii_only else ("━", "─")
        head = fit(title, max(0, width - width_of(takes) - 1))
        rows: list[Row] = [
            [(head, "title"), (f" {takes}", "quiet")],
            [(bar * full, "bar"), (rest * (cells - full), "rest"), (count, "quiet")],
        ]
        for line in _wrap(clean_line(self.say(path.about)), width, 2):
            rows.append([(line, "quiet")])
        return rows

    def _takes(self, minutes: int) -> str:
        return self.t("home.minutes", n=minutes) if minutes <= 90 else self.t("home.hours", n=round(minutes / 60, 1))

    def _steps(self) -> Sequence[Step]:
        return self._paths[self._path].steps if self._path < len(self._paths) else ()

    def _show_lessons(self) -> None:
        _fill(self.query_one("#lessons", HomeList), [self._lesson_row(step) for step in self._steps()])
        self._show_about()

    def _lesson_row(self, step: Step) -> TableRow:
        takes = self._takes(step.minutes)
        marks = ".o~*" if self.ascii_only else "·○◐●"
        if step.lesson is None or self._course is None:
            return TableRow(step.slug, (f"{marks[0]} {clean_line(self.say(step.title))}", takes, ""), "quiet")
        path = self._paths[self._path]
        share = self._course.progress.share_on(path, step.lesson)
        is_done = self._course.progress.is_done_on(path, step.lesson)
        mark = marks[3] if is_done else marks[2] if share else marks[1]
        tone = "good" if is_done else "busy" if share else "plain"
        done = percent(share) if share else ""
        return TableRow(step.slug, (f"{mark} {clean_line(self.say(step.title))}", takes, done), tone)

    @on(ListTable.Moved, "#lessons")
    def _show_about(self) -> None:
        """The question of the lesson under the cursor; where there is room, also what it is made of."""
        slug = self.query_one("#lessons", HomeList).current
        step = next((step for step in self._steps() if step.slug == slug), None)
        lines = [clean_line(self.say(step.question))] if step else []
        if step is not None and step.lesson is not None and self.has_class("-tall"):
            lines += ["", *self._contents(step.lesson)]
        words = "\n".join(lines)
        about = self.query_one("#about", Static)
        if str(about.content) != words:
            about.update(Content(words))

    def _contents(self, lesson: Lesson) -> list[str]:
        """What a lesson has, and its pages, the read ones marked."""
        assert self._course is not None
        counts = {"experiments": lesson.experiments, "questions": lesson.questions, "exercises": lesson.exercises}
        has = [self.t(f"home.has.{name}", n=len(items)) for name, items in counts.items() if items]
        read = self._course.pages_read(lesson.slug)
        done, open_ = ("+", "-") if self.ascii_only else ("✓", "·")
        pages = [
            f"{done if page.id in read else open_} {clean_line(page.title)}" for page in lesson.pages[self.language]
        ]
        return [self.t("home.has.separator").join(has), *pages]

    def _show_runs(self) -> None:
        self.set_class(self._has_looked and not self._runs, "-no-runs")
        now = time.time()
        _fill(self.query_one("#runs", HomeList), [self._run_row(run, now) for run in self._runs])
        live = next((run for run in self._runs if run.status.live), None)
        arrow = ">" if self.ascii_only else "▸"
        if live is not None:
            share = "" if live.share is None else percent(live.share)
            title = self.t("home.train.live", run=live.name or live.id, share=share)
            about = self.t("home.train.live_about")
        elif self._runs:
            title, about = self.t("home.train.again"), self.t("home.train.again_about")
        else:
            title, about = self.t("home.train.first"), self.t("home.train.first_about")
        self.query_one("#train", Card).show_rows([[(f"{arrow} {title}", "title")], [(f"  {about}", "text")]])

    def _run_row(self, run: RunSummary, now: float) -> TableRow:
        from minimind_tui.screens.run_actions import STATE_MARKS

        mark, plain, tone = STATE_MARKS[run.status.state]
        cells = (
            f"{plain if self.ascii_only else mark} {clean_line(run.name or run.id, 100)}",
            "" if run.share is None else percent(run.share),
            "" if run.loss is None else number(run.loss),
            rough_duration(now - run.created, self.language) if run.created else "",
        )
        return TableRow(run.id, cells, tone)

    # --- doing ------------------------------------------------------------------------------------------------------

    async def action_train(self) -> None:
        """Open the form of a new run, filled in for a first model."""
        from minimind.config import train_preset

        await self.app.show_new_run(
            {"objective": "pretrain", "model": _FIRST_MODEL} | train_preset(_FIRST_MODEL, "pretrain")
        )

    @on(Card.Pressed, "#train")
    async def _press_train(self) -> None:
        live = next((run for run in self._runs if run.status.live), None)
        if live is not None:
            await self.app.show_run(live.directory)
        else:
            await self.action_train()

    @on(Card.Pressed, "#chat")
    async def _press_chat(self) -> None:
        await self.app.show_chat()

    @on(Card.Pressed)
    async def _press_path(self, event: Card.Pressed) -> None:
        """Go on along a path: open its next lesson."""
        _, is_path, place_text = (event.card.id or "").partition("path-")
        if is_path:
            await self._go_on(int(place_text))

    async def action_next(self) -> None:
        """Go on along the path whose lessons are listed."""
        await self._go_on(self._path)

    async def _go_on(self, place: int) -> None:
        if self._course is None or place >= len(self._paths):
            return
        path = self._paths[place]
        lesson = self._course.next_lesson(place)
        if lesson is not None:
            await self._open_lesson(lesson, path)
        elif not self._course.progress.is_recapped(path):
            await self.app.show_recap(path.id)
        else:
            self.app.tell(self.t("home.path_done"))

    async def _open_lesson(self, slug: str, path: LearningPath) -> None:
        """Open a lesson; on a path that takes only parts of it, those."""
        if path.is_whole:
            await self.app.show_lesson(slug)
        else:
            await self.app.show_lesson(slug, None, path)

    async def action_known(self) -> None:
        """Show that one knows the lesson under the cursor already."""
        slug = self.query_one("#lessons", HomeList).current
        if any(step.slug == slug and step.lesson is not None for step in self._steps()):
            await self.app.show_test(str(slug))

    @on(ListTable.Chosen, "#lessons")
    async def _choose_lesson(self, event: ListTable.Chosen) -> None:
        step = next((step for step in self._steps() if step.slug == event.row), None)
        if step is None or step.lesson is None:
            self.app.tell(self.t("home.not_written"))
        else:
            await self._open_lesson(step.slug, self._paths[self._path])

    @on(ListTable.Chosen, "#runs")
    async def _choose_run(self, event: ListTable.Chosen) -> None:
        run = next((run for run in self._runs if run.id == event.row), None)
        if run is not None:
            await self.app.show_run(run.directory)

    # --- walking with the arrow keys ----------------------------------------------------------------------------------

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The path that has the focus is the one whose lessons are listed."""
        name = event.widget.id or ""
        if name.startswith("path-") and self._path != int(name[-1]):
            self._path = int(name[-1])
            self._show_course()

    def action_walk(self, direction: str) -> None:
        """Put the focus on the neighbour in that direction, if there is one."""
        here = (self.focused.id if self.focused else None) or "train"
        there = self._neighbour(here, direction)
        if there is not None:
            self.query_one(f"#{there}", Widget).focus()

    def _neighbour(self, here: str, direction: str) -> str | None:
        path = f"path-{self._path}"
        runs = "runs" if self._runs else "chat"
        if here.startswith("path-") and direction in {"left", "right"}:
            place = int(here[-1]) + (1 if direction == "right" else -1)
            return f"path-{place}" if 0 <= place < len(self._paths) else None
        if here.startswith("path-"):
            return {"up": "train", "down": "lessons" if self._steps() else runs}[direction]
        return {
            ("train", "down"): path,
            ("lessons", "up"): path,
            ("lessons", "right"): runs,
            ("runs", "up"): path,
            ("runs", "left"): "lessons",
            ("runs", "down"): "chat",
            ("chat", "up"): runs if self._runs else path,
            ("chat", "left"): "lessons",
        }.get((here, direction))


def _begin(app: MiniMindApp) -> tuple[Course, RunList]:
    """Read the course, and make what lists the runs (in a thread: both import a good deal).

    What is wrong with the files is said from here: reading puts a damaged one aside, so nobody would find it again if
    another screen had been opened in the meantime and the worker that waits for the answer were gone.
    """
    from minimind_tui.overview import Course
    from minimind_tui.supervisor import RunList

    course = Course.read()
    for note in course.notes:
        app.tell(note, severity="warning")
    return course, RunList()


def _fill(table: HomeList, rows: Sequence[TableRow]) -> None:
    """Show these rows, in no more space than they take."""
    height = len(rows) + 1
    if table.styles.max_height is None or table.styles.max_height.value != height:
        table.styles.max_height = height
    table.set_rows(rows)


def _wrap(text: str, width: int, most: int) -> list[str]:
    """`text` in at most `most` lines of `width` cells, the last one cut."""
    lines = [line.plain.rstrip() for line in Content(text).wrap(max(1, width))]
    if len(lines) > most:
        shown = text.index(lines[most - 1], sum(map(len, lines[: most - 1])))
        lines = [*lines[: most - 1], cut(text[shown:], width)]
    return lines
