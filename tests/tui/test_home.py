"""The home screen: action, paths, lessons, runs, chat; by keys and by mouse, empty and full."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from lessons.lesson import load_lessons, load_paths
from lessons.progress import Progress as LearningProgress
from minimind import paths
from minimind.events import Language, Progress
from minimind.training.runs import Recorder
from minimind_tui.app import MiniMindApp
from minimind_tui.overview import Course
from minimind_tui.screens.home import HomeScreen
from tests.tui.driving import lines_of, text_of, until, until_shown
from tests.tui.fake_runs import alive, make_run, scalars

WORDS = {
    "en": (
        "Train your first model",
        "About three minutes",
        "No training runs yet",
        "Talk to a model",
        "Lessons",
        "6 h",
    ),
    "zh": ("训练你的第一个模型", "大约三分钟", "还没有训练", "与模型对话", "课程", "6 小时"),
}


def app_that_notes(language: Language = "en") -> tuple[MiniMindApp, list[tuple[str, Any]]]:
    """An app whose doors only note what was asked for."""
    app = MiniMindApp(language=language)
    asked: list[tuple[str, Any]] = []

    def door(name: str) -> Callable[..., Awaitable[None]]:
        async def open_it(argument: Any = None) -> None:
            asked.append((name, argument))

        return open_it

    for name in ("show_lesson", "show_run", "show_new_run", "show_chat"):
        setattr(app, name, door(name))
    return app, asked


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50)), ("zh", (60, 16))])
async def test_a_first_start_shows_all_there_is(language: Language, size: tuple[int, int]) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await until_shown(pilot, *WORDS[language][:2])
        if size != (60, 16):
            titles = [path.title.of(language) for path in load_paths()]
            assert len(titles) == 3
            await until_shown(pilot, *WORDS[language], *titles, load_lessons()[0].title.of(language))


async def test_enter_trains_a_first_model() -> None:
    app, asked = app_that_notes()
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No training runs yet")
        await pilot.press("enter")
        await until(pilot, lambda: asked)
        assert asked[0][0] == "show_new_run"
        assert asked[0][1]["objective"] == "pretrain"
        assert asked[0][1]["model"] == "nano"


async def test_arrow_keys_reach_everything_and_enter_opens_it() -> None:
    app, asked = app_that_notes()
    lesson = load_lessons()[0]
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, lesson.title.en)
        visited = []
        for key in ("down", "left", "right", "right", "down", "right", "left", "home", "up", "up"):
            await pilot.press(key)
            visited.append(app.focused.id if app.focused else None)
        paths_walked = ["path-1", "path-0", "path-1", "path-2"]
        assert visited == [*paths_walked, "lessons", "chat", "lessons", "lessons", "path-2", "train"]
        await pilot.press("down", "enter")
        await until(pilot, lambda: asked)
        assert asked == [("show_lesson", lesson.slug)]
        app.screen.query_one("#chat").focus()
        await pilot.press("enter")
        await until(pilot, lambda: len(asked) == 2)
        assert asked[1] == ("show_chat", None)


async def test_the_list_shows_the_lessons_of_the_path_in_focus() -> None:
    app = MiniMindApp(language="en")
    quick, systematic, mastery = load_paths()
    async with app.run_test(size=(160, 60)) as pilot:
        await until_shown(pilot, *(step.title.en for step in systematic.steps))
        await pilot.press("down", "right")
        await until_shown(pilot, *(step.title.en for step in mastery.steps[:18]))
        await pilot.press("left", "left")
        only_mastery = mastery.steps[-1].title.en
        await until(pilot, lambda: only_mastery not in text_of(app))
        assert all(step.title.en in text_of(app) for step in quick.steps)


async def test_a_planned_lesson_says_that_it_is_not_written() -> None:
    app, asked = app_that_notes()
    async with app.run_test(size=(100, 40), notifications=True) as pilot:
        steps = load_paths()[1].steps
        planned = next((step for step in steps if step.lesson is None), None)
        if planned is None:
            pytest.skip("every lesson is written")
        await until_shown(pilot, planned.title.en)
        table = app.screen.query_one("#lessons")
        table.go_to(planned.slug)  # type: ignore[attr-defined]
        table.focus()
        await pilot.press("enter")
        await until_shown(pilot, "not written yet")
        assert asked == []


async def test_progress_is_shown() -> None:
    lesson = load_lessons()[0]
    progress = LearningProgress()
    for page in lesson.page_ids():
        progress.lesson(lesson.slug).mark_read(page)
    progress.save()
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        text = await until_shown(pilot, lesson.title.en)
        row = next(line for line in text.splitlines() if lesson.title.en in line)
        assert "◐" in row
        assert "%" in row
        assert "━" in "".join(lines_of(app)[6:10])
    course = Course.read()
    assert 0 < course.path_done(course.paths[1])[1] < 1
    assert course.next_lesson(1) == lesson.slug


async def test_runs_are_listed_and_followed() -> None:
    done = make_run(steps=40, verdict={"outcome": "finished"})
    running = make_run(steps=20, name="tonight")
    app, asked = app_that_notes()
    with alive(running):
        async with app.run_test(size=(160, 50)) as pilot:
            await until_shown(pilot, "Training now: tonight", "20 %", "1.300", done.name, "● tonight", "✓")
            recorder = Recorder(running)
            for step in range(21, 61):
                recorder.record(scalars(step))
            recorder.record(Progress(60, 100))
            recorder.close()
            await until_shown(pilot, "60 %", "1.100")
            await pilot.press("enter")
            await until(pilot, lambda: asked)
            assert asked == [("show_run", running)]


async def test_damage_is_said_and_the_rest_goes_on() -> None:
    paths.progress().parent.mkdir(parents=True)
    paths.progress().write_text("{torn", encoding="utf-8")
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await until_shown(pilot, "afresh", "Train your first model", load_lessons()[0].title.en)


async def test_ascii_draws_the_screen_without_other_characters_of_ours() -> None:
    app = MiniMindApp(language="en")
    app.settings.ascii_only = True
    app.set_reactive(MiniMindApp.ascii_only, True)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "> Train your first model", "> Talk to a model", load_lessons()[0].title.en)
        assert isinstance(app.screen, HomeScreen)
        inner = [line.strip("╭╮╰╯│┏┓┗┛┃━─ ") for line in lines_of(app)[1:-1]]
        marks = {character for line in inner for character in line if ord(character) > 127}
        assert marks <= set("╭╮╰╯│┏┓┗┛┃━─…")
