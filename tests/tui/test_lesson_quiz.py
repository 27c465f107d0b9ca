"""The quiz pane: every kind of question by keys, reasons, retrying, and keeping."""

from __future__ import annotations

from textual.widgets import Input

from lessons.progress import Progress
from lessons.quiz import (
    LETTERS,
    ChoiceQuestion,
    ExplainQuestion,
    MatchQuestion,
    NumericQuestion,
    OrderQuestion,
    Question,
    ShapeQuestion,
    SpotQuestion,
)
from minimind_tui.widgets.quiz_pane import QuizPane
from tests.tui.driving import lines_of, until, until_shown
from tests.tui.lesson_driving import LESSON, Reader, reading

COUNT = len(LESSON.questions)


def pane_of(reader: Reader) -> QuizPane:
    return reader.screen.query_one(QuizPane)


def typed_answer(pane: QuizPane, question: Question) -> str:
    """What to type for the right answer."""
    shown = [choice.id for choice in question.shown(pane._seed)]
    if isinstance(question, ExplainQuestion):
        return "it grows"
    if isinstance(question, NumericQuestion):
        bound = pane._answers.bind(question)
        return repr(bound.answer)
    if isinstance(question, ShapeQuestion):
        return " ".join(question.answer)
    if isinstance(question, SpotQuestion):
        return str(question.answer)
    if isinstance(question, OrderQuestion):
        return "".join(LETTERS[shown.index(item.id)] for item in question.items)
    assert isinstance(question, MatchQuestion)
    return "".join(LETTERS[shown.index(pair.right.id)] for pair in question.pairs)


async def answer_rightly(reader: Reader) -> None:
    pane = pane_of(reader)
    question = pane._question
    assert question is not None
    if isinstance(question, ChoiceQuestion):
        shown = [choice.id for choice in question.shown(pane._seed)]
        keys = [LETTERS[shown.index(name)] for name in question.answer]
        await reader.focus("ChoiceList")
        await reader.press(*keys, *(["enter"] if question.kind == "multiple" else []))
    else:
        line = await reader.focus("QuizPane Input")
        line.value = typed_answer(pane, question)
        await reader.press("enter")
    if isinstance(question, ExplainQuestion):
        await until_shown(reader.pilot, "Compare with these points")
        await reader.press("y")


async def answer_wrongly(reader: Reader) -> str:
    """Choose wrongly; returns the reason that should be shown."""
    pane = pane_of(reader)
    question = pane._question
    assert isinstance(question, ChoiceQuestion)
    place, choice = next((i, c) for i, c in enumerate(question.shown(pane._seed)) if c.why is not None)
    await reader.focus("ChoiceList")
    await reader.press(LETTERS[place])
    assert choice.why is not None
    return choice.why.en


async def test_all_questions_can_be_answered_by_keys() -> None:
    async with reading("quiz", size=(100, 40)) as reader:
        pane = pane_of(reader)
        for number in range(COUNT):
            await answer_rightly(reader)
            await until(reader.pilot, lambda: pane._verdict is not None and pane._verdict.correct is True)
            await until_shown(reader.pilot, f"{number + 1} of {COUNT} right")
            assert lines_of(reader.app)
            await reader.press("enter")
        await until_shown(reader.pilot, "All right. r asks them all again")
    answers = Progress.load().lesson("normalization").answers
    assert sum(answered.correct for answered in answers.values()) == COUNT


async def test_a_wrong_choice_says_why_and_comes_again() -> None:
    async with reading("quiz", size=(100, 40)) as reader:
        pane = pane_of(reader)
        first = pane._question
        reason = await answer_wrongly(reader)
        await until_shown(reader.pilot, "✗ Not quite.", reason[:50], f"0 of {COUNT} right")
        before = pane._seed
        del pane._queue[:]
        await reader.press("enter")
        await until_shown(reader.pilot, "That was the last one. r asks those that were wrong again")
        await reader.press("r")
        assert pane._question is first
        assert pane._seed != before
        await answer_rightly(reader)
        await until_shown(reader.pilot, f"1 of {COUNT} right")


async def test_only_open_questions_are_asked_at_the_next_start() -> None:
    async with reading("quiz", size=(100, 40)) as reader:
        await answer_rightly(reader)
        second = LESSON.questions[1].id
    async with reading("quiz", size=(100, 40), language="zh") as reader:
        question = pane_of(reader)._question
        assert question is not None
        assert question.id == second
        await until_shown(reader.pilot, f"{COUNT} 题答对 1 题")


async def test_what_cannot_be_an_answer_is_refused() -> None:
    async with reading("quiz", size=(100, 40)) as reader:
        for _ in range(2):
            await answer_rightly(reader)
            await reader.press("enter")
        line = reader.screen.query_one("QuizPane Input", Input)
        line.focus()
        line.value = "about one"
        await reader.press("enter")
        await until_shown(reader.pilot, "'about one' is not an answer: type a number or a formula")
        line.value = "0.6"
        await reader.press("enter")
        await until_shown(reader.pilot, "√(sum of squares)", "Answer: 1.20")


async def test_a_click_answers() -> None:
    async with reading("quiz", size=(100, 40)) as reader:
        pane = pane_of(reader)
        await reader.pilot.pause()
        item = reader.screen.query("ChoiceList .choice-words").first()
        assert await reader.pilot.click(item)
        await until(reader.pilot, lambda: pane._verdict is not None)


async def test_an_honest_miss_counts_as_wrong() -> None:
    async with reading("quiz", size=(100, 40)) as reader:
        pane = pane_of(reader)
        pane._queue[:] = [question for question in LESSON.questions if isinstance(question, ExplainQuestion)]
        await pane._ask()
        line = await reader.focus("QuizPane Input")
        line.value = "no idea"
        await reader.press("enter")
        await until_shown(reader.pilot, "Compare with these points")
        await reader.press("enter")
        assert pane._question is not None
        await reader.press("x")
        await until_shown(reader.pilot, "✗ Not quite.")
    assert Progress.load().lesson("normalization").answers["final_norm"].correct is False
