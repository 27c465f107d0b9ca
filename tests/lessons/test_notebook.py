"""The lab notebook: entries added at the end, notes quoted in their entry, nothing untrusted let through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lessons.notebook import add_entry, add_note, notebook_file, read_entries
from lessons.predictions import judge
from lessons.results import Collector, Results
from minimind import paths
from minimind.errors import UserError
from tests.lessons.results_sample import two_arms


@pytest.fixture
def results() -> Results:
    collector = Collector()
    collector.add(two_arms.run())
    return Results("two_arms", two_arms.resolve(), collector.events(), 12.3, 1.7e9)


def test_an_entry_tells_prediction_values_chart_and_claims(results: Results) -> None:
    assert read_entries("normalization") == ()
    add_entry("normalization", two_arms, results, judge(two_arms, 12, results.claims), "en")
    (entry,) = read_entries("normalization")
    assert entry.title.endswith("· Two arms")
    for words in (
        "`two_arms`: standard (steps 50, seeds 3, tied no), 12 s of computing",
        "- You said: 12 %\n- It was: 35 % ✗",
        "```text\nLoss\n* with 2   o without 3",
        "- ✓ supported (3 seeds): a ends lower (a = 2 b = 3)",
    ):
        assert words in entry.text
    text = notebook_file("normalization").read_text(encoding="utf-8")
    assert text.startswith("# Lab notebook: normalization\n\n## 2023-11-1")
    assert "\x1b" not in text


def test_entries_come_in_order_and_old_ones_stay_as_they_are(results: Results) -> None:
    add_entry("a", two_arms, results, None, "en")
    before = notebook_file("a").read_text(encoding="utf-8")
    add_entry("a", two_arms, results, None, "zh")
    after = notebook_file("a").read_text(encoding="utf-8")
    assert after.startswith(before.rstrip())
    assert [entry.title.rpartition(" · ")[2] for entry in read_entries("a")] == ["Two arms", "两组对比"]
    assert read_entries("b") == ()


def test_a_note_is_quoted_at_the_end_of_its_entry(results: Results) -> None:
    for language in ("en", "zh"):
        add_entry("a", two_arms, results, None, language)
    add_note("a", 0, "## not a heading\n```\nnot a fence \x1b[31m\n\nlast", "en")
    add_note("a", 0, "second", "zh")
    add_note("a", 1, "  \n ", "en")
    first, second = read_entries("a")
    assert first.text.endswith(
        "**My note**\n\n> ## not a heading\n> ```\n> not a fence ␛[31m\n>\n> last\n\n**我的笔记**\n\n> second"
    )
    assert "note" not in second.text
    add_entry("a", two_arms, results, None, "en")
    assert len(read_entries("a")) == 3


def test_a_note_for_no_entry_and_a_notebook_that_cannot_be_written(results: Results, home: Path) -> None:
    with pytest.raises(UserError, match="no such entry"):
        add_note("a", 0, "words", "en")
    add_entry("a", two_arms, results, None, "en")
    for number in (-1, 1):
        with pytest.raises(UserError, match="no such entry"):
            add_note("a", number, "words", "en")
    notebook_file("a").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        read_entries("a")
    with pytest.raises(UserError, match="cannot be read"):
        add_entry("a", two_arms, results, None, "en")
    assert notebook_file("a").read_bytes() == b"\xff\xfe"
    notebook_file("a").unlink()
    for path in paths.notebooks().iterdir():
        path.unlink()
    paths.notebooks().rmdir()
    paths.notebooks().write_text("in the way", encoding="utf-8")
    with pytest.raises(UserError, match="not saved"):
        add_entry("a", two_arms, results, None, "en")


def test_two_processes_lose_no_entry() -> None:
    code = (
        "from lessons.notebook import add_entry\nfrom lessons.results import Results\n"
        "from tests.lessons.results_sample import two_arms\n"
        "for i in range(15):\n    add_entry('a', two_arms, Results('two_arms', two_arms.resolve(), ()), None, 'en')\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert len(read_entries("a")) == 30
