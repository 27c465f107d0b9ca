"""Search, bookmarks, paths and evidence, showing that one knows a lesson, my MiniMind: both languages, small terminals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from lessons.glossary import Term
from lessons.lesson import load_lesson
from lessons.part_runner import AGREE, SPEED
from lessons.progress import Progress, changing
from minimind.events import Claim, Event, Language, Scalars, Table, Text
from minimind_tui.app import MiniMindApp
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.screens.known import KnownScreen
from minimind_tui.screens.lesson import LessonScreen
from minimind_tui.screens.mine import MineScreen
from minimind_tui.screens.paths import PathsScreen
from minimind_tui.screens.review import ReviewScreen
from minimind_tui.screens.search import SearchScreen
from minimind_tui.screens.terms import TermsDialog
from minimind_tui.widgets.exercise_pane import ExercisePane
from minimind_tui.widgets.quiz_pane import QuizPane
from tests.tui.driving import lines_of, text_of, until, until_shown, until_told
from tests.tui.lesson_driving import LESSON, reading

TRAINED: list[Event] = [
    *(Scalars(step, {"yours": 5.0 - step / 10, "reference": 5.0 - step / 10}, chart="part") for step in range(12)),
    Claim(AGREE, Text("it learns the same", "学到的一样"), {"largest_difference_in_nats": 1e-6}, True),
    Table(SPEED, (Text("arm", "组"),) * 3, (("reference", 8.0, 1.0), ("yours", 10.0, 1.25))),
]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], bool]]:
    """A training that takes no time; what was trained with."""
    asked: list[tuple[list[str], bool]] = []

    def train(exercises: Any, *, together: bool, **_: Any) -> Iterator[Event]:
        asked.append(([exercise.name for exercise in exercises], together))
        yield from TRAINED

    monkeypatch.setattr("minimind_tui.widgets.part_view.train_with_parts", train)
    return asked


@pytest.mark.parametrize(("language", "words", "size"), [("en", "activation", (80, 24)), ("zh", "归一化", (60, 16))])
async def test_words_are_found_and_open_their_page(language: Language, words: str, size: tuple[int, int]) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await pilot.press("slash")
        await until(pilot, lambda: isinstance(app.screen, SearchScreen) and app.screen._lessons)
        screen = app.screen
        assert isinstance(screen, SearchScreen)
        await until_shown(pilot, "Type words" if language == "en" else "输入要找的词")
        screen.query_one("SearchBox").value = words  # type: ignore[attr-defined]
        await until(pilot, lambda: screen._found)
        first = screen._found[0]
        await until_shown(pilot, first.page.title[:10])
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LessonScreen))
        assert isinstance(app.screen, LessonScreen)
        assert (app.screen.lesson.slug, app.screen.page.id) == (first.lesson.slug, first.page.id)


async def test_a_marked_page_stands_in_the_search() -> None:
    async with reading("signal") as reader:
        await reader.press("m")
        await until_told(reader.pilot, "Marked.")
        await until_shown(reader.pilot, "★")
        title = reader.screen.page.title
        await reader.press("slash")
        await until_shown(reader.pilot, "Pages you marked", title)
        await reader.press("f8")
        await until_shown(reader.pilot, "你加了书签的页")
        await reader.press("down", "enter")
        await until(reader.pilot, lambda: isinstance(reader.app.screen, LessonScreen))
        await until_shown(reader.pilot, "★")
        await reader.press("m")
    assert Progress.load().lesson("normalization").bookmarks == []


@pytest.mark.parametrize(("language", "words", "size"), [("en", "6 h in all", (80, 24)), ("zh", "共 6 小时", (60, 16))])
async def test_paths_show_times_and_evidence(language: Language, words: str, size: tuple[int, int]) -> None:
    with changing() as progress:
        progress.lesson("normalization").predictions = {"a": 0, "b": 1, "c": 2}
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, PathsScreen))
        await until_shown(pilot, "✓ ", "3/3")
        text = str(app.screen.query_one("#paths").content)  # type: ignore[attr-defined]
        assert words in text
        await pilot.press("e")
        await until(pilot, lambda: not isinstance(app.screen, PathsScreen))


async def answer(app: MiniMindApp, pilot: Any, *, right: bool) -> None:
    """Answer the question that is open."""
    pane = app.screen.query_one(QuizPane)
    question = pane._question
    assert question is not None
    given = getattr(question, "answer", None)
    if not right:
        pane._judge(("1",) if question.kind in ("numeric", "spot") else ("no such thing",) * 9)
    elif question.kind in ("single", "multiple", "shape"):
        pane._judge(tuple(given))  # type: ignore[arg-type]
    elif question.kind in ("order", "match"):
        pane._judge(tuple(choice.id for choice in question.choices_of()))
    else:
        pane._judge((str(given),))
    await pilot.pause()
    await pane.action_next()
    await pilot.pause()


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_four_right_and_an_exercise_make_a_lesson_known(language: Language) -> None:
    with changing() as progress:
        progress.lesson(LESSON.slug).attempt("rmsnorm").passed = True
    app = MiniMindApp(language=language)
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_test(LESSON.slug)
        await until(pilot, lambda: isinstance(app.screen, KnownScreen) and len(app.screen.query(QuizPane)) == 1)
        for _ in range(4):
            await answer(app, pilot, right=True)
        await until_shown(pilot, "it counts as done" if language == "en" else "已算作学完")
    progress = Progress.load()
    assert progress.is_done(LESSON)
    assert len(progress.lesson(LESSON.slug).cards) == len(LESSON.questions)


async def test_a_wrong_first_try_is_not_enough() -> None:
    with changing() as progress:
        progress.lesson(LESSON.slug).attempt("rmsnorm").passed = True
    app = MiniMindApp(language="en")
    async with app.run_test(size=(60, 16)) as pilot:
        await app.show_test(LESSON.slug)
        await until(pilot, lambda: isinstance(app.screen, KnownScreen) and len(app.screen.query(QuizPane)) == 1)
        await answer(app, pilot, right=False)
        for _ in range(3):
            await answer(app, pilot, right=True)
        pane = app.screen.query_one(QuizPane)
        await pane.action_retry()
        await answer(app, pilot, right=True)
        assert "Not this time" in str(app.screen.query_one("#outcome").content)  # type: ignore[attr-defined]
        assert lines_of(app)
    assert not Progress.load().lesson(LESSON.slug).known


@pytest.mark.parametrize(
    ("language", "words", "size"),
    [("en", "Nothing to put together yet", (80, 24)), ("zh", "还没有可以组装的部件", (60, 16))],
)
async def test_without_a_passed_part_there_is_nothing_to_train(
    language: Language, words: str, size: tuple[int, int]
) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, MineScreen) and app.screen._parts)
        await until_shown(pilot, words)
        assert app.screen.check_action("run", ()) is None
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, LessonScreen))
        assert len(app.screen.query(ExercisePane)) >= 0


async def test_all_passed_parts_are_trained_together(trained: list[tuple[list[str], bool]]) -> None:
    with changing() as progress:
        for exercise in LESSON.exercises:
            progress.lesson(LESSON.slug).attempt(exercise.name).passed = True
            exercise.start()
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 60)) as pilot:
        await app.push_screen(MineScreen())
        await until(pilot, lambda: app.screen._usable)  # type: ignore[attr-defined]
        await pilot.press("r")
        await until_shown(pilot, "The curves agree", "10.0 ms", "it learns the same")
        await pilot.press("f8")
        await until_shown(pilot, "两条曲线一致", "你的")
    assert trained == [([exercise.name for exercise in LESSON.exercises if exercise.can_be_installed], True)]


async def test_my_part_is_used_after_passing_only(trained: list[tuple[list[str], bool]]) -> None:
    async with reading("exercise", size=(100, 60)) as reader:
        pane = await reader.focus("ExercisePane")
        assert pane.check_action("use", ()) is None
        await reader.press("u")
        assert trained == []
    with changing() as progress:
        progress.lesson("normalization").attempt("rmsnorm").passed = True
    async with reading("exercise", size=(100, 60)) as reader:
        await reader.focus("ExercisePane")
        await reader.press("u")
        await until_shown(reader.pilot, "The curves agree: nowhere more than 1e-06 nats apart")
    assert trained == [(["rmsnorm"], False)]


def test_the_lesson_of_the_tests_has_what_they_use() -> None:
    lesson = load_lesson("normalization")
    assert lesson.exercise("rmsnorm").can_be_installed
    assert len(lesson.questions) >= 4


@pytest.mark.parametrize("made", [SearchScreen, PathsScreen, MineScreen, ReviewScreen])
@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_terminal_that_is_too_small_says_so(made: type[MiniMindScreen], language: Language) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=(40, 10)) as pilot:
        await app.push_screen(made())
        await until_shown(pilot, "60×16", "40×10")
        await pilot.resize_terminal(60, 16)
        await until(pilot, lambda: "60×16" not in text_of(app))


@pytest.mark.parametrize(
    ("language", "words", "size"),
    [
        ("en", ("Not to be confused: another", "Explained in: Normalisation"), (80, 24)),
        ("zh", ("别混淆：另一个", "讲解在：归一化"), (60, 16)),
    ],
)
async def test_a_term_shows_its_formula_its_double_and_its_lesson(
    language: Language, words: tuple[str, str], size: tuple[int, int]
) -> None:
    term = Term(
        "a", Text("first", "甲"), Text("meaning", "意思"), "normalization", "y = x / 2", Text("another", "另一个")
    )
    other = Term("b", Text("second", "乙"), Text("meaning", "意思"), "no_such_lesson")
    answers: list[str | None] = []
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await app.push_screen(TermsDialog([term, other]), answers.append)
        await until_shown(pilot, "y = x / 2", *words)
        await pilot.press("o")
        await until(pilot, lambda: answers)
        await app.push_screen(TermsDialog([term, other]), answers.append)
        await pilot.press("down", "o")
        await until(pilot, lambda: len(answers) == 2)
    assert answers == ["normalization", "no_such_lesson"]
