"""The screen of recipes: what can be begun, how far the begun ones are, their runs and reports."""

from __future__ import annotations

import pytest

from minimind.events import Language
from minimind.guides import guide
from minimind.recipe.book import Book, begin
from minimind.recipe.plan import read_recipe, shipped_recipes
from minimind_tui.app import MiniMindApp
from minimind_tui.screens import recipes
from minimind_tui.screens.recipes import RecipesScreen
from minimind_tui.screens.report import ReportScreen
from minimind_tui.screens.run import RunScreen
from minimind_tui.widgets.lesson_markdown import LessonMarkdown
from minimind_tui.widgets.list_table import ListTable
from tests.tui.driving import until, until_shown, until_told
from tests.tui.fake_runs import make_run

NAME = "first-words"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(recipes, "start_detached", lambda book: found.append(book.id))
    return found


def half_done() -> Book:
    """A begun recipe whose first stage is done."""
    book = begin(read_recipe(NAME), NAME)
    run = make_run(steps=20)
    book.note_run("pretrain", run.name)
    book.finish("stage:pretrain", {"seconds": 75.0})
    return book


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50)), ("zh", (60, 16))])
async def test_one_is_begun_after_a_question(language: Language, size: tuple[int, int], started: list[str]) -> None:
    assert NAME in shipped_recipes()
    app = MiniMindApp(language=language)
    async with app.run_test(size=size, notifications=True) as pilot:
        await app.push_screen(RecipesScreen())
        title = read_recipe(NAME).title.of(language)
        await until_shown(pilot, title, "pretrain" if size[1] > 20 else title)
        app.screen.query_one(ListTable).go_to(f"recipe:{NAME}")
        await pilot.press("enter")
        await until_shown(pilot, "开始" if language == "zh" else "Begin")
        await pilot.press("n")
        assert started == []
        await until(pilot, lambda: isinstance(app.screen, RecipesScreen))
        await pilot.press("enter")
        await until_shown(pilot, f"“{title}”")
        await pilot.press("y")
        await until(pilot, lambda: len(started) == 1)
        await until_shown(pilot, started[0][:20])


async def test_a_begun_one_shows_its_steps_and_goes_on(started: list[str]) -> None:
    book = half_done()
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 40)) as pilot:
        await app.push_screen(RecipesScreen())
        await until_shown(pilot, book.id, f"1/{len(book.steps())}", "waits")
        app.screen.query_one(ListTable).go_to(f"book:{book.id}")
        await until_shown(pilot, "✓ pretrain  1 min 15 s", "· evaluation", "· export as hf")
        await pilot.press("g")
        await until(pilot, lambda: started == [book.id])
        await pilot.press("r")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))


async def test_while_one_is_at_work_it_cannot_be_started_again(started: list[str]) -> None:
    book = half_done()
    app = MiniMindApp(language="en")
    with book.cooking():
        async with app.run_test(size=(100, 40)) as pilot:
            await app.push_screen(RecipesScreen())
            await until_shown(pilot, "at work")
            app.screen.query_one(ListTable).go_to(f"book:{book.id}")
            await until_shown(pilot, "▸ chat")
            await pilot.press("g")
            await pilot.pause()
    assert started == []


async def test_the_report_is_read_in_the_language_of_the_window(started: list[str]) -> None:
    book = half_done()
    for step in book.steps():
        book.finish(step, {"seconds": 1.0})
    for language, words in (("en", "What it cost"), ("zh", "花费多少")):
        (book.directory / f"report.{language}.md").write_text(f"# {words}\n\n![x](x.svg)\n\x1b[31m", encoding="utf-8")
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await app.push_screen(RecipesScreen())
        await until_shown(pilot, "done")
        app.screen.query_one(ListTable).go_to(f"book:{book.id}")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, ReportScreen))
        await until_shown(pilot, "What it cost")
        await pilot.press("f8")
        await until_shown(pilot, "花费多少")
        (book.directory / "report.en.md").unlink()
        await pilot.press("f8")
        await until_told(pilot, "cannot be read")
    assert started == []


@pytest.mark.parametrize(("language", "words"), [("en", "Slurm"), ("zh", "Slurm")])
async def test_the_guide_to_clusters_is_read_in_the_app(language: Language, words: str) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=(100, 40)) as pilot:
        await app.action_show("guide")
        await until_shown(pilot, "多块 GPU、多台机器" if language == "zh" else "Several GPUs, several machines")
        text = guide("cluster", language)
        assert words in text
        await until(pilot, lambda: app.screen.query_one(LessonMarkdown).source == text)
