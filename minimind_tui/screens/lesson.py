"""A lesson, page by page: prose, experiments that run, code, questions, exercises."""

from __future__ import annotations

from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Markdown, Static

from lessons.glossary import Term
from lessons.lesson import LearningPath, load_glossary, load_lesson
from lessons.page_text import prose, sources_of_numbers
from lessons.pages import (
    TERM_LINK,
    Block,
    CodeBlock,
    DiagramBlock,
    ExerciseBlock,
    FigureBlock,
    MarkdownBlock,
    Page,
    PredictBlock,
    QuizBlock,
    RunBlock,
)
from lessons.recorded import placeholder_names
from minimind.events import Text
from minimind.safe_text import clean_line
from minimind_tui.lesson_record import LessonRecord
from minimind_tui.rows import fit, width_of
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.screens.notebook import NotebookScreen
from minimind_tui.screens.terms import TermsDialog
from minimind_tui.widgets.code_pane import CodePane
from minimind_tui.widgets.diagram_pane import DiagramPane
from minimind_tui.widgets.exercise_pane import ExercisePane
from minimind_tui.widgets.experiment_pane import ExperimentPane
from minimind_tui.widgets.figure_pane import FigurePane
from minimind_tui.widgets.lesson_markdown import LessonMarkdown
from minimind_tui.widgets.list_table import Column, ListTable, TableRow
from minimind_tui.widgets.quiz_pane import LessonAnswers, QuizPane

_WIDE = 116
"""From this width on the contents stand beside the page."""
_PROGRESS_CELLS = 12
_CONTENTS = (Column("lesson.column.part", 6), Column("lesson.column.page", 0))


class PageView(VerticalScroll):
    """The page itself; it has the focus while one reads."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "scroll_down", "lesson.key.down", show=False),
        Binding("k", "scroll_up", "lesson.key.up", show=False),
        Binding("space", "page_down", "lesson.key.page_down", show=False),
    ]


class LessonScreen(MiniMindScreen):
    """The lesson `slug`, at `page` or where the reader stopped. Raises UserError where there is no such lesson.

    As a stop of a `path` that takes only some of its pages, next and previous go through those, and on along the path;
    with any other page (from the contents) it is the whole lesson again.
    """

    DEFAULT_CSS = """
    LessonScreen #where { height: 1; padding: 0 1; color: $text-muted; }
    LessonScreen #body { height: 1fr; }
    LessonScreen #contents { width: 40; display: none; padding: 0 1 0 0; }
    LessonScreen.-wide #contents { display: block; }
    LessonScreen.-contents #contents { display: block; width: 1fr; }
    LessonScreen.-contents #page { display: none; }
    LessonScreen.-wide.-contents #contents { width: 40; }
    LessonScreen.-wide.-contents #page { display: block; }
    LessonScreen #page { width: 1fr; padding: 0 1; scrollbar-gutter: stable; }
    LessonScreen .page-title { text-style: bold; color: $primary; height: auto; padding: 0 1; margin: 0 0 1 0; }
    LessonScreen .page-end { color: $text-muted; height: auto; padding: 0 1; }
    """
    AUTO_FOCUS = "#page"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "here('run')", "lesson.key.run"),
        Binding("z", "here('pause')", "lesson.key.pause"),
        Binding("full_stop", "here('step')", "lesson.key.step"),
        Binding("s", "here('stop')", "lesson.key.stop"),
        Binding("a", "here('anew')", "lesson.key.anew", show=False),
        Binding("b", "here('budget')", "lesson.key.budget", show=False),
        Binding("x", "here('export')", "lesson.key.export", show=False),
        Binding("w", "here('note')", "lesson.key.note", show=False),
        Binding("o", "here('overlay')", "lesson.key.overlay", show=False),
        Binding("n", "turn(1)", "lesson.key.next"),
        Binding("p", "turn(-1)", "lesson.key.previous"),
        Binding("t", "contents", "lesson.key.contents"),
        Binding("g", "terms", "lesson.key.terms"),
        Binding("l", "notebook", "lesson.key.notebook"),
        Binding("m", "bookmark", "lesson.key.bookmark"),
    ]

    def __init__(self, slug: str, page: str | None = None, path: LearningPath | None = None) -> None:
        super().__init__()
        self.lesson = load_lesson(slug)
        self._path = path
        self._glossary = load_glossary()
        self._record = LessonRecord(self.lesson, self._progressed, self._not_saved)
        self._page_id = page or self._first_page()
        self._scroll: dict[str, float] = {}
        self._shown: list[tuple[Block, Widget]] = []
        self._shown_page: Page | None = None

    # --- what it is made of -------------------------------------------------------------------------------------------

    def compose_body(self) -> ComposeResult:
        """Where one is, the contents, the page."""
        yield Static(markup=False, id="where")
        with Horizontal(id="body"):
            yield ListTable(_CONTENTS, id="contents")
            yield PageView(id="page")

    def title_text(self) -> str:
        """The lesson's title."""
        return clean_line(self.say(self.lesson.title))

    async def on_mount(self) -> None:
        """Open the page where the reader stopped, and say what was wrong with the progress file."""
        self.watch(self.query_one("#page", PageView), "scroll_y", self._look_whether_read, init=False)
        await self._open_page()
        for note in self._record.notes:  # after the page: a notice ages while a slow machine builds what is under it
            self.app.tell(note, severity="warning")

    def on_unmount(self) -> None:
        """Wait for the progress to be saved."""
        self._record.close()

    def on_resize(self, event: events.Resize) -> None:
        """The contents beside the page where there is room."""
        super().on_resize(event)
        self.set_class(event.size.width >= _WIDE, "-wide")
        self._show_where()

    def _progressed(self) -> None:
        """Something was read, answered, run or passed."""
        if self._shown_page is not None:
            self._say_end()
            self._fill_again()

    @work(exclusive=True, group="fill")
    async def _fill_again(self) -> None:
        """Numbers and sentences that one's own run has just changed."""
        for block, widget in self._shown:
            if (
                isinstance(block, MarkdownBlock)
                and isinstance(widget, LessonMarkdown)
                and placeholder_names(block.text)
            ):
                await widget.show(self._prose(block))

    def _not_saved(self, problem: Text) -> None:
        # Called on the saving thread, for which the window may be waiting: post, do not wait.
        self.app.call_later(self.app.tell, problem, severity="error")

    @property
    def page(self) -> Page:
        """The page that is open, in the current language."""
        return self.lesson.page(self.language, self._page_id)

    def _first_page(self) -> str:
        """Where to begin: at the place where one stopped, or at the path's first page that was not read."""
        if self._path is None:
            return self._record.now.position
        pages = self._path.page_ids(self.lesson)
        return next((page for page in pages if page not in self._record.now.read), pages[0])

    @property
    def _walked(self) -> LearningPath | None:
        """The path one is on: of which the page that is open is a part."""
        on_path = self._path is not None and self.page.id in self._path.page_ids(self.lesson)
        return self._path if on_path else None

    @property
    def _pages(self) -> tuple[str, ...]:
        """The ids of the pages one goes through."""
        return self.lesson.page_ids() if self._walked is None else self._walked.page_ids(self.lesson)

    @property
    def _place(self) -> int:
        return self._pages.index(self.page.id)

    # --- the page -----------------------------------------------------------------------------------------------------

    async def _open_page(self) -> None:
        """Build the widgets of the current page."""
        page = self.page
        self._page_id = page.id
        self._record.change(lambda now: setattr(now, "position", page.id))
        view = self.query_one("#page", PageView)
        self._shown = []
        self._shown_page = None
        async with self.batch():
            await view.remove_children()
            made: list[Widget] = [Static(markup=False, classes="page-title")]
            predicted = {block.experiment for block in page.blocks if isinstance(block, PredictBlock)}
            for block in page.blocks:
                widget = self._widget(block, predicted)
                if widget is not None:
                    self._shown.append((block, widget))
                    made.append(widget)
            await view.mount(*made, Static(markup=False, classes="page-end"))
        self._shown_page = page
        self._say_frame()
        self.call_after_refresh(view.scroll_to, y=self._scroll.get(page.id, 0), animate=False)
        self.call_after_refresh(self._look_whether_read)

    def _widget(self, block: Block, predicted: set[str]) -> Widget | None:
        """The live pane of a block; a prediction is part of the run that follows it."""
        match block:
            case MarkdownBlock():
                return LessonMarkdown(self._prose(block))
            case RunBlock(experiment=name, values=values):
                predict = name in predicted
                predicted.discard(name)
                return ExperimentPane(name, values, self._record, predict=predict)
            case CodeBlock():
                return CodePane(block)
            case QuizBlock(questions=names):
                return QuizPane(self.lesson.select_questions(names), LessonAnswers(self._record))
            case ExerciseBlock(name=name):
                return ExercisePane(self.lesson.exercise(name), self._record)
            case FigureBlock(name=name):
                return FigurePane(self.lesson.directory, name)
            case DiagramBlock(switches=names):
                return DiagramPane(names, self._record)
            case PredictBlock():
                return None

    def _prose(self, block: MarkdownBlock) -> str:
        return prose(block, self._record.recordings(), self.language)

    async def relabel_page(self) -> None:
        """The same page in the other language; live panes keep what they hold."""
        page = self.page
        blocks = [block for block in page.blocks if not isinstance(block, PredictBlock)]
        if [type(block) for block in blocks] != [type(block) for block, _ in self._shown]:
            await self._open_page()
            return
        self._shown = [(block, widget) for block, (_, widget) in zip(blocks, self._shown, strict=True)]
        for block, widget in self._shown:
            if isinstance(block, MarkdownBlock) and isinstance(widget, LessonMarkdown):
                await widget.update(self._prose(block))
            elif isinstance(block, CodeBlock) and isinstance(widget, CodePane):
                await widget.show_block(block)
        self._shown_page = page
        self._say_frame()

    def relabel(self) -> None:
        """Speak again."""
        if self._shown_page is not None:
            self.run_worker(self.relabel_page(), group="relabel", exclusive=True)

    # --- around it ----------------------------------------------------------------------------------------------------

    def _say_frame(self) -> None:
        """Title, end and contents of the page."""
        page = self.page
        self.query_one(".page-title", Static).update(Content(clean_line(page.title)))
        self._say_end()
        self._show_contents()
        self._show_where()

    def _say_end(self) -> None:
        self.query_one(".page-end", Static).update(Content("\n").join(self._end_lines()))

    def _end_lines(self) -> list[Content]:
        lines = []
        source = sources_of_numbers(self.page, self._record.recordings(), self.language)
        if source:
            lines += [Content.styled(clean_line(source), "italic"), Content("")]
        pages = self._pages
        if self._place + 1 < len(pages):
            following = self.lesson.page(self.language, pages[self._place + 1])
            lines.append(Content(self.t("lesson.end.next", title=clean_line(following.title))))
        elif self._walked is not None:
            key = "recap" if self._walked.steps[-1].slug == self.lesson.slug else "path"
            lines.append(Content(self.t(f"lesson.end.{key}", path=clean_line(self.say(self._walked.title)))))
        else:
            lines.append(Content(self._summary()))
        return lines

    def _summary(self) -> str:
        """What is done of the lesson, from evidence."""
        now = self._record.now
        read = len(set(now.read) & set(self.lesson.page_ids()))
        right = sum(now.answers[q.id].correct for q in self.lesson.questions if q.id in now.answers)
        passed = sum(now.attempt(exercise.name).passed for exercise in self.lesson.exercises)
        return self.t(
            "lesson.end.done" if self._record.is_done else "lesson.end.so_far",
            pages=f"{read}/{len(self.lesson.page_ids())}",
            questions=f"{right}/{len(self.lesson.questions)}",
            exercises=f"{passed}/{len(self.lesson.exercises)}",
        )

    def _show_where(self) -> None:
        if self._shown_page is None:
            return
        pages = self._pages
        width = max(0, self.size.width - 2)
        full = round((self._place + 1) / len(pages) * _PROGRESS_CELLS)
        done, rest = ("#", ".") if self.ascii_only else ("━", "─")
        right = f" {self._place + 1}/{len(pages)} {done * full}{rest * (_PROGRESS_CELLS - full)}"
        dot = " - " if self.ascii_only else " · "
        flag = ("* " if self.ascii_only else "★ ") if self.page.id in self._record.now.bookmarks else ""
        head = self.say(self._walked.title) if self._walked else self.t(f"lesson.part.{self.page.part}")
        left = f"{flag}{clean_line(head)}{dot}{clean_line(self.page.title)}"
        self.query_one("#where", Static).update(Content(fit(left, width - width_of(right)) + right))

    def _show_contents(self) -> None:
        marks = ".*" if self.ascii_only else "·✓"
        rows = []
        part = ""
        for page in self.lesson.pages[self.language]:
            read = page.id in self._record.now.read
            head = self.t(f"lesson.part.{page.part}") if page.part != part else ""
            part = page.part
            tone = "busy" if page.id == self._page_id else "plain"
            rows.append(TableRow(page.id, (head, f"{marks[read]} {clean_line(page.title)}"), tone))
        table = self.query_one("#contents", ListTable)
        table.set_rows(rows)
        table.go_to(self._page_id)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _look_whether_read(self) -> None:
        """A page counts as read when its end was on the screen."""
        view = self.query_one("#page", PageView)
        if self._shown_page is not None and view.max_scroll_y - view.scroll_y <= 1:
            self._mark_read()

    def _mark_read(self) -> None:
        name = self._page_id
        if name not in self._record.now.read:
            self._record.change(lambda now: now.mark_read(name))
            self._show_contents()

    async def _go_to(self, name: str) -> None:
        self._scroll[self._page_id] = self.query_one("#page", PageView).scroll_y
        self._page_id = name
        await self._open_page()
        self.query_one("#page", PageView).focus()

    async def action_turn(self, pages: int) -> None:
        """The next page, or the one before; after the last page, the next lesson."""
        there = self._place + pages
        ids = self._pages
        if pages > 0:
            self._mark_read()
        if 0 <= there < len(ids):
            self._scroll.pop(ids[there], None)
            await self._go_to(ids[there])
        elif there == len(ids):
            self.app.call_later(self.app.show_lesson_after, self.lesson.slug, self._walked)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No page before the first; run and stop what there is to."""
        if action == "here":
            pane = self._pane_in_view()
            return pane is not None and pane.check_action(str(parameters[0]), ()) is True
        if action == "turn" and self._shown_page is not None and parameters:
            there = self._place + int(str(parameters[0]))
            return True if there >= 0 else None
        return True

    def _pane_in_view(self) -> ExperimentPane | None:
        """The experiment that runs, or else the first one that is at least partly on the screen."""
        panes = [widget for _, widget in self._shown if isinstance(widget, ExperimentPane)]
        running = next((pane for pane in panes if pane.is_running), None)
        view = self.query_one("#page", PageView).region
        return running or next((pane for pane in panes if pane.region.overlaps(view)), None)

    async def action_here(self, action: str) -> None:
        """Do it to the experiment that runs, or that is in view."""
        pane = self._pane_in_view()
        if pane is not None:
            await pane.run_action(action)

    def action_notebook(self) -> None:
        """Open the lab notebook of this lesson."""
        self.app.push_screen(NotebookScreen(self.lesson.slug))

    def action_bookmark(self) -> None:
        """Mark this page, or take the mark away; marked pages stand in the search."""
        name = self.page.id
        self._record.change(lambda now: now.toggle_bookmark(name))
        self.app.tell(self.t("lesson.marked" if name in self._record.now.bookmarks else "lesson.unmarked"))
        self._show_where()

    def action_contents(self) -> None:
        """Go to the contents, and back."""
        table, view = self.query_one("#contents", ListTable), self.query_one("#page", PageView)
        if self.focused is table:
            self.remove_class("-contents")
            view.focus()
        else:
            self.add_class("-contents")
            table.focus()

    @on(ListTable.Chosen, "#contents")
    async def _pick_page(self, event: ListTable.Chosen) -> None:
        self.remove_class("-contents")
        await self._go_to(event.row)

    def action_terms(self) -> None:
        """Explain the glossary terms of this page."""
        texts = [block.text for block in self.page.blocks if isinstance(block, MarkdownBlock)]
        names = dict.fromkeys(match["term"] for text in texts for match in TERM_LINK.finditer(text))
        self._explain([self._glossary[name] for name in names])

    @work(exclusive=True, group="terms")
    async def _explain(self, terms: list[Term]) -> None:
        """Explain these; the dialog answers with a lesson to go to."""
        slug = await self.app.push_screen_wait(TermsDialog(terms))
        if slug is not None and slug != self.lesson.slug:
            self.app.leave_for_lesson(slug)

    @on(Markdown.LinkClicked)
    def _follow_link(self, event: Markdown.LinkClicked) -> None:
        term = self._glossary.get(event.href.removeprefix("term:"))
        if term is not None:
            self._explain([term])
