"""The lab notebook on the screen: an entry at a time, notes added, in either language and any size."""

from __future__ import annotations

import pytest

from lessons.notebook import add_entry, notebook_file, read_entries
from lessons.results import Collector, Results
from minimind.events import Language
from minimind_tui.screens.notebook import NotebookScreen
from tests.lessons.results_sample import two_arms
from tests.tui.driving import lines_of, until, until_shown, until_told
from tests.tui.lesson_driving import reading


@pytest.fixture
def notebook() -> None:
    """Two entries."""
    for steps in (50, 20):
        collector = Collector()
        given = two_arms.resolve({"steps": steps})
        collector.add(two_arms.run(given))
        add_entry("normalization", two_arms, Results("two_arms", given, collector.events()), None, "en")


@pytest.mark.usefixtures("notebook")
@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (60, 16))])
async def test_entries_are_read_newest_first(language: Language, size: tuple[int, int]) -> None:
    async with reading("question", language=language, size=size) as reader:
        await reader.press("l")
        await until(reader.pilot, lambda: isinstance(reader.app.screen, NotebookScreen))
        await until_shown(reader.pilot, "2/2 · ", "Which is lower?")
        assert lines_of(reader.app)
        await reader.press("n")
        await until_shown(reader.pilot, "2/2 · ")
        await reader.press("p")
        await until_shown(reader.pilot, "1/2 · ")
        await reader.press("f8")
        await until_shown(reader.pilot, "实验笔记" if language == "en" else "Lab notebook", "1/2 · ")
        await reader.press("escape")
        await until(reader.pilot, lambda: reader.app.screen is reader.screen)


@pytest.mark.usefixtures("notebook")
async def test_a_note_goes_to_the_entry_that_is_open() -> None:
    async with reading("question", size=(80, 60)) as reader:
        await reader.press("l")
        await until_shown(reader.pilot, "2/2 · ")
        await reader.press("p")
        await until_shown(reader.pilot, "1/2 · ")
        await reader.press("w", "o", "k", "ctrl+r")
        await until(reader.pilot, lambda: read_entries("normalization")[0].text.endswith("> ok"))
        assert "My note" not in read_entries("normalization")[1].text
        await until_shown(reader.pilot, "1/2 · ")
        await reader.press("end")
        await until_shown(reader.pilot, "My note", "ok")


async def test_an_empty_notebook_says_what_it_is_for() -> None:
    async with reading("question", language="zh") as reader:
        await reader.press("l")
        await until_shown(reader.pilot, "还没有内容", "normalization.md")
        await reader.press("w", "p", "n")
        assert isinstance(reader.app.screen, NotebookScreen)


@pytest.mark.usefixtures("notebook")
async def test_a_damaged_notebook_is_told() -> None:
    notebook_file("normalization").write_bytes(b"\xff\xfe\xff")
    async with reading("question", size=(100, 30)) as reader:
        await reader.press("l")
        await until_told(reader.pilot, "the notebook cannot be read")
