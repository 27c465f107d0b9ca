"""The lesson screen: every page in both languages and sizes, turning, contents, language, progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.widgets import Markdown

from lessons.formula import block_formula
from lessons.lesson import load_glossary
from lessons.progress import Progress
from minimind import paths
from minimind.errors import UserError
from minimind.events import LANGUAGES, Language
from minimind_tui.app import MiniMindApp
from minimind_tui.overview import Course
from minimind_tui.screens.lesson import LessonScreen
from minimind_tui.screens.terms import TermsDialog
from minimind_tui.widgets.code_editor import CodeEditor
from minimind_tui.widgets.list_table import ListTable
from tests.tui.driving import lines_of, text_of, until, until_shown, until_told
from tests.tui.lesson_driving import LESSON, reading

PAGES, QUESTIONS = len(LESSON.page_ids()), len(LESSON.questions)


@pytest.fixture(autouse=True)
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests look at pages; what experiments do is tested elsewhere."""

    def never(name: str) -> None:
        raise ImportError(f"no torch for {name}")

    monkeypatch.setattr("minimind_tui.widgets.experiment_pane.load_experiment", never)


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50))])
async def test_every_page_can_be_read_to_its_end(language: Language, size: tuple[int, int]) -> None:
    async with reading(LESSON.page_ids()[0], language=language, size=size) as reader:
        for number, page in enumerate(LESSON.pages[language], 1):
            await until(reader.pilot, lambda page=page: reader.screen.page.id == page.id)  # type: ignore[misc]
            text = await until_shown(reader.pilot, page.title[:12], f"{number}/{len(LESSON.page_ids())}")
            while True:
                seen = text_of(reader.app)
                assert "{{" not in seen
                assert "[[" not in seen
                text += seen
                await reader.press("pagedown")
                if text_of(reader.app) == seen:
                    break
            assert lines_of(reader.app)
            await reader.press("n")
        read = reader.screen._record.now.read
        assert set(read) == set(LESSON.page_ids())


async def test_before_the_first_page_is_nothing_and_after_the_last_the_next_lesson() -> None:
    async with reading("quiz") as reader:
        await reader.press("p")
        assert reader.screen.page.id == "limits"
        await reader.press("n")
        assert reader.screen.page.id == "quiz"
        following = Course.read().lesson_after("normalization")
        assert following is not None
        await reader.press("n")
        await until(
            reader.pilot, lambda: isinstance(reader.app.screen, LessonScreen) and reader.app.screen is not reader.screen
        )
        assert isinstance(reader.app.screen, LessonScreen)
        assert reader.app.screen.lesson.slug == following
    async with reading("question") as reader:
        assert reader.screen.check_action("turn", (-1,)) is None
        await reader.press("p")
        assert reader.screen.page.id == "question"


async def test_the_position_is_kept_between_starts() -> None:
    async with reading("question") as reader:
        await reader.press("n", "n")
        assert reader.screen.page.id == "cause"
    assert Progress.load().lesson("normalization").position == "cause"
    app = MiniMindApp(language="zh")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_lesson("normalization")
        await until_shown(pilot, "根源在初始化", f"3/{PAGES}")


async def test_a_page_counts_as_read_at_its_end_only() -> None:
    async with reading("limits", size=(80, 24)) as reader:
        assert "limits" not in reader.screen._record.now.read
        await reader.press("end")
        await until(reader.pilot, lambda: "limits" in reader.screen._record.now.read)


async def test_contents_cover_a_narrow_page_and_stand_beside_a_wide_one() -> None:
    async with reading("question", size=(80, 24)) as reader:
        table = reader.screen.query_one("#contents", ListTable)
        assert not table.display
        await reader.press("t")
        text = await until_shown(reader.pilot, "Before or after?", "Why", "What", "How")
        assert "Take two different inputs" not in text
        await reader.press("down", "down", "enter")
        await until(reader.pilot, lambda: reader.screen.page.id == "cause")
        assert not table.display
        await reader.press("t", "t")
        await until_shown(reader.pilot, "It is the initialisation")
    async with reading("question", size=(160, 50)) as reader:
        await until_shown(reader.pilot, "Before or after?", "Take two different inputs")


async def test_resizing_brings_the_contents_and_takes_them_away() -> None:
    async with reading("signal", size=(160, 50)) as reader:
        await until_shown(reader.pilot, "Before or after?")
        await reader.pilot.resize_terminal(80, 24)
        await until(reader.pilot, lambda: "Before or after?" not in text_of(reader.app))
        await until_shown(reader.pilot, "What you saw: the input is gone", f"2/{PAGES}")
        await reader.pilot.resize_terminal(40, 10)
        await until_shown(reader.pilot, "40×10")
        await reader.pilot.resize_terminal(100, 30)
        await until_shown(reader.pilot, "What you saw: the input is gone")


async def test_the_other_language_is_one_key_away_at_the_same_place() -> None:
    async with reading("exercise") as reader:
        editor = reader.screen.query_one(CodeEditor)
        editor.load_text("# mine")
        await reader.press("f8")
        await until_shown(reader.pilot, "自己写一遍", f"{LESSON.page_ids().index('exercise') + 1}/{PAGES}")
        assert reader.screen.query_one(CodeEditor) is editor
        assert editor.text == "# mine"
        await reader.press("f8")
        await until_shown(reader.pilot, "Write it yourself")


async def test_notes_of_the_code_guide_follow_the_language() -> None:
    async with reading("code", size=(120, 60)) as reader:
        await until_shown(reader.pilot, "class RMSNorm(nn.Module):", "the next page shows why", "attention of the norm")
        await reader.press("f8")
        await until_shown(reader.pilot, "class RMSNorm(nn.Module):", "原因见下一页", "这就是 pre-norm")


async def test_terms_of_the_page_are_explained() -> None:
    async with reading("layernorm") as reader:
        await reader.press("g")
        await until(reader.pilot, lambda: isinstance(reader.app.screen, TermsDialog))
        meaning = load_glossary()["layernorm"].meaning
        await until_shown(reader.pilot, "Terms on this page", meaning.en[:40])
        await reader.press("f8")
        await until_shown(reader.pilot, "本页术语", meaning.zh[:12])
        await reader.press("escape")
        assert reader.app.screen is reader.screen
    async with reading("exercise") as reader:
        await reader.press("g")
        await until_shown(reader.pilot, "links to no glossary term")


async def test_a_glossary_link_explains_its_term() -> None:
    async with reading("formula") as reader:
        markdown = reader.screen.query(Markdown).first()
        reader.screen.post_message(Markdown.LinkClicked(markdown, "term:rms"))
        await until_shown(reader.pilot, "root mean square")
        await reader.press("escape")
        reader.screen.post_message(Markdown.LinkClicked(markdown, "https://example.org"))
        await reader.pilot.pause()
        assert reader.app.screen is reader.screen


async def test_numbers_say_where_they_come_from() -> None:
    async with reading("signal", language="zh") as reader:
        await reader.press("end")
        text = await until_shown(reader.pilot, "随课程记录的运行")
        assert "PyTorch" in text


async def test_an_unknown_lesson_is_said() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await app.show_lesson("gravity")
        await until_shown(pilot, "no lesson 'gravity'")


async def test_a_damaged_progress_file_is_kept_and_said(home: Path) -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, LESSON.title.en)  # the home screen has read its own copy
        home.mkdir(exist_ok=True)
        paths.progress().write_text("{", encoding="utf-8")
        await app.show_lesson("normalization")
        await until_told(pilot, "progress.json was damaged")
    assert len(list(home.glob("progress.json.kept-*"))) == 1


async def test_damage_found_by_a_screen_that_is_left_is_still_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    paths.progress().write_text("{", encoding="utf-8")
    left = threading.Event()
    read = Course.read

    def read_slowly() -> Course:
        course = read()
        assert left.wait(30)
        return course

    monkeypatch.setattr(Course, "read", read_slowly)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: list(home.glob("progress.json.kept-*")))
        await app.show_lesson("normalization")
        await until_shown(pilot, f"1/{PAGES}")
        left.set()
        await until_told(pilot, "progress.json was damaged")


async def test_a_notice_stays_as_long_as_it_takes_to_read() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        app.tell("short")
        app.tell("words " * 50, severity="error")
        await until(pilot, lambda: len(app._notifications) == 2)
        short, long = app._notifications
        assert short.timeout < 5
        assert 25 < long.timeout < 30


async def test_progress_that_cannot_be_saved_is_said(home: Path) -> None:
    home.mkdir()
    (home / "progress.json.lock").mkdir()
    async with reading("question") as reader:
        await until_told(reader.pilot, "progress was not saved")


async def test_a_slow_failing_disk_does_not_hold_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def failing() -> Iterator[Progress]:
        time.sleep(0.3)
        raise UserError("the disk is gone", "磁盘没了")
        yield Progress()

    monkeypatch.setattr("minimind_tui.progress_saver.changing", failing)
    began = time.monotonic()
    async with reading("question") as reader:
        await reader.press("n")  # leaves while changes are still being saved
    assert time.monotonic() - began < 30


async def test_the_end_tells_what_is_done() -> None:
    async with reading("quiz") as reader:
        await reader.press("end")
        await until_shown(reader.pilot, f"questions right 0/{QUESTIONS}", f"exercises passed 0/{len(LESSON.exercises)}")

        def finish(now: object) -> None:
            record = reader.screen._record.now
            for page in LESSON.page_ids():
                record.mark_read(page)
            for question in LESSON.questions:
                record.mark_answer(question.id, (), correct=True)
            for exercise in LESSON.exercises:
                record.attempt(exercise.name).passed = True

        reader.screen._record.change(finish)
        await until_shown(reader.pilot, f"Done: pages {PAGES}/{PAGES}, questions right {QUESTIONS}/{QUESTIONS}")


async def test_without_torch_the_page_can_still_be_read() -> None:
    async with reading("question") as reader:
        await reader.press("end")
        await until_shown(reader.pilot, "PyTorch cannot be loaded: no torch for depth_signal")


async def test_ascii_only_pages_hold_no_box_drawing() -> None:
    async with reading("place") as reader:
        reader.app.ascii_only = True
        await reader.pilot.pause()
        await until_shown(reader.pilot, "######......")
        assert "━" not in lines_of(reader.app)[1]


def test_every_formula_of_the_lesson_is_drawn() -> None:
    for language in LANGUAGES:
        text = (LESSON.directory / f"{language}.md").read_text(encoding="utf-8")
        formulas = text.split("$$")[1::2]
        assert formulas
        for formula in formulas:
            rows = block_formula(formula)
            assert len(rows) > 3
            assert not any("\\" in row for row in rows)
