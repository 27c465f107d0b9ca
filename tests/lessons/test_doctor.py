"""The content doctor: the shipped lessons are sound, and each kind of flaw is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lessons.doctor import accept, examine
from lessons.doctor_runs import examine_by_running
from lessons.lesson import lessons_directory
from tests.lessons.conftest import edit


def test_the_shipped_lessons_are_sound() -> None:
    assert list(examine()) == []


def test_the_shipped_lessons_run() -> None:
    """Quick experiments within their CPU time and with claims that hold, stub fails, solution passes, mutants known."""
    assert list(examine_by_running()) == []


def test_a_new_lesson_is_sound(course: Path) -> None:
    assert list(examine(course)) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "where", "words"),
    [
        ("sample/zh.md", "{#formula .what}", "{#formel .what}", "zh.md", "its pages must be question, formula"),
        ("sample/zh.md", "```predict sample_average\n```\n", "", "zh.md:3", "differs from en.md at fence predict"),
        ("sample/en.md", "## The code", "### Aside\n\n## The code", "zh.md:13", "differs from en.md"),
        ("sample/zh.md", "先讲直觉，再给公式", "先讲直觉,再给公式", "sample/zh.md:15", "half-width punctuation"),
        ("sample/quiz.toml", "这里只是平移", "这里(只是)平移", "quiz.toml: shift", "half-width punctuation"),
        ("sample/module.toml", "这一课回答什么问题？", "这一课?回答什么", "module.toml", "half-width punctuation"),
        ("sample/en.md", "FeedForward.forward", "FeedForward.backward", "sample", "no 'backward' there"),
        ("sample/en.md", "FeedForward.forward", "Block.forward", "", "has changed"),
        (
            "sample/quiz.toml",
            "they stay the same",
            "they stay exactly the same as before, whatever was added",
            "shift",
            "longest by far",
        ),
        ("sample/quiz.toml", "都加 100", "都加 10", "shift", "numbers differ"),
        ("sample/quiz.toml", '["softmax"]', '["logits"]', "shift", "tag logits"),
        ("paths.toml", "minutes = 20", "minutes = 60", "paths.toml: mastery", "its steps take 20 min"),
        (
            "sample/exercises/sample_softmax/exercise.toml",
            "还什么都没算。",
            "还什么都没算,",
            "sample_softmax",
            "half-width",
        ),
        ("sample/exercises/sample_softmax/exercise.toml", "[[hint]]", "[[tip]]", "", "needs 3 hints"),
    ],
)
def test_a_flaw_is_found(course: Path, file: str, old: str, new: str, where: str, words: str) -> None:
    edit(course / file, old, new)
    problems = list(examine(course))
    assert any(where in problem.where and words in problem.text.en and problem.text.zh for problem in problems), (
        problems
    )


def test_a_term_of_no_lesson_is_found(course: Path) -> None:
    (course / "other").mkdir()
    (course / "sample" / "glossary.toml").rename(course / "other" / "glossary.toml")
    assert [problem.text.en for problem in examine(course)] == ["softmax: no lesson other"]


def test_changed_code_must_be_read_again(course: Path) -> None:
    path = course / "sample" / "code.json"
    known = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(dict.fromkeys(known, "0")), encoding="utf-8")
    assert {problem.text.en.split()[0] for problem in examine(course)} == set(known)
    accept(course)
    assert list(examine(course)) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (
            "experiments/sample_average.py",
            "abs(ratio - 0.5) < 0.05",
            "abs(ratio - 0.25) < 0.05",
            "falls_with_root does not hold",
        ),
        ("experiments/sample_average.py", '"prediction",', '"guess",', "asked for but not decided"),
        (
            "exercises/sample_softmax/check.py",
            "return x.softmax(-2)",
            "return x",
            "wrong_axis is diagnosed as unchanged",
        ),
        ("exercises/sample_softmax/check.py", "return x.softmax(-2)", "return x.softmax(-1)", "wrong_axis passes"),
        ("exercises/sample_softmax/check.py", "lambda x: x.softmax(-1)", "lambda x: x.exp()", "the solution fails"),
        ("exercises/sample_softmax/exercise.toml", 'id = "overflows"', 'id = "other"', "hints and mutants differ"),
        ("exercises/sample_softmax/solution.py", "hole: return x", "hole: return x.softmax(-1)", "the stub passes"),
    ],
)
def test_a_flaw_shows_by_running(course: Path, file: str, old: str, new: str, words: str) -> None:
    if file.startswith("experiments"):
        shutil.rmtree(course / "sample" / "exercises")
        for language in ("en", "zh"):
            edit(course / "sample" / f"{language}.md", "```exercise sample_softmax\n```\n", "")
    else:
        for language in ("en", "zh"):
            for kind in ("predict", "run"):
                edit(course / "sample" / f"{language}.md", f"```{kind} sample_average\n```\n", "")
        shutil.rmtree(course / "sample" / "experiments")
    edit(course / "sample" / file, old, new)
    problems = [problem.text.en for problem in examine_by_running(course)]
    assert any(words in problem for problem in problems), problems


def test_a_slow_experiment_is_found(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lessons.doctor_runs.QUICK_CPU_SECONDS", 0.0)
    assert any("CPU-seconds" in problem.text.en for problem in examine_by_running(course))


def test_stale_recordings_are_found(course: Path) -> None:
    recorded = json.loads((lessons_directory() / "normalization" / "recorded.json").read_text(encoding="utf-8"))
    path = course / "sample" / "recorded.json"
    path.write_text(json.dumps({"sample_average": recorded["half_precision_overflow"]}), encoding="utf-8")
    shutil.rmtree(course / "sample" / "exercises")
    for language in ("en", "zh"):
        edit(course / "sample" / f"{language}.md", "```exercise sample_softmax\n```\n", "")
    assert any("recorded with an older version" in problem.text.en for problem in examine_by_running(course))
