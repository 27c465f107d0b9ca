"""The check of a learner's file: diagnoses, limits, and nothing left behind."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from lessons.checking import Case, Check, Longer, load_check, run_check, self_test
from lessons.exercise import MOST_COLUMNS, MOST_ROWS, STAGES, Exercise, difference_of, solution_of, stub_of
from lessons.exercise_child import Limits
from lessons.exercise_runner import run_exercise
from lessons.lesson import find_exercise
from minimind import paths
from minimind.errors import UserError
from minimind.events import Text

TIGHT = Limits(seconds=30.0, cpu_seconds=2.0, memory_bytes=700 * 2**20, file_bytes=2**20)


@pytest.fixture(scope="module")
def exercise() -> Exercise:
    return find_exercise("rmsnorm")


def written(tmp_path: Path, body: str, exercise: Exercise, top: str = "") -> Path:
    """The solution with `body` as its forward."""
    head, _, _ = exercise.solution.partition("        wide = ")
    path = tmp_path / "mine.py"
    path.write_text(f"{top}\n{head}{body}\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("seed", range(10))
def test_the_reference_passes_and_every_mutant_is_diagnosed_as_itself(exercise: Exercise, seed: int) -> None:
    check = load_check(exercise.directory / "check.py")
    assert len(check.mutants) >= 10
    assert self_test(check, seed) == []


def test_every_mutant_has_hints_and_every_hint_a_mutant(exercise: Exercise) -> None:
    check = load_check(exercise.directory / "check.py")
    assert {mutant.id for mutant in exercise.mutants} == set(check.mutants)
    for mutant in exercise.mutants:
        assert len({hint.en for hint in mutant.hints}) == len({hint.zh for hint in mutant.hints}) == 3
    assert exercise.hints_for("no_root") == exercise.mutant("no_root").hints  # type: ignore[union-attr]
    assert exercise.hints_for(None) == exercise.hints


def test_the_models_own_norm_passes(exercise: Exercise, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("from minimind.model.transformer import RMSNorm\n", encoding="utf-8")
    result = run_check(load_check(exercise.directory / "check.py"), path, 5)
    assert [stage["passed"] for stage in result["stages"]] == [True] * len(STAGES)


@pytest.mark.parametrize(
    ("source", "stage", "words", "mutant"),
    [
        ("class RMSNorm:\n    def", "import", "line 2: invalid syntax", None),
        ("x = 1", "import", "does not define RMSNorm", None),
        ("x = 1 / 0\n", "import", "line 1: ZeroDivisionError", None),
        ("class RMSNorm:\n    def __init__(self, d): ...", "import", "takes (d); it should take (size, eps)", None),
        ("{head}        return None", "runs", "returns NoneType", None),
        ("{head}        return x + self.nothing", "runs", "has no attribute 'nothing'", None),
        ("{head}        return x.mean(-1)", "shape", "expected [batch 2, time 3, hidden 8], got [2, 3]", None),
        (
            "{head}        return 2 * x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps).to(x.dtype) * self.weight",
            "values",
            "2 times what is expected, everywhere",
            None,
        ),
        (
            "{head}        w = x.float()\n        s = torch.rsqrt(w.pow(2).mean(-1, keepdim=True).detach() + self.eps)\n"
            "        return (w * s).to(x.dtype) * self.weight",
            "gradients",
            "the gradient of x",
            None,
        ),
        (
            "{head}        w = x.float()\n        s = torch.rsqrt(w.pow(2).mean(-1, keepdim=True) + self.eps)\n"
            "        return (w * s).to(x.dtype) * self.weight.detach()",
            "gradients",
            "no gradient reaches weight",
            None,
        ),
        (
            "{head}        w = x.float()\n        s = torch.rsqrt(w.pow(2).mean(2, keepdim=True) + self.eps)\n"
            "        return (w * s).to(x.dtype) * self.weight",
            "invariants",
            "Dimension out of range",
            None,
        ),
        ("{head}        return x", "values", "on a small example: expected", "unchanged"),
    ],
)
def test_each_stage_says_what_is_wrong(
    exercise: Exercise, tmp_path: Path, source: str, stage: str, words: str, mutant: str | None
) -> None:
    head, _, _ = exercise.solution.partition("        wide = ")
    path = tmp_path / "mine.py"
    path.write_text(source.replace("{head}", head), encoding="utf-8")
    result = run_check(load_check(exercise.directory / "check.py"), path, 1)
    last = result["stages"][-1]
    assert (last["stage"], last["passed"]) == (stage, False)
    assert words in last["message"]["en"]
    assert last["message"]["zh"]
    assert result["mutant"] == mutant


def test_the_solution_passes_in_a_process_of_its_own(exercise: Exercise) -> None:
    result = run_exercise(exercise, exercise.directory / "solution.py")
    assert result.passed, result
    assert [stage.stage for stage in result.stages] == list(STAGES)


def test_a_mistake_comes_back_diagnosed_and_harmless(exercise: Exercise, tmp_path: Path) -> None:
    body = "        print('\\x1b[2J hello', flush=True)\n        return x / (x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight"
    result = run_exercise(exercise, written(tmp_path, body, exercise), seed=3)
    assert not result.passed
    assert (result.stages[-1].stage, result.problem, result.limit) == ("values", None, None)
    assert "\x1b" not in result.output
    assert "␛[2J hello" in result.output


@pytest.mark.parametrize(
    ("top", "limit"),
    [
        ("while True:\n    pass", "cpu"),
        ("import time\ntime.sleep(600)", "time"),
        ("blocks = []\nwhile True:\n    blocks.append(bytearray(20_000_000))", "memory"),
        ("while True:\n    print('x' * 1000)", "file"),
        ("import os\nos._exit(0)", None),
    ],
)
def test_runaway_code_is_stopped(exercise: Exercise, tmp_path: Path, top: str, limit: str | None) -> None:
    limits = replace(TIGHT, seconds=1.0) if limit == "time" else TIGHT
    result = run_exercise(exercise, written(tmp_path, "        return x", exercise, top), limits=limits)
    assert not result.passed
    assert result.limit == limit
    assert result.problem is not None
    assert len(result.output) <= 64_000


def test_nothing_survives_the_check(exercise: Exercise, tmp_path: Path) -> None:
    """A grandchild in a session of its own would outlive a kill of the process group."""
    mark = tmp_path / "pid"
    top = (
        "import subprocess, time\n"
        f"child = subprocess.Popen(['sleep', '600'], start_new_session=True)\nopen({str(mark)!r}, 'w').write(str(child.pid))\n"
    )
    result = run_exercise(exercise, written(tmp_path, "        return x", exercise, top), limits=TIGHT)
    assert result.problem is None
    pid = int(mark.read_text(encoding="utf-8"))
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid)


def test_a_check_can_be_cancelled(exercise: Exercise, tmp_path: Path) -> None:
    began = time.monotonic()
    file = written(tmp_path, "        return x", exercise, "import time\ntime.sleep(500)")
    result = run_exercise(exercise, file, cancelled=lambda: time.monotonic() - began > 1)
    assert result.limit == "stopped"
    assert time.monotonic() - began < 30


def test_the_code_sees_neither_our_environment_nor_our_folder(exercise: Exercise, tmp_path: Path) -> None:
    os.environ["A_SECRET"] = "x"
    top = "import os, sys\nprint('A_SECRET' in os.environ, os.getcwd() == os.path.expanduser('~'), sys.stdin.read() == '')"
    try:
        result = run_exercise(exercise, written(tmp_path, "        return x", exercise, top))
    finally:
        del os.environ["A_SECRET"]
    assert result.output.split() == ["False", "True", "True"]


def test_a_stub_is_the_solution_with_its_holes_open() -> None:
    source = "def f(x):\n    # hole: return x\n    # first\n    # then\n    y = 2 * x  # twice\n    # why\n    return y\n    # end hole\n\n\nZ = 1\n"
    assert stub_of(source) == "def f(x):\n    # first\n    # then\n    return x\n\n\nZ = 1\n"
    assert solution_of(source) == "def f(x):\n    y = 2 * x  # twice\n    # why\n    return y\n\n\nZ = 1\n"


def test_the_learners_file(exercise: Exercise) -> None:
    with pytest.raises(UserError, match="no such file"):
        run_exercise(exercise)
    path = exercise.start()
    assert path == paths.exercises() / "rmsnorm.py"
    assert path.read_text(encoding="utf-8") == exercise.stub
    exercise.write("# mine\n")
    assert exercise.start().read_text(encoding="utf-8") == "# mine\n"


def test_a_file_that_cannot_be_written_is_said(exercise: Exercise, home: Path) -> None:
    home.parent.mkdir(exist_ok=True)
    home.write_text("a file where the folder should be", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        exercise.start()


def test_wrong_values_come_with_both_matrices_around_the_worst_place(exercise: Exercise, tmp_path: Path) -> None:
    body = "        y = (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight\n"
    file = written(tmp_path, body + "        y = y.clone()\n        y[..., 3] += 5\n        return y", exercise)
    result = run_exercise(exercise, file)
    difference = result.difference
    assert result.mutant is None
    assert difference is not None
    apart = [
        [a - b for a, b in zip(*rows, strict=True)] for rows in zip(difference.yours, difference.expected, strict=True)
    ]
    worst = max(range(8), key=lambda column: max(abs(row[column]) for row in apart))
    assert (len(difference.yours), len(difference.yours[0])) == (6, 8)
    assert worst + difference.column == 3
    assert all(row[3] == pytest.approx(5, abs=1e-3) for row in apart)
    assert "yours over the expected: median 1, most between" in str(result.stages[-1].message)
    data = json.loads(json.dumps(result.to_dict()))
    assert difference_of(data["difference"]) == difference


def test_a_difference_is_cut_to_size_and_made_safe() -> None:
    rows = [["nan"] * 99] * 99
    data = {"case": {"en": "\x1b[2J", "zh": "甲"}, "yours": rows, "expected": rows, "row": 0, "column": 0}
    difference = difference_of(data)
    assert difference is not None
    assert (len(difference.yours), len(difference.yours[0])) == (MOST_ROWS, MOST_COLUMNS)
    assert "\x1b" not in difference.case.en
    assert difference_of(None) is None


def test_a_loop_over_time_is_too_much_work(tmp_path: Path) -> None:
    def cases(generator: torch.Generator) -> list[Case]:
        return [Case(Text("short", "短"), {"x": torch.randn(2, 4, generator=generator)})]

    def two(generator: torch.Generator) -> tuple[Case, Case]:
        return cases(generator)[0], Case(Text("long", "长"), {"x": torch.randn(2, 40, generator=generator)})

    check = Check(
        part="total",
        parameters=("x",),
        axes=("batch",),
        cases=cases,
        run=lambda part, case: part(case.inputs["x"]),
        reference=lambda x: x.sum(-1),
        mutants={},
        longer=Longer(Text("there is a loop over time", "有沿时间的循环"), two),
    )
    path = tmp_path / "mine.py"
    path.write_text("def total(x):\n    return x.cumsum(-1)[:, -1]\n", encoding="utf-8")
    assert [stage["passed"] for stage in run_check(check, path, 1)["stages"]] == [True] * len(STAGES)
    path.write_text("def total(x):\n    return sum(x[:, t] for t in range(x.shape[1]))\n", encoding="utf-8")
    last = run_check(check, path, 1)["stages"][-1]
    assert (last["stage"], last["passed"]) == ("efficiency", False)
    assert "there is a loop over time" in last["message"]["en"]
    assert "有沿时间的循环" in last["message"]["zh"]
