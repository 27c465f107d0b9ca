"""A run's whole life through the window: started, left, found again, paused, saved, stopped, resumed, finished.

The processes are real (shim, lock, control file); only the trainer does not compute.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minimind.training import launch
from minimind.training.runs import list_runs, request
from minimind_tui import estimate_client
from minimind_tui.app import MiniMindApp
from minimind_tui.screens.run import RunScreen
from tests.tui.driving import text_of, until, until_shown

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def fake_children(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[None]:
    """The trainer and the estimate are scripts; whatever is still alive at the end is told to stop."""
    monkeypatch.setattr("minimind_tui.screens.run.POLL_SECONDS", 0.1)
    monkeypatch.setattr(estimate_client, "COMMAND", (sys.executable, str(HERE / "fake_estimate.py")))
    monkeypatch.setattr(
        launch,
        "trainer_command",
        lambda directory, order: [sys.executable, "-c", _TRAINER, str(HERE.parent.parent), str(directory)],
    )
    yield
    for view in list_runs():
        if view.status().live:
            request(view.directory, want="stop", force=True)


_TRAINER = """
import sys; sys.path.insert(0, sys.argv[1])
from pathlib import Path
from tests.tui.fake_trainer import main
main(Path(sys.argv[2]))
"""


async def test_a_run_outlives_the_window_and_obeys_the_next_one() -> None:
    first = MiniMindApp(language="en")
    async with first.run_test(size=(100, 30)) as pilot:
        await first.show_new_run({"steps": 5000})
        await until_shown(pilot, "812 steps")
        await pilot.press("enter")
        await until_shown(pilot, "running", "goes on without this window", "training 1.")
        directory = list_runs()[0].directory
    second = MiniMindApp(language="en", target=("runs",))
    async with second.run_test(size=(100, 30), notifications=True) as pilot:
        await until_shown(pilot, directory.name, "running")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(second.screen, RunScreen))
        await until_shown(pilot, "running", "training 1.")
        await pilot.press("w")
        await until(pilot, lambda: list_runs()[0].checkpoints())
        await pilot.press("p")
        await until_shown(pilot, "paused between two steps")
        await pilot.press("p")
        await until(pilot, lambda: "paused between" not in text_of(second))
        await pilot.press("s")
        await until_shown(pilot, "Stop it")
        await pilot.press("y")
        await until_shown(pilot, "r resumes it from its newest checkpoint")
        stopped_at = list_runs()[0].checkpoints()[-1].step
        await pilot.press("r")
        await until_shown(pilot, "goes on from its newest")
        await until_shown(pilot, "running")
        view = list_runs()[0]
        await until(pilot, lambda: view.refresh() and view.step > stopped_at)
        assert [mark.step for mark in view.marks if mark.what == "started"] == [0, stopped_at]


async def test_a_short_run_finishes_and_offers_what_comes_next() -> None:
    app = MiniMindApp(language="zh")
    async with app.run_test(size=(160, 50)) as pilot:
        await app.show_new_run({"steps": 10})
        await until_shown(pilot, "共 812 步")
        await pilot.press("enter")
        await until_shown(pilot, "已完成：10 步", "按 f 教它回答", "at step 10.", "1.0 MB")
