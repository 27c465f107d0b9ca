"""Search across lessons and bookmarks."""

from __future__ import annotations

from lessons.lesson import load_glossary, load_lesson
from lessons.progress import Progress
from lessons.search import bookmarks, plain_line, search

LESSONS = (load_lesson("normalization"), load_lesson("attention"))
TERMS = load_glossary()


def test_titles_come_first_then_terms_then_prose() -> None:
    title = LESSONS[0].pages["en"][2].title
    found = search(LESSONS, TERMS, title.upper(), "en")
    assert (found[0].lesson.slug, found[0].line) == ("normalization", title)
    by_term = search(LESSONS, TERMS, TERMS["rms_norm"].name.en if "rms_norm" in TERMS else "RMSNorm", "en")
    assert by_term
    assert len({(item.lesson.slug, item.page.id) for item in by_term}) == len(by_term)


def test_every_word_must_stand_in_one_line_in_the_current_language() -> None:
    assert search(LESSONS, TERMS, "  ", "en") == ()
    assert search(LESSONS, TERMS, "normalisation zzzz", "en") == ()
    zh = search(LESSONS, TERMS, "归一化", "zh")
    assert zh
    assert search(LESSONS, TERMS, "归一化", "en") == () or len(zh) > len(search(LESSONS, TERMS, "归一化", "en"))
    assert len(search(LESSONS, TERMS, "e", "en", most=3)) == 3
    for item in search(LESSONS, TERMS, "the", "en"):
        assert "the" in item.line.casefold()
        assert "[[" not in item.line
        assert len(item.line) < 400


def test_markdown_becomes_plain() -> None:
    assert plain_line("**Why** [[rms|the `RMS`]] and [[eps]]") == "Why the RMS and eps"


def test_bookmarks_in_the_course_s_order() -> None:
    progress = Progress()
    first, second = LESSONS[1].page_ids()[1], LESSONS[0].page_ids()[0]
    progress.lesson("attention").toggle_bookmark(first)
    progress.lesson("normalization").toggle_bookmark(second)
    marked = bookmarks(LESSONS, progress, "zh")
    assert [(item.lesson.slug, item.page.id) for item in marked] == [("normalization", second), ("attention", first)]
    assert all(item.line for item in marked)
    progress.lesson("attention").toggle_bookmark(first)
    assert len(bookmarks(LESSONS, progress, "en")) == 1
