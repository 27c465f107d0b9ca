"""The content doctor: the shipped lessons are sound, and each kind of flaw is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from lessons.doctor import accept, examine
from lessons.doctor_runs import examine_by_running, run_budget
from lessons.lesson import lessons_directory, load_lesson, load_lessons
from minimind.experiment import BUDGET_CPU_SECONDS, Budget
from tests.lessons.conftest import edit


def test_the_shipped_lessons_are_sound() -> None:
    assert list(examine()) == []


def test_every_lesson_has_a_test_that_runs_it() -> None:
    for lesson in load_lessons():
        file = Path(__file__).with_name(f"test_lesson_{lesson.slug}.py")
        assert file.exists(), f"write {file.name}; test_lesson_normalization.py is the example"
        assert f'examine_by_running(slug="{lesson.slug}")' in file.read_text(encoding="utf-8")


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
        ("sample/en.md", "Intuition first", "{{a.b?c|d}} first", "sample/en.md:15", "not a placeholder: {{a.b?c|d}}"),
        ("sample/zh.md", "先讲直觉", "$\\unknown{x}$ 先讲直觉", "sample/zh.md:15", "cannot be drawn"),
        ("sample/en.md", "\\mathrm{softmax}", "\\unknown{softmax}", "sample/en.md:15", "cannot be drawn"),
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
        ("experiments/sample_average.py", '{"choice": int(', '{"number": int(', "asked for but not decided"),
        ("experiments/sample_average.py", '{"choice": int(', '{"choice": 7 + int(', "asked for but not decided"),
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
    monkeypatch.setattr("lessons.doctor_runs.SMOKE_CPU_SECONDS", 0.0)
    assert any("CPU-seconds, more than 0" in problem.text.en for problem in examine_by_running(course))


def test_stale_recordings_are_found(course: Path) -> None:
    recorded = json.loads((lessons_directory() / "normalization" / "recorded.json").read_text(encoding="utf-8"))
    path = course / "sample" / "recorded.json"
    path.write_text(json.dumps({"sample_average": recorded["half_precision_overflow"]}), encoding="utf-8")
    shutil.rmtree(course / "sample" / "exercises")
    for language in ("en", "zh"):
        edit(course / "sample" / f"{language}.md", "```exercise sample_softmax\n```\n", "")
    assert any("recorded with an older version" in problem.text.en for problem in examine_by_running(course))


def record(course: Path, claims: str) -> None:
    """A recording of the sample's experiment, of the claims in JSON."""
    text = f'{{"sample_average": {{"values": {{"largest": 256}}, "claims": [{claims}], "made": "torch"}}}}'
    (course / "sample" / "recorded.json").write_text(text, encoding="utf-8")


CLAIM = '{"kind": "claim", "id": "falls", "text": {"en": "a", "zh": "b"}, "measured": {"x": 1}, "holds": true}'


def test_placeholders_of_one_language_are_found(course: Path) -> None:
    record(course, CLAIM)
    edit(course / "sample" / "en.md", "Intuition first", "{{sample_average.falls?yes|no|open}} first")
    assert any("do not share: sample_average.falls?" in problem.text.en for problem in examine(course))
    edit(course / "sample" / "zh.md", "先讲直觉", "{{sample_average.falls?对，是的|不|没定}}先讲直觉")
    assert list(examine(course)) == []
    edit(course / "sample" / "zh.md", "对，是的", "对,是的")
    assert any("half-width punctuation" in problem.text.en for problem in examine(course))


def test_one_lesson_is_examined_without_the_others(course: Path) -> None:
    shutil.copytree(course / "sample", course / "broken")
    (course / "broken" / "en.md").unlink()
    (course / "broken" / "glossary.toml").unlink()
    assert any("cannot be read" in problem.text.en for problem in examine(course))
    assert list(examine(course, "sample")) == []
    assert [path.parent.name for path in accept(course, "sample")] == ["sample"]


@pytest.mark.parametrize(
    ("budget", "holds", "words"),
    [
        ("quick", "False", "claim falls_with_root does not hold: ratio = 0.5"),
        ("standard", "None", "claim falls_with_root stays open: ratio = 0.5"),
        ("quick", "None", ""),
        ("deep", "True", ""),
    ],
)
def test_a_budget_is_run_as_a_learner_would(course: Path, budget: Budget, holds: str, words: str) -> None:
    edit(course / "sample" / "experiments" / "sample_average.py", "abs(ratio - 0.5) < 0.05", holds)
    measured = run_budget(load_lesson("sample", course), "sample_average", budget)
    assert [claim.id for claim in measured.claims] == ["prediction", "falls_with_root"]
    assert 0 <= measured.seconds < 10
    assert [problem.text.en[: len(words)] for problem in measured.problems] == ([words] if words else [])


def test_a_budget_that_takes_too_long_is_found(course: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUDGET_CPU_SECONDS, "deep", 0.0)
    (problem,) = run_budget(load_lesson("sample", course), "sample_average", "deep").problems
    assert "CPU-seconds, more than 0" in problem.text.en
