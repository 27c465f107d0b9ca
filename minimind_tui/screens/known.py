"""Showing that one knows a lesson already: one exercise passed, four hard questions right at the first try."""

from __future__ import annotations

import secrets
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from lessons.known import hard_questions, has_passed_one, mark_known
from lessons.lesson import load_lesson
from lessons.quiz import Answer, Question
from minimind.events import Text
from minimind.safe_text import clean_line
from minimind_tui.lesson_record import LessonRecord
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.quiz_pane import LessonAnswers, QuizPane


class FirstTries(LessonAnswers):
    """Answers that are new to this test; kept in the lesson's record like any other."""

    def __init__(self, record: LessonRecord) -> None:
        super().__init__(record)
        self.first: dict[str, bool] = {}
        self._latest: dict[str, bool] = {}

    def is_right(self, question: Question) -> bool | None:
        """Whether the latest answer of this test was right; None where there is none."""
        return self._latest.get(question.id)

    def keep(self, question: Question, answer: Answer, *, correct: bool) -> None:
        """Keep an answer; the first one decides."""
        self.first.setdefault(question.id, correct)
        self._latest[question.id] = correct
        super().keep(question, answer, correct=correct)


class KnownScreen(MiniMindScreen):
    """The test of the lesson `slug`. Raises UserError where there is no such lesson."""

    TITLE_KEY = "known.title"
    DEFAULT_CSS = """
    KnownScreen #test { padding: 0 1; scrollbar-gutter: stable; }
    KnownScreen #terms, KnownScreen #outcome { height: auto; padding: 0 1; margin: 0 0 1 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("o", "read", "known.key.read")]

    def __init__(self, slug: str) -> None:
        super().__init__()
        self.lesson = load_lesson(slug)
        self._record = LessonRecord(self.lesson, lambda: None, self._not_saved)
        self._answers = FirstTries(self._record)
        self._questions = hard_questions(self.lesson, secrets.randbelow(2**31))

    def compose_body(self) -> ComposeResult:
        """What it takes; the questions; what came of it."""
        with VerticalScroll(id="test", can_focus=False):
            yield Static(markup=False, id="terms")
            yield Static(markup=False, id="outcome")
            yield QuizPane(self._questions, self._answers)

    def on_mount(self) -> None:
        """Say what it takes."""
        self.relabel()

    def on_unmount(self) -> None:
        """Wait for the answers to be saved."""
        self._record.close()

    def _not_saved(self, problem: Text) -> None:
        self.app.call_later(self.app.tell, problem, severity="error")

    def title_text(self) -> str:
        """The lesson's title after the screen's."""
        return f"{self.t(self.TITLE_KEY)} · {clean_line(self.say(self.lesson.title))}"

    def relabel(self) -> None:
        """Speak again."""
        right = sum(self._answers.first.values())
        marks = "x+" if self.ascii_only else "○✓"
        passed = has_passed_one(self.lesson, self._record.now)
        lines = [
            self.t("known.about"),
            f"{marks[passed]} {self.t('known.exercise')}",
            f"{marks[right == len(self._questions)]} {self.t('known.questions', right=right, total=len(self._questions))}",
        ]
        self.query_one("#terms", Static).update(Content("\n".join(lines)))
        outcome = self.query_one("#outcome", Static)
        key, style = self._outcome(passed)
        outcome.display = bool(key)
        outcome.update(Content.styled(self.t(key), style) if key else Content(""))

    def _outcome(self, passed: bool) -> tuple[str, str]:
        """What to say of the result so far, and how."""
        first = self._answers.first
        if self._record.now.known:
            return "known.known", "bold $success"
        if not all(first.values()):
            return "known.not_this_time", "bold $warning"
        if len(first) == len(self._questions) and not passed:
            return "known.exercise_missing", "bold $warning"
        return "", ""

    @on(QuizPane.Answered)
    def _answered(self) -> None:
        first = self._answers.first
        is_right = len(first) == len(self._questions) and all(first.values())
        if is_right and has_passed_one(self.lesson, self._record.now):
            self._record.change(lambda now: mark_known(self.lesson, now))
        self.relabel()

    def action_read(self) -> None:
        """Open the lesson."""
        self.app.leave_for_lesson(self.lesson.slug)
