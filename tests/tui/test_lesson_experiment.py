"""The experiment pane: predict first, then run, stop, change parameters; what came out is drawn and kept."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lessons.catalogue import load_experiment
from lessons.progress import Progress
from lessons.recorded import Recording
from minimind.events import Claim, Event, Scalars, Text
from minimind.experiment import Experiment, Parameter, experiment
from minimind_tui.lab import is_busy
from minimind_tui.widgets.choice_list import ChoiceList
from minimind_tui.widgets.experiment_pane import ExperimentPane
from minimind_tui.widgets.lesson_markdown import LessonMarkdown
from minimind_tui.widgets.line_chart import LineChart
from minimind_tui.widgets.parameter_line import ParameterLine
from tests.tui.driving import lines_of, until, until_shown
from tests.tui.lesson_driving import Reader, reading

release = threading.Event()


@experiment(
    title=Text("Waiting", "等待"),
    question=Text("How long?", "要多久？"),
    parameters={"count": Parameter(Text("count", "个数"), low=1, high=9), "fails": Parameter(Text("fails", "出错"))},
    quick={},
    predict=Text("Short or long?", "短还是长？"),
    choices=(Text("short", "短"), Text("long", "长")),
    names={"curve": Text("Curve", "曲线")},
)
def waiting(count: int = 3, fails: bool = False) -> Iterator[Event]:
    """Yields points until it is released; stands in for a long experiment."""
    x = 0
    while not release.wait(0.01):
        x += 1
        yield Scalars(x, {"a": float(x)}, chart="curve")
    if fails:
        raise RuntimeError("out of \x1b[31mpatience")
    for index in range(count):
        yield Scalars(x + index, {"a": float(index)}, chart="curve")
    yield Claim("prediction", Text("short", "短"), {"choice": 0}, True)
    yield Claim("counted", Text("It counted", "数完了"), {"count": count}, True)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Experiment]:
    release.clear()
    in_place = replace(waiting, name="depth_signal")
    monkeypatch.setattr("minimind_tui.widgets.experiment_pane.load_experiment", lambda _name: in_place)
    yield in_place
    release.set()


def pane_of(reader: Reader) -> ExperimentPane:
    return reader.screen.query(ExperimentPane).first()


async def loaded(reader: Reader) -> ExperimentPane:
    pane = pane_of(reader)
    await until(reader.pilot, lambda: pane.experiment is not None and pane.query(ParameterLine), seconds=60)
    await reader.pilot.pause()
    return pane


async def predict(reader: Reader, letter: str = "b") -> None:
    await reader.focus("ChoiceList")
    await reader.press(letter)


async def test_nothing_runs_before_a_prediction(slow: Experiment) -> None:
    async with reading("question", size=(100, 40)) as reader:
        pane = await loaded(reader)
        await reader.press("r")
        assert not pane.is_running
        assert pane.check_action("run", ()) is None
        await reader.focus("ChoiceList")
        await until_shown(reader.pilot, "Short or long?", "Predict first")
        await reader.press("b")
        assert pane.prediction == 1
        await until_shown(reader.pilot, "You said: long")
        await reader.press("r")
        await until(reader.pilot, lambda: pane.is_running)
    assert Progress.load().lesson("normalization").predictions == {"depth_signal": 1}


async def test_a_prediction_is_asked_for_once(slow: Experiment) -> None:
    async with reading("question") as reader:
        await loaded(reader)
        await predict(reader)
    async with reading("question") as reader:
        pane = await loaded(reader)
        assert not pane.query(ChoiceList)
        await reader.press("r")
        await until(reader.pilot, lambda: pane.is_running)


async def test_it_streams_and_tells_the_outcome(slow: Experiment) -> None:
    async with reading("question", size=(100, 40)) as reader:
        pane = await loaded(reader)
        await predict(reader)
        await reader.press("r")
        await until_shown(reader.pilot, "Running", "Stop (s)")
        await until(reader.pilot, lambda: pane.query(LineChart))
        release.set()
        await until_shown(reader.pilot, "Finished", "You said: long", "✗ It was: short")
        assert not pane.is_running
        await reader.press("end")
        await until_shown(reader.pilot, "✓ It counted")
        assert lines_of(reader.app)
        await reader.press("f8")
        await until_shown(reader.pilot, "数完了")
    kept = Progress.load().lesson("normalization").runs["depth_signal"]
    assert dict(kept.values) == {"count": 3, "fails": False}
    assert {claim.id for claim in kept.claims} == {"prediction", "counted"}


async def test_stopping_keeps_what_was_drawn(slow: Experiment) -> None:
    async with reading("question", size=(100, 40)) as reader:
        pane = await loaded(reader)
        await predict(reader)
        await reader.press("r")
        await until(reader.pilot, lambda: pane.query(LineChart))
        await reader.press("s")
        await until_shown(reader.pilot, "Stopped; what was drawn stays")
        assert pane.query(LineChart)
        assert Progress.load().lesson("normalization").runs == {}
        await reader.press("r")
        await until(reader.pilot, lambda: pane.is_running)


async def test_turning_the_page_stops_the_run(slow: Experiment) -> None:
    async with reading("question") as reader:
        pane = await loaded(reader)
        await predict(reader)
        await reader.press("r")
        await until(reader.pilot, lambda: pane.is_running)
        await reader.press("n")
        await until(reader.pilot, lambda: not is_busy())
        assert reader.screen.page.id == "signal"


async def test_a_failure_is_one_harmless_line(slow: Experiment) -> None:
    async with reading("question", size=(100, 40)) as reader:
        pane = await loaded(reader)
        await predict(reader)
        fails = next(line for line in pane.query(ParameterLine) if line.setting.name == "fails")
        fails.focus()
        await reader.press("right")
        assert fails.value is True
        await reader.press("r")
        await until(reader.pilot, lambda: pane.is_running)
        release.set()
        await until_shown(reader.pilot, "it failed: RuntimeError: out of ␛[31mpatience")


async def test_a_wrong_parameter_is_refused(slow: Experiment) -> None:
    async with reading("question", size=(120, 40)) as reader:
        pane = await loaded(reader)
        await predict(reader)
        count = next(line for line in pane.query(ParameterLine) if line.setting.name == "count")
        count.focus()
        await reader.press("9", "9")
        await until_shown(reader.pilot, "parameter count='99' is not allowed: use a whole number 1…9")
        await reader.press("r")
        await until_shown(reader.pilot, "A parameter is not allowed")
        assert not pane.is_running
        await reader.press("backspace", "r")
        await until(reader.pilot, lambda: pane.is_running)
        assert count.value == 9
        await reader.press("0")
        assert count.value == 3


async def test_a_fence_sets_parameters_without_asking_again(slow: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimind_tui.widgets.experiment_pane.load_experiment", load_experiment)
    async with reading("cause", size=(120, 40)) as reader:
        pane = await loaded(reader)
        assert not pane.query(ChoiceList)
        values = {line.setting.name: line.value for line in pane.query(ParameterLine)}
        assert (values["depth"], values["residual"], values["width"]) == (100, True, 128)


async def test_a_real_experiment_runs_in_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    async with reading("precision", size=(120, 50)) as reader:
        pane = await loaded(reader)
        await predict(reader, "d")
        await reader.press("r")
        await until_shown(reader.pilot, "Finished", "✓ It was: 0", seconds=60)
        await reader.press("end")
        await until_shown(reader.pilot, "From |x| = 256 on float16 silently returns 0")
        assert pane.query(LineChart)
    kept = Progress.load().lesson("normalization").runs["half_precision_overflow"]
    assert all(claim.holds for claim in kept.claims)


async def test_own_numbers_replace_the_recorded_ones() -> None:
    async with reading("precision", language="zh") as reader:
        pane = await loaded(reader)
        await predict(reader, "a")
        await reader.press("r")
        await until(reader.pilot, lambda: pane.results is not None, seconds=60)
        await reader.pilot.pause(0.3)
        await reader.press("n", "p")
        await until(reader.pilot, lambda: reader.screen.page.id == "precision")
        await reader.press("end")
        await until_shown(reader.pilot, "本页数字来自你自己的运行")


async def test_the_prose_follows_a_run_on_its_page() -> None:
    async with reading("precision", size=(100, 60)) as reader:
        pane = await loaded(reader)
        await predict(reader, "a")
        lesson = reader.screen.lesson
        await reader.press("r")
        await until(reader.pilot, lambda: pane.results is not None, seconds=60)
        assert pane.results is not None
        claims = [
            replace(claim, holds=False, measured={**claim.measured, "at_256": 77.0}) for claim in pane.results.claims
        ]
        own = Recording(lesson.recordings["half_precision_overflow"].values, tuple(claims))
        reader.screen._record.change(lambda now: now.runs.__setitem__("half_precision_overflow", own))
        await until(reader.pilot, lambda: any("77" in text.source for text in reader.screen.query(LessonMarkdown)))
