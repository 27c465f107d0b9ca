"""Spaced review: the cards that are due today, and how well each concept is known."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from lessons import cards
from lessons.cards import DAILY
from lessons.lesson import Lesson, load_glossary, readable_lessons
from lessons.progress import Progress
from lessons.quiz import Answer, Question
from lessons.review import Concept, ReviewItem, concepts, done_today, due_items, keep_answer, next_due, review_items
from minimind.errors import UserError
from minimind.events import Text
from minimind.figures import percent
from minimind.safe_text import clean, clean_line
from minimind_tui.progress_saver import ProgressSaver
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.list_table import Column, ListTable, TableRow
from minimind_tui.widgets.phrase import Phrase
from minimind_tui.widgets.quiz_pane import QuizPane

_COLUMNS = (
    Column("review.column.concept", 0),
    Column("review.column.right", 6, right=True),
    Column("review.column.asked", 10, right=True),
    Column("review.column.recall", 13, right=True, appears_at=56),
)


class ReviewAnswers:
    """The answers of one review: new to this session, kept as reviews of their cards."""

    def __init__(self, items: tuple[ReviewItem, ...], progress: Progress, saver: ProgressSaver) -> None:
        self._items = {item.question.id: item for item in items}
        self._progress, self._saver = progress, saver
        self._given: dict[str, bool] = {}

    def is_right(self, question: Question) -> bool | None:
        """Whether the latest answer of this review was right; None where there is none."""
        return self._given.get(question.id)

    def bind(self, question: Question) -> Question:
        """The question with what it takes from the learner's runs. Raises UserError where they are missing."""
        lesson = self._items[question.id].lesson
        return question.bind(self._progress.lesson(lesson.slug).recordings(lesson))

    def keep(self, question: Question, answer: Answer, *, correct: bool) -> None:
        """Keep an answer as a review of its card."""
        item, retried = self._items[question.id], question.id in self._given
        self._given[question.id] = correct
        keep_answer(self._progress, item, answer, correct=correct, retried=retried)
        self._saver.submit(lambda progress: keep_answer(progress, item, answer, correct=correct, retried=retried))


class ReviewScreen(MiniMindScreen):
    """What is due, then the concepts."""

    TITLE_KEY = "review.title"
    DEFAULT_CSS = """
    ReviewScreen #where { height: 1; padding: 0 1; color: $text-muted; }
    ReviewScreen #review { padding: 0 1; scrollbar-gutter: stable; }
    ReviewScreen #cards, ReviewScreen #said { height: auto; }
    ReviewScreen #said { padding: 0 1; margin: 0 0 1 0; }
    ReviewScreen #heading { height: auto; padding: 0 1; text-style: bold; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("m", "more", "review.key.more")]

    def __init__(self) -> None:
        super().__init__()
        self._lessons: tuple[Lesson, ...] = ()
        self._progress: Progress | None = None
        self._names: dict[str, tuple[Text, str]] = {}
        self._most = DAILY
        self._saver = ProgressSaver(self._not_saved)

    def compose_body(self) -> ComposeResult:
        """How much is due; the cards; the concepts."""
        yield Static(markup=False, id="where")
        with VerticalScroll(id="review", can_focus=False):
            yield Static(markup=False, id="said")
            yield Vertical(id="cards")
            yield Phrase("review.concepts", id="heading")
            yield ListTable(_COLUMNS, id="concepts")

    def on_mount(self) -> None:
        """Read the course and the progress aside."""
        self.relabel()
        self._read()

    def _not_saved(self, problem: Text) -> None:
        self.app.call_later(self.app.tell, problem, severity="error")

    def on_unmount(self) -> None:
        """Wait until everything is saved."""
        self._saver.close()

    @work(exclusive=True)
    async def _read(self) -> None:
        try:
            self._lessons, _ = await asyncio.to_thread(readable_lessons)
            terms = await asyncio.to_thread(load_glossary)
        except UserError as error:
            self.app.tell(error.text, severity="error")
            return
        self._names = {term.id: (term.name, term.lesson) for term in terms.values()}
        self._progress = await asyncio.to_thread(Progress.load)
        await self._ask()

    async def _ask(self) -> None:
        """Begin with what is due."""
        assert self._progress is not None
        place = self.query_one("#cards", Vertical)
        await place.remove_children()
        items = due_items(self._progress, self._lessons, cards.now(), self._most)
        if items:
            answers = ReviewAnswers(items, self._progress, self._saver)
            pane = QuizPane([item.question for item in items], answers)
            await place.mount(pane)
            self.call_after_refresh(pane.focus_question)
        self.relabel()
        if not items:
            self.query_one("#concepts").focus()

    # --- words --------------------------------------------------------------------------------------------------------

    def relabel(self) -> None:
        """Speak again."""
        progress, when = self._progress, cards.now()
        if progress is None:
            self._say(self.t("review.loading"))
            self._show_concepts(())
            return
        items = list(review_items(progress, self._lessons))
        due = due_items(progress, self._lessons, when, self._most)
        where = self.t("review.where", due=len(due), done=done_today(progress, when), total=len(items))
        self.query_one("#where", Static).update(Content(where))
        self._say("" if due or self.query(QuizPane) else self._reason(progress, bool(items)))
        self._show_concepts(concepts(progress, self._lessons, when))
        self.refresh_bindings()

    def _reason(self, progress: Progress, has_cards: bool) -> str:
        """Why nothing is asked."""
        when = cards.now()
        if not has_cards:
            return self.t("review.none_yet")
        if any(item.card.is_due(when) for item in review_items(progress, self._lessons)):
            return self.t("review.enough")
        following = next_due(progress, self._lessons, when)
        assert following is not None
        return self.t("review.nothing_due", when=time.strftime("%Y-%m-%d", following.astimezone().timetuple()))

    def _say(self, words: str) -> None:
        said = self.query_one("#said", Static)
        said.display = bool(words)
        said.update(Content(clean(words)))

    def _show_concepts(self, scores: tuple[Concept, ...]) -> None:
        table = self.query_one("#concepts", ListTable)
        table.display = self.query_one("#heading").display = bool(scores)
        table.styles.height = len(scores) + 1
        table.set_rows([self._row(score) for score in scores])

    def _row(self, score: Concept) -> TableRow:
        known = self._names.get(score.term)
        name = score.term if known is None else clean_line(self.say(known[0]))
        share = score.right / score.asked
        tone = "good" if share == 1 else "bad" if share < 0.5 else "plain"
        cells = (name, percent(share), f"{score.asked}/{score.total}", percent(score.recall))
        return TableRow(score.term, cells, tone)

    # --- doing --------------------------------------------------------------------------------------------------------

    @on(QuizPane.Answered)
    def _answered(self) -> None:
        self.relabel()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """More where more is due than the day's share, and that is done."""
        if action != "more":
            return True
        if self._progress is None or due_items(self._progress, self._lessons, cards.now(), self._most):
            return False
        return any(item.card.is_due(cards.now()) for item in review_items(self._progress, self._lessons))

    async def action_more(self) -> None:
        """As many cards again."""
        self._most += DAILY
        await self._ask()

    @on(ListTable.Chosen, "#concepts")
    def _open_lesson(self, event: ListTable.Chosen) -> None:
        known = self._names.get(event.row)
        if known is not None:
            self.app.leave_for_lesson(known[1])
