"""``python -m lessons``: results on stdout, talk on stderr, mistakes in one line with status 2."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lessons.__main__ import build_parser
from lessons.lesson import load_lesson, load_lessons
from lessons.progress import Progress
from lessons.quiz import LETTERS
from lessons.recorded import load_recordings
from minimind.cli import main


def run(*arguments: str) -> int:
    return main(list(arguments), build_parser)


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_list_names_paths_lessons_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    written = {lesson.slug for lesson in load_lessons()}
    assert run("list", "--json") == 0
    *paths, names = lines_of(capsys)
    assert [path["path"] for path in paths] == ["quick", "systematic", "mastery"]
    steps = {step["slug"]: step["done"] for path in paths for step in path["steps"]}
    assert steps["normalization"] == 0.0
    assert steps == {slug: 0.0 if slug in written else None for slug in steps}
    assert "depth_signal" in names["experiments"]
    assert run("list", "--lang", "zh") == 0
    assert ("计划中" in capsys.readouterr().out) == (None in steps.values())


def test_show_fills_numbers_and_remembers_pages(capsys: pytest.CaptureFixture[str]) -> None:
    number = load_lesson("normalization").page_ids().index("code") + 1
    assert run("show", "normalization", "--page", str(number), "--json") == 0
    (page,) = lines_of(capsys)
    assert page["id"] == "code"
    assert "class RMSNorm(nn.Module):" in page["text"]
    assert run("show", "normalization", "--lang", "zh") == 0
    text = capsys.readouterr().out
    assert "{{" not in text
    assert "[[" not in text.replace("[[1]]", "")
    assert "python -m lessons run depth_signal --set bias=false" in text
    assert "本页数字来自随课程记录的运行" in text
    assert len(Progress.load().lesson("normalization").read) == len(load_lesson("normalization").page_ids())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "gravity"), "no lesson 'gravity'"),
        (("show", "normalization", "--page", "99"), "has pages 1…"),
        (("run", "gravity"), "no experiment 'gravity'"),
        (("run", "half_precision_overflow", "--set", "eps"), "NAME=VALUE"),
        (("run", "half_precision_overflow", "--set", "eps=1"), "eps='1' is not allowed"),
        (("run", "half_precision_overflow", "--set", "mass=1"), "no parameter 'mass'"),
        (("run", "half_precision_overflow", "--predict", "9"), "a number 1…4"),
        (("exercise", "gravity"), "no exercise 'gravity'"),
        (("exercise", "rmsnorm", "check"), "no such file"),
        (("exercise", "rmsnorm", "solution"), "once yours passes"),
        (("new", "Gravity"), "small letters"),
        (("new", "normalization"), "exists already"),
        (("record", "gravity"), "no lesson 'gravity'"),
        (("fly",), "there is no 'fly'"),
        (("check", "gravity"), "no lesson 'gravity'"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert words in captured.err


def test_run_prints_claims_and_keeps_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "half_precision_overflow", "--predict", "3") == 0
    text = capsys.readouterr().out
    assert "You said: NaN\nIt was:   0 ✗" in text
    assert "✓ supported  From |x| = 256 on float16 silently returns 0" in text
    record = Progress.load().lesson("normalization")
    assert record.predictions == {"half_precision_overflow": 2}
    assert {claim.id for claim in record.runs["half_precision_overflow"].claims} >= {"float16_returns_zero"}


def test_run_streams_events_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("run", "depth_signal", "--budget", "quick", "--set", "depth=4", "--json") == 0
    events = lines_of(capsys)
    kinds = {event["kind"] for event in events}
    assert kinds == {"progress", "scalars", "table", "claim"}
    charts = {event["chart"] for event in events if event["kind"] == "scalars"}
    assert charts == {"spread", "signal", "gradient"}


def answer_all(monkeypatch: pytest.MonkeyPatch, seed: int, *, wrongly: str = "") -> int:
    """Type the right answer to every question, but another for the one called `wrongly`."""
    typed = []
    for question in load_lesson("normalization").questions:
        shown = [choice.id for choice in question.shown(seed)]

        def letters(ids: list[str], shown: list[str] = shown) -> str:
            return " ".join(LETTERS[shown.index(item)] for item in ids)

        answers = {
            "single": lambda q, f=letters: f(list(q.answer)),
            "multiple": lambda q, f=letters: f(list(q.answer)),
            "numeric": lambda q: str(q.answer),
            "predict": lambda _: "260",
            "order": lambda q, f=letters: f([item.id for item in q.items]),
            "match": lambda q, f=letters: f([pair.right.id for pair in q.pairs]),
            "shape": lambda q: " ".join(q.answer),
            "spot": lambda q: str(q.answer),
            "explain": lambda _: "because\ny",
        }
        right = answers[question.kind](question)
        typed.append("nonsense\n1" if question.id == wrongly else right)
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(typed) + "\n"))
    return run("quiz", "normalization", "--seed", str(seed), "--json")


def test_quiz_on_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer_all(monkeypatch, 4, wrongly="by_hand") == 0
    *_, total = lines_of(capsys)
    count = len(load_lesson("normalization").questions)
    assert (total["right"], total["answered"], total["questions"]) == (count - 1, count, count)
    answers = Progress.load().lesson("normalization").answers
    assert [name for name, answered in answers.items() if not answered.correct] == ["by_hand"]
    monkeypatch.setattr("sys.stdin", io.StringIO("1.2\n"))
    assert run("quiz", "normalization", "--wrong", "--lang", "zh") == 0
    assert "1 题中答对 1 题" in capsys.readouterr().out


def test_quiz_ends_with_its_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert run("quiz", "normalization") == 0
    assert "0 of 0 right" in capsys.readouterr().out


def test_exercise_from_start_to_solution(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("exercise", "rmsnorm", "start", "--json") == 0
    (started,) = lines_of(capsys)
    path = Path(started["file"])
    assert run("exercise", "rmsnorm", "check") == 1
    assert "It looks like this: x comes back as it went in" in capsys.readouterr().out
    assert run("exercise", "rmsnorm", "hint", "--json") == 0
    assert lines_of(capsys) == [
        {
            "mutant": "unchanged",
            "rung": 1,
            "hint": "Start with the quantity under the root: one number for each position.",
        }
    ]
    exercise = load_lesson("normalization").exercise("rmsnorm")
    path.write_text(exercise.solution, encoding="utf-8")
    assert run("exercise", "rmsnorm", "check", "--json") == 0
    (result,) = lines_of(capsys)
    assert result["passed"] is True
    assert run("exercise", "rmsnorm", "solution") == 0
    assert "torch.rsqrt" in capsys.readouterr().out


def test_check_reports_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "--no-run") == 0
    assert capsys.readouterr().err.strip() == "0 problems"


def test_a_budget_is_checked_and_tabled(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lesson = replace(load_lesson("normalization"), experiments=("half_precision_overflow",))
    monkeypatch.setattr("lessons.author_commands.load_lesson", lambda _slug: lesson)
    monkeypatch.setattr("lessons.author_commands.examine", lambda slug: iter(()))
    assert run("check", "normalization", "--budget", "quick", "--json") == 0
    (table,) = lines_of(capsys)
    assert (table["experiment"], table["budget"], table["limit"]) == ("half_precision_overflow", "quick", 10.0)
    assert {claim["id"] for claim in table["claims"]} >= {"float16_returns_zero"}
    assert run("check", "normalization", "--budget", "quick", "--lang", "zh") == 0
    assert "float16_returns_zero     ✓ 成立" in capsys.readouterr().out
    assert run("check", "normalization", "--budget", "huge") == 2


def test_recording_keeps_claims_and_what_each_budget_costs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("lessons.author_commands._folder_of", lambda _slug: tmp_path)
    (tmp_path / "recorded.json").write_text('{"half_precision_overflow": {"seconds": {"deep": 7.5}}}', encoding="utf-8")
    assert run("record", "normalization", "half_precision_overflow", "--json") == 0
    (told,) = lines_of(capsys)
    recording = load_recordings(tmp_path / "recorded.json")["half_precision_overflow"]
    assert all(claim.holds for claim in recording.claims)
    assert set(recording.seconds) == {"quick", "standard", "deep"}
    assert recording.seconds["deep"] == 7.5
    assert 0 <= recording.seconds["standard"] < 10
    assert told["seconds"] == dict(recording.seconds)


def test_the_module_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lessons", "show", "nothing", "--lang", "zh"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "没有课程 'nothing'" in done.stderr
