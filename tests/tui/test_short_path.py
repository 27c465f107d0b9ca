"""A path that takes only parts of its lessons: from stop to stop by one key, and the questions at its end."""

from __future__ import annotations

import pytest

from lessons.lesson import LearningPath, load_paths
from lessons.progress import Progress, changing
from minimind.events import Language
from minimind_tui.app import MiniMindApp
from minimind_tui.screens.lesson import LessonScreen
from minimind_tui.screens.paths import PathsScreen
from minimind_tui.screens.recap import RecapScreen
from minimind_tui.widgets.quiz_pane import QuizPane
from tests.tui.driving import until, until_shown


def short_path() -> LearningPath:
    return next(path for path in load_paths() if not path.is_whole)


def test_the_short_path_takes_the_first_part_of_four_lessons() -> None:
    path = short_path()
    assert [step.slug for step in path.steps] == ["start", "normalization", "position", "attention"]
    assert len(path.recap_questions()) == len(path.recap) == 6
    lesson = path.steps[0].lesson
    assert lesson is not None
    pages = path.page_ids(lesson)
    assert pages == lesson.page_ids()[: len(pages)]
    progress = Progress()
    for page in pages:
        assert progress.share_on(path, lesson) < 1
        assert progress.next_lesson(path) == lesson
        progress.lesson(lesson.slug).mark_read(page)
    assert progress.share_on(path, lesson) == 1
    assert progress.is_done_on(path, lesson)
    assert not progress.is_done(lesson)
    following = progress.next_lesson(path)
    assert following is not None
    assert following.slug == "normalization"


async def test_next_leads_along_the_path_to_its_questions() -> None:
    path = short_path()
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_lesson("position", None, path)
        lesson = path.steps[2].lesson
        assert lesson is not None
        for number, page in enumerate(path.page_ids(lesson), 1):
            await until(pilot, lambda page=page: isinstance(app.screen, LessonScreen) and app.screen.page.id == page)
            await until_shown(pilot, f"{number}/{len(path.page_ids(lesson))}", "Taste · ")
            await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, LessonScreen) and app.screen.lesson.slug == "attention")
        screen = app.screen
        assert isinstance(screen, LessonScreen)
        lesson = screen.lesson
        for page in path.page_ids(lesson)[:-1]:
            await until(pilot, lambda page=page: screen.page.id == page and screen._shown_page == screen.page)
            await pilot.press("n")
        await until(pilot, lambda: screen.page.id == path.page_ids(lesson)[-1])
        assert "the questions at the end" in "\n".join(line.plain for line in screen._end_lines())
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, RecapScreen))
    assert set(Progress.load().lesson("attention").read) == set(path.page_ids(lesson))


async def test_another_page_is_the_whole_lesson_again() -> None:
    path = short_path()
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_lesson("start", "formula", path)
        await until_shown(pilot, "What · ", "5/14")


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_the_answers_become_cards_of_their_lessons(language: Language) -> None:
    path = short_path()
    with changing() as progress:
        progress.lesson("start").mark_answer("first_loss_20", ("leak",), correct=False)
    app = MiniMindApp(language=language)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_recap(path.id)
        await until(pilot, lambda: isinstance(app.screen, RecapScreen) and len(app.screen.query(QuizPane)) == 1)
        pane = app.screen.query_one(QuizPane)
        for number in range(6):
            await until(pilot, lambda: pane._question is not None and pane._verdict is None)
            question = pane._question
            assert question is not None
            shown = question.shown(pane._seed)
            right = next(place for place, choice in enumerate(shown) if choice.why is None)
            await until(pilot, lambda: type(app.focused).__name__ == "ChoiceList")
            await pilot.press("abcdefgh"[right if number else (right + 1) % len(shown)])
            await until(pilot, lambda: pane._verdict is not None)
            await pilot.press("enter")
            await pilot.pause()
        await until_shown(pilot, "6 题答对 5 题" if language == "zh" else "5 of 6 right")
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, PathsScreen))
        await until_shown(pilot, "4/4")
    progress = Progress.load()
    assert progress.is_recapped(path)
    assert all(name in progress.lesson(slug).cards for slug, name in path.recap)


async def test_a_walked_path_leads_to_its_questions_from_home() -> None:
    path = short_path()
    with changing() as progress:
        for step in path.steps:
            assert step.lesson is not None
            for page in path.page_ids(step.lesson):
                progress.lesson(step.slug).mark_read(page)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "Taste", "4/4")
        app.screen.query_one("#path-0").focus()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RecapScreen))
