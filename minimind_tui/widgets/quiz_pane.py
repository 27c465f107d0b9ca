"""Questions one after the other: choose or type, see why, go on; at the end, those that were wrong come again."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import ClassVar, Protocol

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from lessons.quiz import (
    LETTERS,
    Answer,
    Choice,
    ChoiceQuestion,
    ExplainQuestion,
    MatchQuestion,
    MultipleQuestion,
    Question,
    Verdict,
)
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean
from minimind_tui.lesson_record import LessonRecord
from minimind_tui.speech import Speaker
from minimind_tui.widgets.choice_list import ChoiceList, Mark
from minimind_tui.widgets.phrase import Phrase


class AnswerKeeper(Protocol):
    """Where a pane's answers go."""

    def is_right(self, question: Question) -> bool | None:
        """Whether the latest answer was right; None where there is none."""

    def bind(self, question: Question) -> Question:
        """The question with what it takes from the learner's runs. Raises UserError where they are missing."""

    def keep(self, question: Question, answer: Answer, *, correct: bool) -> None:
        """Keep an answer."""


class LessonAnswers:
    """The answers of a lesson."""

    def __init__(self, record: LessonRecord) -> None:
        self._record = record

    def is_right(self, question: Question) -> bool | None:
        """Whether the latest answer was right; None where there is none."""
        answered = self._record.now.answers.get(question.id)
        return None if answered is None else answered.correct

    def bind(self, question: Question) -> Question:
        """The question with what it takes from the learner's runs. Raises UserError where they are missing."""
        return question.bind(self._record.recordings())

    def keep(self, question: Question, answer: Answer, *, correct: bool) -> None:
        """Keep an answer in the lesson's record."""
        self._record.change(lambda now: now.mark_answer(question.id, answer, correct=correct))


class QuizPane(Speaker, Vertical, can_focus=True):
    """The questions of a page. Answers are kept; those already right are not asked again until all are retried."""

    DEFAULT_CSS = """
    QuizPane { height: auto; border: round $rule; padding: 0 1; margin: 0 0 1 0; }
    QuizPane:focus, QuizPane:focus-within { border: round $primary; }
    QuizPane #question { height: auto; }
    QuizPane .dots { height: auto; color: $text-muted; }
    QuizPane .prompt { height: auto; text-style: bold; margin: 1 0; }
    QuizPane .code { height: auto; background: $surface; padding: 0 1; margin: 0 0 1 0; text-wrap: nowrap; }
    QuizPane .shown { height: auto; }
    QuizPane .how { height: auto; color: $text-muted; margin: 1 0 0 0; }
    QuizPane Input { background: $surface; border: none; height: 1; padding: 0 1; }
    QuizPane Input:focus { background: $panel; }
    QuizPane .verdict { height: auto; margin: 1 0 0 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "next", "lesson.key.next_question"),
        Binding("r", "retry", "lesson.key.retry"),
        Binding("y", "judge(True)", "lesson.key.said_it"),
        Binding("x", "judge(False)", "lesson.key.missed_it"),
    ]

    class Answered(Message):
        """A question was answered and judged; `is_last`: none is left to ask."""

        def __init__(self, question: Question, correct: bool, is_last: bool) -> None:
            super().__init__()
            self.question, self.correct, self.is_last = question, correct, is_last

    def __init__(self, questions: Sequence[Question], answers: AnswerKeeper, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._questions = tuple(questions)
        self._answers = answers
        self._seed = secrets.randbelow(2**31)
        self._queue = [question for question in self._questions if not self._is_right(question)]
        self._question: Question | None = None
        self._answer: Answer = ()
        self._verdict: Verdict | None = None
        self._problem: Text | None = None

    def focus_question(self) -> None:
        """Put the focus where the open question is answered."""
        for widget in self.query("ChoiceList, Input"):
            widget.focus()
            return

    def compose(self) -> ComposeResult:
        """Where one is, the question, its choices or a line to type on, the verdict."""
        yield Static(markup=False, classes="dots")
        yield Vertical(id="question")
        yield Static(markup=False, classes="how")
        yield Static(markup=False, classes="verdict")

    async def on_mount(self) -> None:
        """Ask the first open question."""
        await self._ask(focus=False)

    def _is_right(self, question: Question) -> bool:
        return self._answers.is_right(question) is True

    # --- asking -------------------------------------------------------------------------------------------------------

    async def _ask(self, *, focus: bool = True) -> None:
        """Show the next question of the queue, or the total."""
        self._answer, self._verdict, self._problem = (), None, None
        self._question = self._bound(self._queue[0]) if self._queue else None
        place = self.query_one("#question", Vertical)
        await place.remove_children()
        if self._question is not None:
            await place.mount(*self._widgets(self._question))
        self.relabel()
        if focus:
            target = next(iter(place.query("ChoiceList, Input")), self)
            target.focus()
            self.scroll_visible(animate=False, top=True)

    def _bound(self, question: Question) -> Question:
        try:
            return self._answers.bind(question)
        except UserError as error:
            self._problem = error.text
            return question

    def _widgets(self, question: Question) -> list[Widget]:
        made: list[Widget] = [Phrase(question.prompt, classes="prompt")]
        if question.code:
            made.append(Static(Content(_numbered(question)), markup=False, classes="code"))
        choices = question.shown(self._seed)
        if isinstance(question, ChoiceQuestion):
            sentences = [choice.text for choice in choices]
            made.append(ChoiceList(sentences, multiple=isinstance(question, MultipleQuestion)))
            return made
        if choices:
            made.append(Phrase(_listed(question, choices), classes="shown"))
        line = Input(select_on_focus=False)
        line.cursor_blink = False
        return [*made, line]

    def relabel(self) -> None:
        """Speak again (choices and prompts look after themselves)."""
        done = sum(self._is_right(question) for question in self._questions)
        marks = Content.assemble(*(self._dot(question) for question in self._questions))
        total = self.t("lesson.quiz.score", right=done, total=len(self._questions))
        self.query_one(".dots", Static).update(Content.assemble(marks, f"   {total}"))
        self.can_focus = self._question is None or self._verdict is not None
        how = self.query_one(".how", Static)
        how.display = self._verdict is None
        how.update(Content(clean(self._how())))
        verdict = self.query_one(".verdict", Static)
        verdict.display = self._verdict is not None
        verdict.update(self._verdict_text())
        self.refresh_bindings()

    def _dot(self, question: Question) -> tuple[str, str]:
        right = self._answers.is_right(question)
        here = self._question is not None and question.id == self._question.id
        if here and self._verdict is None:
            return ("> " if self.ascii_only else "▸ ", "bold $primary")
        if right is None:
            return (". " if self.ascii_only else "· ", "$text-muted")
        if right:
            return ("+ " if self.ascii_only else "✓ ", "$success")
        return ("x " if self.ascii_only else "✗ ", "$error")

    def _how(self) -> str:
        if self._problem is not None:
            return self.say(self._problem)
        if self._question is not None:
            return self.t("lesson.quiz.how", how=self.say(self._question.how))
        wrong = any(not self._is_right(question) for question in self._questions)
        return self.t("lesson.quiz.some_wrong" if wrong else "lesson.quiz.all_right")

    # --- answering ----------------------------------------------------------------------------------------------------

    @on(ChoiceList.Chosen)
    def _chosen(self, event: ChoiceList.Chosen) -> None:
        event.stop()
        question = self._question
        if question is None:
            return
        shown = question.shown(self._seed)
        self._judge(tuple(sorted(shown[place].id for place in event.picked)))
        event.choices.reveal(self._marks(question, shown))
        self.focus()

    def _marks(self, question: Question, shown: Sequence[Choice]) -> dict[int, Mark]:
        right = question.answer if isinstance(question, ChoiceQuestion) else frozenset()
        marks: dict[int, Mark] = {}
        for place, choice in enumerate(shown):
            if choice.id in right:
                marks[place] = "right"
            elif choice.id in self._answer:
                marks[place] = "wrong"
        return marks

    @on(Input.Submitted)
    def _typed(self, event: Input.Submitted) -> None:
        event.stop()
        if self._question is None or self._verdict is not None:
            return
        try:
            answer = self._bound(self._question).parse(event.value, self._seed)
        except UserError as error:
            self._problem = error.text
            self.relabel()
            return
        event.input.disabled = True
        self._judge(answer)
        self.focus()

    def _judge(self, answer: Answer) -> None:
        question = self._question
        if question is None:
            return
        self._answer, self._problem = answer, None
        self._verdict = question.check(answer)
        if self._verdict.correct is not None:
            self._keep(self._verdict.correct)
        self.relabel()
        self.call_after_refresh(self.query_one(".verdict").scroll_visible, animate=False)

    def _keep(self, correct: bool) -> None:
        question, answer = self._question, self._answer
        if question is not None:
            self._answers.keep(question, answer, correct=correct)
            self._queue = [item for item in self._queue if item.id != question.id]
            self.post_message(self.Answered(question, correct, not self._queue))

    def _verdict_text(self) -> Content:
        verdict, question = self._verdict, self._question
        if verdict is None or question is None:
            return Content("")
        if verdict.correct is None:
            points = [Content(f"  - {clean(self.say(point))}") for point in verdict.rubric]
            return Content("\n").join([Content.styled(self.t("lesson.quiz.rubric"), "bold"), *points])
        mark = ("+" if verdict.correct else "x") if self.ascii_only else ("✓" if verdict.correct else "✗")
        words = self.t("lesson.quiz.right" if verdict.correct else "lesson.quiz.wrong")
        lines = [Content.styled(f"{mark} {words}", "bold $success" if verdict.correct else "bold $error")]
        lines += [Content(clean(self.say(reason))) for reason in verdict.reasons]
        if not verdict.correct and not isinstance(question, (ChoiceQuestion, ExplainQuestion)):
            lines.append(Content(self.t("lesson.quiz.expected", answer=self.say(verdict.expected))))
        lines.append(Content.styled(clean(self.say(verdict.explanation)), "$text-muted"))
        return Content("\n").join(lines)

    # --- keys ---------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """What can be done depends on whether the question is open, judged, or the last one."""
        if action == "judge":
            return self._verdict is not None and self._verdict.correct is None
        if action == "next":
            return self._verdict is not None and self._verdict.correct is not None
        if action == "retry":
            return self._question is None
        return True

    def action_judge(self, correct: bool) -> None:
        """Say whether the explanation had all the points."""
        verdict = self._verdict
        if verdict is not None:
            self._keep(correct)
            self._verdict = Verdict(correct, verdict.expected, verdict.explanation)
            self.relabel()

    async def action_next(self) -> None:
        """The next question."""
        await self._ask()

    async def action_retry(self) -> None:
        """Ask the wrong ones again, or all where there are none, with the choices in another order."""
        self._seed = secrets.randbelow(2**31)
        self._queue = [question for question in self._questions if not self._is_right(question)]
        self._queue = self._queue or list(self._questions)
        await self._ask()


def _numbered(question: Question) -> str:
    lines = question.code.splitlines()
    if len(lines) == 1:
        return lines[0]
    return "\n".join(f"{number:>2}  {line}" for number, line in enumerate(lines, 1))


def _listed(question: Question, choices: Sequence[Choice]) -> Text:
    """Items to order, or the two sides of a match, under numbers and letters."""
    lines: dict[str, list[str]] = {"en": [], "zh": []}
    if isinstance(question, MatchQuestion):
        for number, pair in enumerate(question.pairs, 1):
            lines["en"].append(f"  {number}  {pair.left.en}")
            lines["zh"].append(f"  {number}  {pair.left.zh}")
        for language in lines:
            lines[language].append("")
    for letter, choice in zip(LETTERS, choices, strict=False):
        lines["en"].append(f"  {letter}  {choice.text.en}")
        lines["zh"].append(f"  {letter}  {choice.text.zh}")
    return Text("\n".join(lines["en"]), "\n".join(lines["zh"]))
