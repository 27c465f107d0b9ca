"""Every screen about runs and chat in a terminal that is too small, in the smallest that is not, and wider again."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from minimind_tui import chat_client, estimate_client
from minimind_tui.app import MiniMindApp
from tests.tui.driving import text_of, until_shown
from tests.tui.fake_runs import make_run

HERE = Path(__file__).parent


async def show(app: MiniMindApp, name: str, run: Path) -> None:
    """Open the screen `name`."""
    if name == "runs":
        await app.action_go("runs")
    elif name == "run":
        await app.show_run(run)
    elif name == "new_run":
        await app.show_new_run()
    else:
        await app.show_chat("/x/nano")


@pytest.mark.parametrize(
    ("name", "words"),
    [("runs", "失去踪迹"), ("run", "按 r 从最新的检查点恢复"), ("new_run", "开始训练"), ("chat", "nano · sft")],
)
async def test_a_screen_survives_any_size(name: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate_client, "COMMAND", (sys.executable, str(HERE / "fake_estimate.py")))
    monkeypatch.setattr(chat_client, "WORKER", (sys.executable, str(HERE / "fake_chat_worker.py")))
    run = make_run(steps=60)
    app = MiniMindApp(language="zh")
    async with app.run_test(size=(40, 10)) as pilot:
        await show(app, name, run)
        await until_shown(pilot, "需要 60×16")
        assert words not in text_of(app)
        for width, height in ((60, 16), (160, 50), (20, 4), (200, 16), (80, 24)):
            await pilot.resize_terminal(width, height)
            if width >= 60:
                await until_shown(pilot, words)
