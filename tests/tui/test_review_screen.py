"""The review screen: what is due from home and the menu, answering, retrying, concepts; small terminals, both languages."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lessons import cards
from lessons.cards import DAILY, rated
from lessons.lesson import load_lesson
from lessons.progress import Progress, changing
from minimind.events import Language
from minimind_tui.app import MiniMindApp
from minimind_tui.screens.lesson import LessonScreen
from minimind_tui.screens.review import ReviewScreen
from minimind_tui.widgets.quiz_pane import QuizPane
from tests.tui.driving import until, until_shown

LESSON = load_lesson("normalization")
SINGLE = [question for question in LESSON.questions if question.kind == "single"]


def make_due(count: int) -> None:
    """`count` cards answered right a month ago."""
    past = cards.now() - timedelta(days=30)
    with changing() as progress:
        record = progress.lesson(LESSON.slug)
        for question in LESSON.questions[:count] if count > len(SINGLE) else SINGLE[:count]:
            record.cards[question.id] = rated(None, correct=True, retried=False, when=past)


@pytest.mark.parametrize(
    ("language", "words", "size"), [("en", "No cards yet", (80, 24)), ("zh", "还没有卡片", (60, 16))]
)
async def test_before_the_first_card_it_says_where_they_come_from(
    language: Language, words: str, size: tuple[int, int]
) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await app.push_screen(ReviewScreen())
        await until_shown(pilot, words)


async def test_from_home_a_wrong_card_comes_again_and_both_answers_are_kept() -> None:
    make_due(2)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "Cards due for review: 2. Press v.")
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, ReviewScreen) and len(app.screen.query(QuizPane)) == 1)
        await until_shown(pilot, "Due now: 2", "Done today: 0")
        pane = app.screen.query_one(QuizPane)
        for number in range(2):
            await until(pilot, lambda: app.focused is not None and type(app.focused).__name__ == "ChoiceList")
            question = pane._question
            assert question is not None
            shown = question.shown(pane._seed)
            right = next(place for place, choice in enumerate(shown) if choice.why is None)
            await pilot.press("abcdefgh"[right if number else (right + 1) % len(shown)])
            await until(pilot, lambda: pane._verdict is not None)
            await pilot.press("enter")
            await pilot.pause()
        await until_shown(pilot, "r asks those that were wrong again")
        pane.focus()
        await pilot.press("r")
        await until(pilot, lambda: pane._question is not None)
        question = pane._question
        assert question is not None
        shown = question.shown(pane._seed)
        await pilot.press("abcdefgh"[next(place for place, choice in enumerate(shown) if choice.why is None)])
        await until_shown(pilot, "Due now: 0", "Done today: 2")
    progress = Progress.load()
    assert progress.reviewed == 2
    record = progress.lesson(LESSON.slug)
    assert [record.cards[question.id].right for question in SINGLE[:2]] == [True, True]


async def test_concepts_open_their_lesson_and_a_day_has_its_share() -> None:
    make_due(len(LESSON.questions))
    with changing() as progress:
        progress.reviewed, progress.reviewed_on = DAILY, cards.now().astimezone().date().isoformat()
    app = MiniMindApp(language="zh")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(ReviewScreen())
        await until_shown(pilot, "今天的量已经够了。按 m 再来一些。", "每个概念掌握得怎样")
        screen = app.screen
        assert screen.check_action("more", ()) is True
        await pilot.press("m")
        await until(pilot, lambda: len(screen.query(QuizPane)) == 1)
        assert len(screen.query_one(QuizPane)._questions) == min(DAILY, len(LESSON.questions))
        await pilot.press("f8")
        await until_shown(pilot, f"Done today: {DAILY}")
        screen.query_one("#concepts").focus()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LessonScreen))


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_small_terminal_shows_the_question(language: Language) -> None:
    make_due(1)
    app = MiniMindApp(language=language)
    async with app.run_test(size=(60, 16)) as pilot:
        await app.push_screen(ReviewScreen())
        await until_shown(pilot, SINGLE[0].prompt.of(language)[:8])


async def test_the_menu_leads_there() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("ctrl+p")
        await pilot.press(*"review what")
        await until_shown(pilot, "Review what is due")
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, ReviewScreen))
