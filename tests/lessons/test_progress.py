"""Progress: kept, never torn, and a foreign file never overwritten."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lessons.lesson import load_lesson, load_paths
from lessons.progress import PASS_SHARE, Progress, changing
from lessons.recorded import Recording
from minimind import paths
from minimind.errors import UserError
from minimind.events import Claim, Text


def test_survives_a_restart() -> None:
    assert Progress.load() == Progress()
    with changing() as progress:
        record = progress.lesson("normalization")
        record.mark_read("question")
        record.mark_read("signal")
        record.mark_answer("plateau", ("bias",), correct=True)
        record.mark_answer("plateau", ("relu",), correct=False)
        record.attempt("rmsnorm").passed = True
        record.predictions["depth_signal"] = 2
        record.guesses["share"] = 12.5
        claim = Claim("dies", Text("a", "b"), {"x": float("inf")}, None)
        record.runs["depth_signal"] = Recording({"depth": 30}, (claim,))
    again = Progress.load().lesson("normalization")
    assert (again.read, again.position) == (["question", "signal"], "signal")
    assert (again.answers["plateau"].answer, again.answers["plateau"].correct) == (["relu"], False)
    assert again.answers["plateau"].attempts == 2
    assert again.exercises["rmsnorm"].passed is True
    assert again.predictions == {"depth_signal": 2}
    assert again.guesses == {"share": 12.5}
    assert again.runs["depth_signal"].claims == (claim,)


def test_a_file_of_an_older_version_is_read(home: Path) -> None:
    with changing() as progress:
        progress.lesson("a").mark_read("page")
        progress.lesson("a").predictions["depth_signal"] = 1
    data = json.loads(paths.progress().read_text(encoding="utf-8"))
    del data["lessons"]["a"]["guesses"]
    paths.progress().write_text(json.dumps(data), encoding="utf-8")
    progress = Progress.load()
    assert progress.notes == []
    record = progress.lesson("a")
    assert (record.read, record.predictions, record.guesses) == (["page"], {"depth_signal": 1}, {})
    assert list(home.glob("*.kept-*")) == []


@pytest.mark.parametrize(
    "content",
    [b"", b'{"version": 1, "less', b"\xff\xfe", b"[]", b'{"version": 99}', b'{"version":1,"lessons":{"a":{}}}'],
)
def test_a_torn_or_foreign_file_is_kept_aside_and_said(home: Path, content: bytes) -> None:
    home.mkdir()
    paths.progress().write_bytes(content)
    progress = Progress.load()
    assert progress.lessons == {}
    assert len(progress.notes) == 1
    (kept,) = home.glob("progress.json.kept-*")
    assert kept.read_bytes() == content
    assert kept.name in progress.notes[0].en
    assert kept.name in progress.notes[0].zh
    assert Progress.load().notes == []


def test_nothing_kept_aside_is_ever_replaced(home: Path) -> None:
    home.mkdir()
    for content in (b"one", b"two", b"three"):
        paths.progress().write_bytes(content)
        Progress.load()
    assert sorted(path.read_bytes() for path in home.glob("progress.json.kept-*")) == [b"one", b"three", b"two"]


def test_a_failed_save_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with changing() as progress:
        progress.lesson("a").mark_read("page")
    before = paths.progress().read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(UserError, match="No space left"), changing() as progress:
        progress.lesson("a").mark_read("other")
    assert paths.progress().read_bytes() == before
    assert list(paths.home().glob("*.new")) == []


def test_an_error_inside_changes_nothing() -> None:
    def fail(progress: Progress) -> None:
        progress.lesson("a").mark_read("page")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), changing() as progress:
        fail(progress)
    assert Progress.load().lessons == {}


def test_two_processes_lose_nothing(home: Path) -> None:
    code = (
        "import sys\nfrom lessons.progress import changing\n"
        "for i in range(20):\n    with changing() as p:\n        p.lesson('a').mark_read(sys.argv[1] + str(i))\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, name]) for name in "xy"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert len(Progress.load().lesson("a").read) == 40
    json.loads(paths.progress().read_text(encoding="utf-8"))


def test_share_and_done_and_what_comes_next() -> None:
    lesson = load_lesson("normalization")
    (quick, *_) = load_paths()
    alone = replace(quick, steps=tuple(step for step in quick.steps if step.slug == lesson.slug))
    progress = Progress()
    assert progress.share(lesson) == 0.0
    assert progress.next_lesson(alone) == lesson
    record = progress.lesson(lesson.slug)
    for page in lesson.page_ids():
        record.mark_read(page)
    pieces = len(lesson.page_ids()) + len(lesson.questions) + len(lesson.exercises)
    assert progress.share(lesson) == pytest.approx(len(lesson.page_ids()) / pieces)
    for exercise in lesson.exercises:
        record.attempt(exercise.name).passed = True
    enough = math.ceil(PASS_SHARE * len(lesson.questions))
    for question in lesson.questions[: enough - 1]:
        record.mark_answer(question.id, (), correct=True)
    assert not progress.is_done(lesson)
    record.mark_answer(lesson.questions[enough - 1].id, (), correct=True)
    assert progress.is_done(lesson)
    assert progress.next_lesson(alone) is None
