"""The end of a short path: a few questions about what one has just seen. The answers become review cards."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from lessons.lesson import LearningPath, Lesson
from lessons.progress import Progress
from lessons.quiz import Answer, Question
from minimind.events import Text
from minimind.safe_text import clean_line
from minimind_tui.overview import Course
from minimind_tui.progress_saver import ProgressSaver
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.quiz_pane import QuizPane


class RecapAnswers:
    """Answers to questions of several lessons, kept in the record of each."""

    def __init__(self, path: LearningPath, progress: Progress, saver: ProgressSaver) -> None:
        self._lessons: dict[str, Lesson] = {question.id: lesson for lesson, question in path.recap_questions()}
        self._progress, self._saver = progress, saver

    def is_right(self, question: Question) -> bool | None:
        """Whether the latest answer was right, here or in the lesson; None where there is none."""
        answered = self._progress.lesson(self._lessons[question.id].slug).answers.get(question.id)
        return None if answered is None else answered.correct

    def bind(self, question: Question) -> Question:
        """The question with what it takes from the learner's runs. Raises UserError where they are missing."""
        lesson = self._lessons[question.id]
        return question.bind(self._progress.lesson(lesson.slug).recordings(lesson))

    def keep(self, question: Question, answer: Answer, *, correct: bool) -> None:
        """Keep an answer in its lesson's record."""
        slug = self._lessons[question.id].slug
        self._progress.lesson(slug).mark_answer(question.id, answer, correct=correct)
        self._saver.submit(lambda progress: progress.lesson(slug).mark_answer(question.id, answer, correct=correct))


class RecapScreen(MiniMindScreen):
    """The questions at the end of the path called `path_id`."""

    TITLE_KEY = "recap.title"
    DEFAULT_CSS = """
    RecapScreen #recap { padding: 0 1; scrollbar-gutter: stable; }
    RecapScreen #about, RecapScreen #outcome { height: auto; padding: 0 1; margin: 0 0 1 0; }
    RecapScreen #questions { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("e", "app.show('paths')", "recap.key.paths")]

    def __init__(self, path_id: str) -> None:
        super().__init__()
        self._path_id = path_id
        self._path: LearningPath | None = None
        self._answers: RecapAnswers | None = None
        self._saver = ProgressSaver(self._not_saved)

    def compose_body(self) -> ComposeResult:
        """What it is, the questions, what came of it."""
        with VerticalScroll(id="recap", can_focus=False):
            yield Static(markup=False, id="about")
            yield Vertical(id="questions")
            yield Static(markup=False, id="outcome")

    def on_mount(self) -> None:
        """Read the course aside."""
        self.relabel()
        self._read()

    def on_unmount(self) -> None:
        """Wait for the answers to be saved."""
        self._saver.close()

    def _not_saved(self, problem: Text) -> None:
        self.app.call_later(self.app.tell, problem, severity="error")

    @work(exclusive=True)
    async def _read(self) -> None:
        course = await asyncio.to_thread(Course.read)
        self._path = next((path for path in course.paths if path.id == self._path_id), None)
        if self._path is not None:
            self._answers = RecapAnswers(self._path, course.progress, self._saver)
            pane = QuizPane([question for _, question in self._path.recap_questions()], self._answers)
            await self.query_one("#questions", Vertical).mount(pane)
            self.call_after_refresh(pane.focus_question)
        self.relabel()

    def title_text(self) -> str:
        """The path's title after the screen's."""
        title = self.t(self.TITLE_KEY)
        return title if self._path is None else f"{title} · {clean_line(self.say(self._path.title))}"

    def relabel(self) -> None:
        """Speak again."""
        questions = self._path.recap_questions() if self._path is not None else ()
        self.query_one("#about", Static).update(Content(self.t("recap.about", total=len(questions))))
        given = [self._answers.is_right(question) for _, question in questions] if self._answers else []
        outcome = self.query_one("#outcome", Static)
        outcome.display = bool(given) and None not in given
        words = self.t("recap.outcome", right=sum(map(bool, given)), total=len(given))
        outcome.update(Content.styled(words, "bold $success"))

    @on(QuizPane.Answered)
    def _answered(self) -> None:
        self.relabel()
        outcome = self.query_one("#outcome", Static)
        if outcome.display:
            self.call_after_refresh(outcome.scroll_visible, animate=False)
