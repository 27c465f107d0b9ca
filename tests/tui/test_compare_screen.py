"""Several runs in one chart, on the real app."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minimind.config import TrainConfig
from minimind.events import Language, Mark, Scalars
from minimind.training.runs import Recorder
from minimind_tui import supervisor
from minimind_tui.app import MiniMindApp
from minimind_tui.screens.compare import MOST_RUNS, CompareScreen
from minimind_tui.widgets.line_chart import LineChart
from tests.tui.driving import until, until_shown, until_told
from tests.tui.fake_runs import make_run, scalars


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than a person needs."""
    monkeypatch.setattr("minimind_tui.screens.compare.POLL_SECONDS", 0.1)


def two_runs() -> list[Path]:
    """One run of 60 steps, and one of 30 with twice the tokens a step and another rate."""
    first = make_run(steps=60, name="fast")
    second = make_run(config=TrainConfig(learning_rate=1e-2, dpo_beta=0.5))
    (second / "about.json").write_text(json.dumps({"name": "slow\x1b[2J[/]"}), encoding="utf-8")
    with Recorder(second) as recorder:
        recorder.record(Mark("started", 0))
        for step in range(1, 31):
            recorder.record(Scalars(step, {"loss": 2.0 + 1.0 / step, "tokens": step * 8192.0, "reward": 0.5}))
    return [first, second]


def drawn(app: MiniMindApp) -> list[tuple[float, float]]:
    """The first and the last abscissa of each curve."""
    curves = [series.curve for series in app.screen.query_one("#chart", LineChart)._series.values()]
    return [(curve.xs[0], curve.xs[-1]) for curve in curves if len(curve)]


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50)), ("zh", (60, 16))])
async def test_runs_lie_over_each_other_with_their_differences(language: Language, size: tuple[int, int]) -> None:
    runs = two_runs()
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await app.show_comparison(runs)
        heads = {"en": ("Lowest", "lost", "setting"), "zh": ("最低", "失去踪迹", "设置")}
        text = await until_shown(pilot, "fast", "slow␛[2J[/]", *heads[language], *(("2.033",) if size[0] > 60 else ()))
        assert "\x1b" not in text
        if size[0] > 60:
            text = await until_shown(pilot, "learning_rate", "0.003", "0.01")
            assert "dpo_beta" not in text  # differs, but neither run has a use for it


async def test_the_axes_are_steps_tokens_and_seconds() -> None:
    runs = two_runs()
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30)) as pilot:
        await app.show_comparison(runs)
        await until_shown(pilot, "Loss: training")  # what both record
        await pilot.press("right_square_bracket")
        await until_shown(pilot, "Loss: held-out")
        await pilot.press("right_square_bracket")
        await until_shown(pilot, "Reward: mean reward")
        await pilot.press("left_square_bracket")
        await until_shown(pilot, "Loss: held-out")
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: drawn(app) == [(1, 60), (1, 30)])
        await pilot.press("x")
        await until(pilot, lambda: drawn(app) == [(4096, 60 * 4096), (8192, 30 * 8192)])
        await until_shown(pilot, "over tokens")
        await pilot.press("x")
        await until_shown(pilot, "over seconds")
        await pilot.press("x", "y", "m")
        await until(pilot, lambda: drawn(app) == [(1, 60), (1, 30)])
        chart = app.screen.query_one("#chart", LineChart)
        assert chart.logarithmic
        assert chart.smoothed
        with Recorder(runs[0]) as recorder:
            recorder.record(scalars(80))
        await until(pilot, lambda: drawn(app) == [(1, 80), (1, 30)])


async def test_equal_settings_are_said_to_be_equal_and_deleted_runs_do_no_harm() -> None:
    runs = [make_run(steps=10), make_run(steps=20)]
    app = MiniMindApp(language="zh")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_comparison(runs)
        await until_shown(pilot, "所有设置都相同")
        supervisor.delete(runs[0])
        with Recorder(runs[1]) as recorder:
            recorder.record(scalars(30))
        await until(pilot, lambda: (1, 30) in drawn(app))
        await pilot.press("f8")
        await until_shown(pilot, "All settings are the same")


async def test_too_many_or_unreadable_runs_are_refused() -> None:
    run = make_run(steps=1)
    broken = make_run(steps=1)
    (broken / "run.json").write_text("{", encoding="utf-8")
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 24), notifications=True) as pilot:
        await app.show_comparison([run] * (MOST_RUNS + 1))
        await until_told(pilot, "mark at most 12")
        await app.show_comparison([run, broken])
        await until_told(pilot, "damaged, or not made by minimind")
        assert not isinstance(app.screen, CompareScreen)
