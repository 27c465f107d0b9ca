"""The experiment pane's tools: budgets, number predictions, pause and step, the run before, kept results, files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from lessons import kept_runs
from lessons.notebook import read_entries
from lessons.progress import Progress, changing
from lessons.recorded import Recording
from lessons.results import Collector, Results
from minimind import paths
from minimind.events import Claim, Event, Language, Scalars, Text
from minimind.experiment import Experiment, Number, Parameter, Setting, experiment
from minimind_tui.lab import is_busy
from minimind_tui.widgets.budget_line import BudgetLine
from minimind_tui.widgets.experiment_pane import ExperimentPane
from minimind_tui.widgets.line_chart import LineChart
from minimind_tui.widgets.number_line import NumberLine
from minimind_tui.widgets.parameter_line import ParameterLine
from minimind_tui.widgets.results_view import ResultsView
from tests.tui.driving import lines_of, until, until_shown, until_told
from tests.tui.lesson_driving import Reader, reading

pace = SimpleNamespace(seconds=0.0)


@experiment(
    title=Text("Counting", "计数"),
    question=Text("How far?", "数到多少？"),
    parameters={
        "steps": Parameter(Text("steps", "步数"), low=1, high=500),
        "seeds": Parameter(Text("seeds", "种子数"), low=1, high=5),
    },
    quick={"steps": 4, "seeds": 1},
    deep={"steps": 40, "seeds": 5},
    predict=Text("How many?", "有多少？"),
    number=Number(0, 100, unit=Text("steps", "步")),
    names={"curve": Text("Curve", "曲线")},
)
def counting(steps: int = 10, seeds: int = 3) -> Iterator[Event]:
    """A line of `steps` points, a moment apart."""
    for x in range(1, steps + 1):
        time.sleep(pace.seconds)
        yield Scalars(x, {"a": float(x * seeds)}, chart="curve")
    yield Claim("prediction", Text("counted", "数完了"), {"number": steps}, True)
    yield Claim("counted", Text("It counted", "数到头了"), {"steps": steps, "seeds": seeds}, True)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """`counting` in place of the first experiment of the lesson."""
    pace.seconds = 0.0
    in_place = replace(counting, name="depth_signal")
    monkeypatch.setattr("minimind_tui.widgets.experiment_pane.load_experiment", lambda _name: in_place)
    return in_place


async def loaded(reader: Reader) -> ExperimentPane:
    pane = reader.screen.query(ExperimentPane).first()
    await until(reader.pilot, lambda: pane.query(ResultsView), seconds=60)
    await reader.pilot.pause()
    return pane


async def ready(reader: Reader) -> ExperimentPane:
    """The pane, the prediction made."""
    pane = await loaded(reader)
    await reader.focus("NumberLine")
    await reader.press("1", "2", "enter")
    await until(reader.pilot, lambda: pane.prediction == 12.0)
    return pane


async def finished(reader: Reader, pane: ExperimentPane) -> None:
    await until(reader.pilot, lambda: pane.results is not None and not pane.is_running)
    await reader.pilot.pause()


def values(pane: ExperimentPane) -> dict[str, Any]:
    return {line.setting.name: line.value for line in pane.query(".parameters ParameterLine").results(ParameterLine)}


@pytest.mark.parametrize(("language", "words", "size"), [("en", "steps", (80, 24)), ("zh", "步", (60, 16))])
async def test_a_number_is_predicted_and_judged(
    counter: Experiment, language: Language, words: str, size: tuple[int, int]
) -> None:
    async with reading("question", language=language, size=size) as reader:
        pane = await loaded(reader)
        line = await reader.focus("NumberLine")
        assert isinstance(line, NumberLine)
        assert "?" in line._rows[0][2][0]
        await reader.press("enter", "r")
        assert pane.prediction is None
        assert not pane.is_running
        await reader.press("9", "9", "9", "enter")
        assert pane.prediction is None
        await reader.press("backspace", "backspace", "enter")
        await until(reader.pilot, lambda: pane.prediction == 9.0)
        await reader.press("r")
        await finished(reader, pane)
        told = "You said: 9 steps" if language == "en" else "你的预测：9 步"
        came = f"✓ It was: 10 {words}" if language == "en" else f"✓ 实际结果：10 {words}"
        pane.query_one(".outcome").scroll_visible(animate=False)
        await until_shown(reader.pilot, told, came)
        assert lines_of(reader.app)
    assert Progress.load().lesson("normalization").guesses == {"depth_signal": 9.0}


async def test_a_slider_predicts_too_and_a_wrong_number_is_told(counter: Experiment) -> None:
    async with reading("question", size=(100, 40)) as reader:
        pane = await loaded(reader)
        await reader.focus("NumberLine")
        await reader.press("right", "right", "enter")
        await until(reader.pilot, lambda: pane.prediction == 60.0)
        assert not pane.query(NumberLine)
        await reader.press("r")
        await until_shown(reader.pilot, "You said: 60 steps", "✗ It was: 10 steps")


async def test_budgets_set_the_parameters_and_tell_the_cost(counter: Experiment) -> None:
    with changing():
        pass
    async with reading("question", size=(110, 40)) as reader:
        lesson = reader.screen.lesson
        recording = Recording({}, (), "torch", {"standard": 40.0, "quick": 2.5})
        reader.screen._record.lesson = replace(lesson, recordings={**lesson.recordings, "depth_signal": recording})
        pane = await ready(reader)
        pane.relabel()
        await until_shown(reader.pilot, "[standard]", "about 40 s of computing")
        await reader.press("b")
        assert values(pane) == {"steps": 40, "seeds": 5}
        await until_shown(reader.pilot, "[deep]", "about 4.4 min of computing")
        await reader.press("b")
        assert values(pane) == {"steps": 4, "seeds": 1}
        await until_shown(reader.pilot, "[quick]", "about 2 s of computing")
        await reader.focus("BudgetLine")
        await reader.press("right")
        await until_shown(reader.pilot, "[standard]")
        steps = pane.query(".parameters ParameterLine").first(ParameterLine)
        steps.focus()
        await reader.press("right")
        await until_shown(reader.pilot, "[own values]", "about 44 s of computing")
        await reader.press("f8")
        await until_shown(reader.pilot, "[自定的值]", "计算约需 44 秒")
        line = pane.query_one(BudgetLine)
        place = "".join(text for text, _ in line._rows[0]).index("快速") + len("预算")
        await reader.pilot.click(line, offset=(place, 0))
        await until(reader.pilot, lambda: values(pane) == {"steps": 4, "seeds": 1})


async def test_what_the_page_sets_stays_in_every_budget(counter: Experiment) -> None:
    async with reading("question", size=(100, 40)) as reader:
        pane = await ready(reader)
        pane._given = {"seeds": "2"}
        await reader.press("b", "b")
        assert values(pane) == {"steps": 4, "seeds": 2}
        await until_shown(reader.pilot, "[quick]")
        await reader.press("0")
        assert values(pane) == {"steps": 10, "seeds": 2}


def points(pane: ExperimentPane) -> int:
    charts = pane.query(LineChart)
    return len(charts.first()._series["a"].curve) if charts and "a" in charts.first()._series else 0


async def test_a_run_pauses_steps_and_goes_on(counter: Experiment) -> None:
    async with reading("question", size=(110, 45)) as reader:
        pane = await ready(reader)
        pace.seconds = 0.02
        (steps, _) = pane.query(".parameters ParameterLine").results(ParameterLine)
        steps.set_value(500)
        await reader.press("r")
        await until(reader.pilot, lambda: points(pane) > 1)
        await reader.press("space")
        await until_shown(reader.pilot, "Paused.", "Go on (z)", "Step (.)")
        run = pane.run
        assert run is not None
        await until(
            reader.pilot, lambda: run.is_at_rest and pane._timer is not None and not pane._timer._active.is_set()
        )
        before = points(pane)
        await reader.pilot.pause(0.3)
        assert points(pane) == before
        for taken in (1, 2, 3):
            await reader.press("full_stop")
            await until(reader.pilot, lambda taken=taken: points(pane) == before + taken)
        await until(reader.pilot, lambda: run.is_at_rest)
        assert points(pane) == before + 3
        await reader.press("z")
        await until_shown(reader.pilot, "Running")
        await until(reader.pilot, lambda: points(pane) > before + 5)
        await reader.press("z", "s")
        await until_shown(reader.pilot, "Stopped")
        assert not is_busy()
        assert pane.results is not None
        assert not pane.is_paused
        assert not pane._timer._active.is_set()  # type: ignore[union-attr]


async def test_the_run_before_lies_under_this_one(counter: Experiment) -> None:
    async with reading("question", size=(110, 60)) as reader:
        pane = await ready(reader)
        assert pane.check_action("overlay", ()) is False
        await reader.press("r")
        await finished(reader, pane)
        assert pane.check_action("overlay", ()) is False
        await reader.press("b", "b", "r")
        await until(reader.pilot, lambda: pane.results is not None and pane.results.values["steps"] == 4)
        await until_shown(reader.pilot, "Dim curves: the run before (steps 10 → 4, seeds 3 → 1). o hides them.")
        chart = pane.query_one(LineChart)
        assert {name: len(curve) for name, curve in chart._ghosts.items()} == {"a": 10}
        await reader.press("o")
        await reader.pilot.pause()
        assert chart._ghosts == {}
        await reader.press("o", "f8")
        await until_shown(reader.pilot, "暗色曲线是上一次运行（步数 10 → 4，种子数 3 → 1）")
        await reader.press("a")
        await until_shown(reader.pilot, "参数相同")


async def test_the_same_run_is_shown_and_not_computed(counter: Experiment) -> None:
    async with reading("question", size=(110, 60)) as reader:
        pane = await ready(reader)
        await reader.press("r")
        await finished(reader, pane)
        await until(reader.pilot, lambda: kept_runs.find(counter, counter.resolve()))
    async with reading("question", size=(110, 60)) as reader:
        pane = await loaded(reader)
        await until_shown(reader.pilot, "and kept. a computes it anew", "You said: 12 steps", "✓ It was: 10 steps")
        assert points(pane) == 10
        await reader.press("b", "r")
        await until(reader.pilot, lambda: pane.results is not None and pane.results.values["steps"] == 40)
        await until(reader.pilot, lambda: kept_runs.find(counter, counter.budget("deep")))
        pace.seconds = 10.0
        await reader.press("b", "b", "r")
        await until(reader.pilot, lambda: pane.results is not None and pane.results.values["steps"] == 10)
        assert not is_busy()
        pace.seconds = 0.0
        await until(
            reader.pilot, lambda: Progress.load().lesson("normalization").runs["depth_signal"].values["steps"] == 10
        )
        before = pane.results
        await reader.press("a")
        await until(reader.pilot, lambda: pane.results is not None and pane.results is not before)
        await until_shown(reader.pilot, "Finished.")


async def test_results_are_not_shown_before_a_prediction(counter: Experiment) -> None:
    collector = Collector()
    collector.add(counter.run())
    kept_runs.keep(counter, Results(counter.name, counter.resolve(), collector.events()))
    async with reading("question", size=(110, 60)) as reader:
        pane = await loaded(reader)
        await until_shown(reader.pilot, "Predict first: Tab to your number")
        assert pane.results is None
        assert not pane.query(LineChart)


async def test_results_are_saved_and_noted(counter: Experiment) -> None:
    async with reading("question", size=(110, 60)) as reader:
        pane = await ready(reader)
        await reader.press("x", "w")
        assert not paths.exports().exists()
        await reader.press("r")
        await finished(reader, pane)
        await until(reader.pilot, lambda: len(read_entries("normalization")) == 1)
        await reader.press("x")
        await until_told(reader.pilot, str(paths.exports()))
        (directory,) = paths.exports().iterdir()
        assert sorted(file.name for file in directory.iterdir()) == ["results.jsonl", "results.svg", "results.txt"]
        await reader.press("w", "m", "y", "space", "r", "ctrl+r")
        await until(reader.pilot, lambda: read_entries("normalization")[0].text.endswith("> my r"))
        await until_told(reader.pilot, "lab notebook")
        await reader.press("w", "x", "escape")
        await reader.pilot.pause()
        assert reader.app.screen is reader.screen
        assert "> x" not in read_entries("normalization")[0].text


async def test_a_note_makes_its_entry_where_the_notebook_was_thrown_away(counter: Experiment) -> None:
    async with reading("question", size=(110, 60)) as reader:
        pane = await ready(reader)
        await reader.press("r")
        await finished(reader, pane)
        await until(reader.pilot, lambda: len(read_entries("normalization")) == 1)
        (paths.notebooks() / "normalization.md").unlink()
        await reader.press("w", "h", "i", "tab", "enter")
        await until(
            reader.pilot, lambda: read_entries("normalization") and "> hi" in read_entries("normalization")[0].text
        )


async def test_what_cannot_be_written_is_told(counter: Experiment) -> None:
    paths.home().mkdir(parents=True)
    for path in (paths.notebooks(), paths.exports()):
        path.write_text("in the way", encoding="utf-8")
    async with reading("question", size=(110, 60)) as reader:
        pane = await ready(reader)
        await reader.press("r")
        await finished(reader, pane)
        await until_told(reader.pilot, "normalization.md: not saved")
        await reader.press("x")
        await until_told(reader.pilot, "results.jsonl: not saved")
        assert pane.results is not None


def line_of(value: float, low: float, high: float, *, whole: bool = False) -> ParameterLine:
    kind = int if whole else float
    return ParameterLine(Setting("x", kind, kind(value), Parameter(Text("x", "x"), low, high)), kind(value))


def test_a_wide_range_is_stepped_by_factors() -> None:
    line = line_of(0.001, 1e-5, 0.1)
    assert line._share() == pytest.approx(0.5)
    line.action_step(1)
    assert line.value == pytest.approx(0.0016)
    line.action_leap(-1)
    assert line.value == pytest.approx(0.00064)
    for _ in range(30):
        line.action_step(1)
    assert line.value == 0.1
    whole = line_of(1, 1, 5000, whole=True)
    values = []
    for _ in range(20):
        whole.action_step(1)
        values.append(whole.value)
    assert values[:4] == [2, 3, 5, 8]
    assert values[-1] == 5000
    whole.action_step(-1)
    assert whole.value == 3300
    narrow = line_of(10, 0, 20, whole=True)
    narrow.action_step(1)
    assert narrow.value == 11
    narrow.action_leap(-1)
    assert narrow.value == 9


async def test_a_run_brings_what_it_draws_into_view(counter: Experiment) -> None:
    async with reading("question", size=(80, 24)) as reader:
        pane = await ready(reader)
        reader.screen.query_one("#page").scroll_home(animate=False)
        pace.seconds = 0.05
        await reader.press("r")
        await finished(reader, pane)
        text = await until_shown(reader.pilot, "Run (r)", "It was: 10 steps", "Curve")
        rows = text.splitlines()
        assert next(y for y, row in enumerate(rows) if "Run (r)" in row) <= 4
