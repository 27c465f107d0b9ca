"""The course is read once for all the apps of a process: it is the same for each, and every app reads all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from lessons import lesson
from lessons.glossary import Term


@pytest.fixture(autouse=True, scope="session")
def lessons_read_once() -> Iterator[None]:
    """Keep the lessons of the package; those that a test writes for itself are read each time."""
    read, shipped = lesson.read_lesson, lesson.lessons_directory()
    terms_of_all = cache(lesson.load_glossary)
    shipped_lesson = cache(lambda folder: read(folder, terms_of_all()))

    def read_once(folder: Path, terms: Mapping[str, Term]) -> lesson.Lesson:
        return shipped_lesson(folder) if folder.parent == shipped else read(folder, terms)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lesson, "read_lesson", read_once)
        yield
