"""The exercise pane: editing, checking, hints one at a time, the solution after passing, an editor of one's own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lessons.exercise import STAGES, CheckResult, Difference, Exercise, StageResult
from lessons.progress import Progress
from minimind.events import Text
from minimind_tui.widgets.code_editor import CodeEditor
from minimind_tui.widgets.difference_view import DifferenceView
from minimind_tui.widgets.exercise_pane import ExercisePane
from tests.tui.driving import lines_of, until, until_said, until_shown
from tests.tui.lesson_driving import LESSON, Reader, reading

EXERCISE = LESSON.exercise("rmsnorm")
PASSED = CheckResult(tuple(StageResult(stage, True) for stage in STAGES))
GOOD_STAGES = [StageResult(stage, True) for stage in ("import", "runs", "shape", "dtype")]
WRONG = CheckResult(
    (*GOOD_STAGES, StageResult("values", False, Text("expected 1, got 2", "应为 1，得到 2"))),
    mutant="no_root",
    output="hello \N{SYMBOL FOR ESCAPE}[2J\n",
)


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> list[CheckResult]:
    """What the next checks find."""
    given: list[CheckResult] = []

    def check(_exercise: Exercise, **_: Any) -> CheckResult:
        return given.pop(0)

    monkeypatch.setattr("minimind_tui.widgets.exercise_pane.run_exercise", check)
    return given


def pane_of(reader: Reader) -> ExercisePane:
    return reader.screen.query_one(ExercisePane)


async def test_the_file_is_made_from_the_stub_and_kept() -> None:
    async with reading("exercise") as reader:
        editor = reader.screen.query_one(CodeEditor)
        assert editor.text == EXERCISE.stub
        await reader.focus("ExercisePane")
        await reader.press("i")
        assert reader.app.focused is editor
        await reader.press("#", "n", "q")
        await until_shown(reader.pilot, "#nq")
        await reader.press("escape")
        assert pane_of(reader).has_focus
        assert reader.screen.page.id == "exercise"
        await reader.press("n")
    assert EXERCISE.file.read_text(encoding="utf-8") == EXERCISE.stub + "#nq"
    async with reading("exercise") as reader:
        assert reader.screen.query_one(CodeEditor).text.endswith("#nq")


async def test_a_mistake_is_shown_by_stage_and_diagnosed(verdicts: list[CheckResult]) -> None:
    verdicts.append(WRONG)
    async with reading("exercise", size=(110, 66)) as reader:
        await reader.focus("ExercisePane")
        await reader.press("c")
        mutant = EXERCISE.mutant("no_root")
        assert mutant is not None
        text = await until_shown(reader.pilot, "✗ values: expected 1, got 2", f"It looks like this: {mutant.what.en}")
        assert "✓ shape" in text
        assert "Hint 1" not in text
        assert "hello ␛[2J" in text
        for number, hint in enumerate(mutant.hints, 1):
            await reader.press("h")
            text = await until_shown(reader.pilot, f"Hint {number}:")
            assert hint.en[:40] in text
            assert f"Hint {number + 1}" not in text
        await reader.press("h")
        await reader.press("f8")
        await until_shown(reader.pilot, "数值：应为 1，得到 2", mutant.what.zh, "提示 3")
        assert lines_of(reader.app)
    attempt = Progress.load().lesson("normalization").exercises["rmsnorm"]
    assert (attempt.checks, attempt.hints, attempt.passed) == (1, 3, False)


async def test_the_solution_opens_after_passing(verdicts: list[CheckResult]) -> None:
    verdicts.append(PASSED)
    async with reading("exercise", size=(110, 60)) as reader:
        pane = await reader.focus("ExercisePane")
        assert pane.check_action("solution", ()) is None
        await reader.press("o")
        assert not pane.has_class("-solved")
        await reader.press("ctrl+r")
        await until_shown(reader.pilot, "Passed. o shows one way to write it, u trains")
        await reader.press("o")
        await until_shown(reader.pilot, "mean_square = wide.pow(2).mean(-1, keepdim=True)")
    async with reading("exercise", size=(110, 60)) as reader:
        await until_shown(reader.pilot, "You have passed this before.")


async def test_the_real_check_finds_the_stub_unfinished() -> None:
    async with reading("exercise", size=(110, 50)) as reader:
        await reader.focus("ExercisePane")
        await reader.press("c")
        await until_shown(reader.pilot, "Checking in a process of its own")
        await until_shown(reader.pilot, "x comes back as it went in", seconds=90)


async def test_a_check_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(_exercise: Exercise, *, cancelled: Callable[[], bool]) -> CheckResult:
        while not cancelled():
            time.sleep(0.01)
        return CheckResult(limit="stopped", problem=Text("stopped", "已停止"))

    monkeypatch.setattr("minimind_tui.widgets.exercise_pane.run_exercise", endless)
    async with reading("exercise", size=(110, 50)) as reader:
        pane = await reader.focus("ExercisePane")
        await reader.press("c")
        await until_shown(reader.pilot, "Checking")
        assert pane.check_action("check", ()) is None
        await reader.press("s")
        await until(reader.pilot, lambda: not pane._is_checking)
        await until_shown(reader.pilot, "stopped")


async def test_an_editor_of_ones_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\necho "# by hand" >> "$1"\n', encoding="utf-8")
    script.chmod(0o755)
    monkeypatch.setenv("EDITOR", str(script))
    monkeypatch.delenv("VISUAL", raising=False)
    async with reading("exercise", size=(150, 50)) as reader:
        await reader.focus("ExercisePane")
        await reader.press("e")
        await until_said(reader.pilot, ".results", "this terminal cannot be lent")  # there is none under test

        @contextmanager
        def lent() -> Iterator[None]:
            yield

        monkeypatch.setattr(reader.app, "suspend", lent)
        await reader.press("e")
        editor = reader.screen.query_one(CodeEditor)
        await until(reader.pilot, lambda: editor.text.endswith("# by hand\n"))
        monkeypatch.setenv("EDITOR", str(tmp_path / "missing"))
        await reader.press("e")
        await until_said(reader.pilot, ".results", "No such file or directory:")


async def test_beginning_again_asks_first() -> None:
    EXERCISE.write("# mine\n")
    async with reading("exercise") as reader:
        editor = reader.screen.query_one(CodeEditor)
        assert editor.text == "# mine\n"
        await reader.focus("ExercisePane")
        await reader.press("ctrl+y")
        await until_shown(reader.pilot, "Begin again from the empty version?")
        await reader.press("escape")
        assert editor.text == "# mine\n"
        await reader.press("ctrl+y")
        await until_shown(reader.pilot, "Begin again from the empty version?")
        await reader.press("y")
        await until(reader.pilot, lambda: editor.text == EXERCISE.stub)
    assert EXERCISE.file.read_text(encoding="utf-8") == EXERCISE.stub


async def test_a_file_that_cannot_be_kept_is_said(home: Path, verdicts: list[CheckResult]) -> None:
    async with reading("exercise", size=(110, 50)) as reader:
        editor = reader.screen.query_one(CodeEditor)
        editor.load_text("# changed")
        EXERCISE.file.unlink()
        EXERCISE.file.parent.rmdir()
        EXERCISE.file.parent.write_text("in the way", encoding="utf-8")
        await reader.focus("ExercisePane")
        await reader.press("c")
        await until_said(reader.pilot, ".results", "rmsnorm.py: cannot be")
        assert not pane_of(reader)._is_checking


async def test_code_is_coloured() -> None:
    async with reading("exercise") as reader:
        editor = reader.screen.query_one(CodeEditor)
        for theme in ("minimind-dark", "minimind-light", "minimind-ansi"):
            reader.app.theme = theme
            await reader.pilot.pause()
            line = editor.get_line(2)
            assert line.plain == "import torch"
            assert line.spans


@pytest.mark.parametrize("size", [(110, 66), (60, 40)])
async def test_wrong_values_stand_beside_the_expected(verdicts: list[CheckResult], size: tuple[int, int]) -> None:
    rows = tuple(tuple(float(row * 4 + column) for column in range(4)) for row in range(3))
    difference = Difference(
        Text("a case", "一例"), rows, tuple(tuple(value / 2 for value in row) for row in rows), row=6
    )
    verdicts += [replace(WRONG, mutant=None, difference=difference), PASSED]
    async with reading("exercise", size=size) as reader:
        await reader.focus("ExercisePane")
        await reader.press("c")
        view = reader.screen.query_one(DifferenceView)
        await until(reader.pilot, lambda: view.display and view.has_class("-shown"))
        view.scroll_visible(animate=False)
        await until_shown(reader.pilot, "yours, a case", "expected, a case")
        await reader.press("f8")
        await until_shown(reader.pilot, "你的结果，一例", "应有的结果，一例")
        assert lines_of(reader.app)
        await reader.press("c")
        await until(reader.pilot, lambda: not view.has_class("-shown"))
