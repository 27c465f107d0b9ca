"""Training with a learner's parts: alone beside the reference, together in one model, in a process of their own."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lessons.__main__ import build_parser
from lessons.exercise import Exercise
from lessons.lesson import find_exercise, load_lesson, load_lessons
from lessons.part_runner import AGREE, LIMITS, SPEED, outcome, train_with_parts, usable_parts
from lessons.part_training import assemble, load_request, model_with, train_parts
from lessons.progress import Progress, changing
from minimind.commands.output import Output
from minimind.errors import UserError
from minimind.events import Alert, Claim, Event, Scalars, Table, Text

RMSNORM = find_exercise("rmsnorm")


def request(exercise: Exercise) -> dict[str, str]:
    exercise.write(exercise.solution)
    return {"name": exercise.name, "check": str(exercise.directory / "check.py"), "file": str(exercise.file)}


def curves(events: list[Event]) -> dict[str, list[float]]:
    drawn: dict[str, list[float]] = {}
    for event in events:
        if isinstance(event, Scalars):
            for name, value in event.values.items():
                drawn.setdefault(name, []).append(value)
    return drawn


def test_a_right_part_learns_what_the_reference_learns() -> None:
    events = list(train_parts([request(RMSNORM)], together=False))
    (claim,) = (event for event in events if isinstance(event, Claim))
    assert (claim.id, claim.holds) == (AGREE, True)
    drawn = curves(events)
    assert drawn["yours"] == pytest.approx(drawn["reference"], abs=1e-3)
    assert drawn["yours"][-1] < drawn["yours"][0] - 1
    said = outcome(events)
    assert said is not None
    assert "The curves agree" in said.en
    assert "两条曲线一致" in said.zh


@pytest.mark.parametrize(
    "exercise",
    [item for lesson in load_lessons() for item in lesson.exercises if item.can_be_installed],
    ids=lambda exercise: exercise.name,
)
def test_every_solution_trains_as_its_reference(exercise: Exercise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lessons.part_training.STEPS", 5)
    events = list(train_parts([request(exercise)], together=False))
    assert [event.holds for event in events if isinstance(event, Claim)] == [True], events[-1]


def test_a_wrong_part_leaves_the_curve() -> None:
    wrong = RMSNORM.solution.replace("wide.pow(2).mean(-1, keepdim=True)", "wide.pow(2).mean()")
    assert wrong != RMSNORM.solution
    given = request(RMSNORM)
    RMSNORM.write(wrong)
    events = list(train_parts([given], together=False))
    (claim,) = (event for event in events if isinstance(event, Claim))
    assert claim.holds is False
    said = outcome(events)
    assert said is not None
    assert "The curves part" in said.en


def test_parts_that_fit_join_and_others_say_why_not() -> None:
    exercises = [*load_lesson("normalization").exercises, *load_lesson("attention").exercises]
    parts = [load_request(request(item)) for item in exercises if item.can_be_installed]
    kept, rows = assemble(parts)
    said = dict(rows)
    assert [name for name, _ in rows] == [part.name for part in parts]
    names = {part.name for part in kept}
    assert {"rmsnorm", "split_merge_heads"} <= names
    assert len(names & {"sdpa", "gqa", "causal_mask", "online_softmax"}) == 1
    assert "another network" in said["layernorm"].en
    assert "no room" in said["mha"].en
    assert {name for name, text in said.items() if text.en == "in your model"} == names
    model = model_with(kept)
    assert model.parameter_count() == model_with([]).parameter_count()


def test_what_the_code_raises_is_told_with_its_line() -> None:
    given = request(RMSNORM)
    RMSNORM.write(RMSNORM.solution.replace("        wide = x.float()", "        1 / 0\n        wide = x.float()"))
    (alert,) = (event for event in train_parts([given], together=False) if isinstance(event, Alert))
    assert "ZeroDivisionError" in alert.text.en
    assert "line" in alert.text.en


def test_in_a_process_of_its_own_events_come_as_they_are_made() -> None:
    request(RMSNORM)
    events = list(train_with_parts([RMSNORM], together=False))
    assert any(isinstance(event, Claim) and event.holds for event in events)
    assert any(isinstance(event, Table) and event.name == SPEED for event in events)
    assert len(curves(events)["yours"]) == 12


@pytest.mark.parametrize(
    ("line", "words"), [("import os; os._exit(0)", "ended the process"), ("while True: pass", "loop without an end")]
)
def test_runaway_code_becomes_an_alert(line: str, words: str) -> None:
    RMSNORM.write(f"{line}\n")
    limits = replace(LIMITS, cpu_seconds=1.0, seconds=10.0)
    (alert,) = train_with_parts([RMSNORM], together=False, limits=limits)
    assert isinstance(alert, Alert)
    assert words in alert.text.en


def test_closing_ends_the_process(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    RMSNORM.write(RMSNORM.solution + f"\nopen({str(mark)!r}, 'w').close()\n")
    events = train_with_parts([RMSNORM], together=False)
    next(events)
    events.close()  # type: ignore[attr-defined]
    assert mark.exists()


def test_only_passed_parts_are_usable_and_the_commands_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    lessons = (load_lesson("normalization"),)
    assert usable_parts(lessons, Progress.load()) == ()
    output = Output(as_json=True, language="en", stdout=io.StringIO(), stderr=io.StringIO())
    mine = build_parser().parse_args(["mine"])
    with pytest.raises(UserError, match="has passed yet"):
        mine.run(mine, output)
    use = build_parser().parse_args(["exercise", "rmsnorm", "use"])
    with pytest.raises(UserError, match="once it passes"):
        use.run(use, output)
    with changing() as progress:
        progress.lesson("normalization").attempt("rmsnorm").passed = True
    request(RMSNORM)
    assert usable_parts(lessons, Progress.load()) == (lessons[0].exercise("rmsnorm"),)
    out = io.StringIO()
    output = Output(as_json=True, language="en", stdout=out, stderr=io.StringIO())
    assert mine.run(mine, output) == 0
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert any(line.get("id") == AGREE and line["holds"] for line in lines)
    assert any("rmsnorm: in your model" in str(line.get("text")) for line in lines)
    assert capsys.readouterr().out == ""


def test_the_outcome_needs_both_figures() -> None:
    assert outcome([]) is None
    assert outcome([Claim(AGREE, Text("a", "甲"), {"largest_difference_in_nats": 0.0}, True)]) is None
