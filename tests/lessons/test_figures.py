"""Figures: there in both languages, shown by a page, no wider than a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from lessons.doctor import examine
from lessons.figures import read_figure
from lessons.lesson import load_glossary, read_lesson
from lessons.page_text import plain_page
from lessons.pages import FigureBlock
from minimind.errors import UserError
from tests.lessons.conftest import edit


@pytest.fixture
def drawn(course: Path) -> Path:
    """The sample lesson with a figure on its first page."""
    folder = course / "sample"
    (folder / "figures").mkdir()
    for language, words in (("en", "input"), ("zh", "输入")):
        (folder / "figures" / f"flow.{language}.txt").write_text(f"\n{words} ─► out  \n\n", encoding="utf-8")
        edit(folder / f"{language}.md", "```predict sample_average", "```figure flow\n```\n\n```predict sample_average")
    return folder


def problems(folder: Path) -> list[str]:
    return [problem.text.en for problem in examine(folder.parent)]


def test_a_figure_is_part_of_the_page(drawn: Path) -> None:
    assert problems(drawn) == []
    lesson = read_lesson(drawn, load_glossary(drawn.parent))
    page = lesson.pages["zh"][0]
    assert FigureBlock("flow", 7) in page.blocks
    assert read_figure(drawn, "flow", "zh") == ("输入 ─► out",)
    assert "```text\n输入 ─► out\n```" in plain_page(drawn, page, {}, "zh")


@pytest.mark.parametrize(
    ("text", "words"),
    [("─" * 77, "77 cells wide, more than 76"), ("图" * 39, "78 cells wide"), (" \n", "empty"), ("a\tb", "not tabs")],
)
def test_what_does_not_fit_is_found(drawn: Path, text: str, words: str) -> None:
    (drawn / "figures" / "flow.zh.txt").write_text(text, encoding="utf-8")
    assert any(words in problem for problem in problems(drawn))


def test_a_figure_of_one_language_or_of_no_page_is_found(drawn: Path) -> None:
    (drawn / "figures" / "other.en.txt").write_text("x", encoding="utf-8")
    found = problems(drawn)
    assert "no page shows figure other" in found
    assert any("other.zh.txt: cannot be read" in problem for problem in found)
    (drawn / "figures" / "flow.zh.txt").unlink()
    with pytest.raises(UserError, match=r"zh\.md:7: no figure 'flow\.zh\.txt'"):
        read_lesson(drawn, load_glossary(drawn.parent))
