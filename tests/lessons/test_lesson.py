"""Lessons and paths: found by their folders, references resolved or refused with file and line."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.lesson import (
    Lesson,
    find_exercise,
    load_glossary,
    load_lesson,
    load_lessons,
    load_paths,
    read_lesson,
    readable_lessons,
)
from lessons.recorded import fill
from minimind.errors import UserError
from minimind.events import LANGUAGES
from tests.lessons.conftest import edit


def read(course: Path) -> Lesson:
    return read_lesson(course / "sample", load_glossary(course))


def test_shipped_lesson_is_complete_in_both_languages() -> None:
    lesson = load_lesson("normalization")
    for language in LANGUAGES:
        parts = [page.part for page in lesson.pages[language]]
        assert set(parts) == {"why", "what", "how"}
        assert len(lesson.pages[language]) >= 10
    assert set(lesson.experiments) >= {"depth_signal", "depth_learning_rate", "half_precision_overflow"}
    assert "rmsnorm" in [exercise.name for exercise in lesson.exercises]
    assert len(lesson.questions) >= 10
    assert lesson.page("zh", "formula").id == "formula"
    assert lesson.page("zh", "gone") is lesson.pages["zh"][0]


def test_a_broken_lesson_does_not_hide_the_others(course: Path) -> None:
    shutil.copytree(course / "sample", course / "torn")
    (course / "torn" / "glossary.toml").unlink()
    (course / "torn" / "zh.md").unlink()
    lessons, problems = readable_lessons(course)
    assert [lesson.slug for lesson in lessons] == ["sample"]
    assert len(problems) == 1
    assert "torn" in problems[0].en
    assert "torn" in problems[0].zh
    assert find_exercise("sample_softmax", course).lesson == "sample"


def test_a_new_folder_is_a_new_lesson(course: Path) -> None:
    assert [lesson.slug for lesson in load_lessons(course)] == ["sample"]
    assert find_exercise("sample_softmax", course).lesson == "sample"
    with pytest.raises(UserError, match="there are sample"):
        load_lesson("missing", course)
    with pytest.raises(UserError, match="there are sample_softmax"):
        find_exercise("missing", course)


def test_select_questions() -> None:
    lesson = load_lesson("normalization")
    assert lesson.select_questions(()) == lesson.questions
    assert [question.id for question in lesson.select_questions(("steps", "plateau"))] == ["steps", "plateau"]


@pytest.mark.parametrize(
    ("file", "old", "new", "where", "words"),
    [
        ("en.md", "sample_average", "missing", "en.md:7", "no experiment 'missing'"),
        (
            "zh.md",
            "predict sample_average\n```\n\n```run sample_average",
            "run missing",
            "zh.md:7",
            "no experiment 'missing'",
        ),
        ("en.md", "```exercise sample_softmax", "```exercise missing", "en.md:33", "no exercise 'missing'"),
        ("en.md", "```quiz\n", "```quiz missing\n", "en.md:36", "no question 'missing'"),
        ("zh.md", "[[softmax|", "[[missing|", "zh.md:15", "no glossary term 'missing'"),
        ("en.md", "Numbers that", "{{sample_average.falls.ratio}} that", "en.md:21", "was not recorded"),
        ("quiz.toml", 'after = "formula"', 'after = "missing"', "quiz.toml: question[shift]", "no page 'missing'"),
        ("module.toml", "minutes = 20", 'minutes = "20"', "module.toml: minutes", "not a whole number"),
        ("module.toml", "order", "ordre", "module.toml: order", "missing"),
    ],
)
def test_broken_references_are_refused(course: Path, file: str, old: str, new: str, where: str, words: str) -> None:
    edit(course / "sample" / file, old, new)
    with pytest.raises(UserError) as raised:
        read(course)
    assert where in str(raised.value)
    assert words in str(raised.value)


def test_a_missing_language_is_named(course: Path) -> None:
    (course / "sample" / "zh.md").unlink()
    with pytest.raises(UserError, match=r"zh\.md"):
        read(course)


def test_paths_grey_what_is_not_written() -> None:
    paths = {path.id: path for path in load_paths()}
    assert [path.minutes for path in paths.values()] == [30, 360, 1800]
    written = {lesson.slug for lesson in load_lessons()}
    quick = paths["quick"].steps
    assert [step.slug for step in quick] == ["start", "normalization", "position", "attention"]
    for path in paths.values():
        for step in path.steps:
            assert (step.lesson is not None) == (step.slug in written)
            assert step.question.zh


def test_a_written_lesson_replaces_its_plan(course: Path) -> None:
    edit(course / "paths.toml", 'slug = "later"', 'slug = "sample"')
    (path,) = load_paths(course)
    assert [(step.slug, step.minutes, step.lesson is None) for step in path.steps] == [("sample", 20, False)]


def test_every_number_in_the_prose_is_filled() -> None:
    lesson = load_lesson("normalization")
    for language in LANGUAGES:
        text = (lesson.directory / f"{language}.md").read_text(encoding="utf-8")
        assert text.count("{{") > 15
        filled = fill(text, lesson.recordings, language)
        assert "{{" not in filled
        assert "—" not in filled.replace("——", "")


def test_loading_brings_neither_torch_nor_a_terminal() -> None:
    code = (
        "import sys, lessons.lesson, lessons.quiz, lessons.progress, lessons.exercise, lessons.exercise_runner\n"
        "import lessons.catalogue, lessons.page_text, lessons.__main__\nlessons.lesson.load_paths()\n"
        "print(sorted({'torch', 'numpy', 'textual', 'rich', 'psutil'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
