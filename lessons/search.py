"""Find words in all lessons, and the pages a reader marked. No torch, no terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from lessons.glossary import Term
from lessons.lesson import Lesson
from lessons.pages import TERM_LINK, MarkdownBlock, Page
from lessons.progress import Progress
from minimind.events import Language

_LINE_LENGTH = 160
_MARKUP = re.compile(r"[*_`#>|]+|\$\$?")
_NUMBER = re.compile(r"\{\{[^}]*\}\}")
_TITLE, _TERM, _PROSE = 3, 2, 1


@dataclass(frozen=True, slots=True)
class Found:
    """A page on which something stands: its lesson and id, and the line, in plain words."""

    lesson: Lesson
    page: Page
    line: str


def search(
    lessons: Sequence[Lesson], terms: Mapping[str, Term], words: str, language: Language, most: int = 50
) -> tuple[Found, ...]:
    """The pages that hold every one of `words` in one line, titles first, then glossary terms, then prose.

    Upper and lower case are alike. A page is found once, by its best line.
    """
    wanted = words.casefold().split()
    if not wanted:
        return ()
    ranked: list[tuple[int, int, Found]] = []
    for lesson in lessons:
        for page in lesson.pages[language]:
            best = max(_matches(page, terms, wanted, language), key=lambda match: match[0], default=None)
            if best is not None:
                ranked.append((-best[0], len(ranked), Found(lesson, page, best[1])))
    return tuple(found for *_, found in sorted(ranked, key=lambda item: item[:2])[:most])


def _matches(
    page: Page, terms: Mapping[str, Term], wanted: Sequence[str], language: Language
) -> Iterator[tuple[int, str]]:
    """(rank, line) of each line of `page` with all of `wanted`."""
    if _has(page.title, wanted):
        yield _TITLE, page.title
    for block in page.blocks:
        if isinstance(block, MarkdownBlock):
            for line in block.text.splitlines():
                for match in TERM_LINK.finditer(line):
                    term = terms.get(match["term"])
                    if term is not None and _has(f"{term.name.en} {term.name.zh}", wanted):
                        colon = "：" if language == "zh" else ": "
                        yield _TERM, f"{term.name.of(language)}{colon}{term.meaning.of(language)}"
                plain = plain_line(line)
                if _has(plain, wanted):
                    yield _PROSE, _around(plain, wanted[0])


def _has(line: str, wanted: Sequence[str]) -> bool:
    folded = line.casefold()
    return all(word in folded for word in wanted)


def plain_line(line: str) -> str:
    """A line of Markdown as plain words."""
    line = _NUMBER.sub("…", line)
    return _MARKUP.sub("", TERM_LINK.sub(lambda match: match["label"] or match["term"], line)).strip()


def _around(line: str, word: str) -> str:
    """The part of a long line in which `word` stands."""
    start = max(0, line.casefold().find(word) - _LINE_LENGTH // 3)
    return ("…" if start else "") + line[start : start + _LINE_LENGTH]


def bookmarks(lessons: Sequence[Lesson], progress: Progress, language: Language) -> tuple[Found, ...]:
    """The marked pages, in the course's order, each with its first line of prose."""
    marked = []
    for lesson in lessons:
        record = progress.lessons.get(lesson.slug)
        for page in lesson.pages[language]:
            if record is not None and page.id in record.bookmarks:
                marked.append(Found(lesson, page, _first_line(page)))
    return tuple(marked)


def _first_line(page: Page) -> str:
    texts = (block.text for block in page.blocks if isinstance(block, MarkdownBlock))
    lines = (plain_line(line) for text in texts for line in text.splitlines())
    return next((line[:_LINE_LENGTH] for line in lines if line), "")
