"""The screen of paired comparisons, over a child that stands in for the training."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.widgets import Input

from minimind.events import Claim, Event, Language, Progress, Scalars, Table, Text, to_dict
from minimind_tui import child as children
from minimind_tui.app import MiniMindApp
from minimind_tui.screens.ablation import AblationScreen
from tests.tui.driving import until, until_said, until_shown

EVENTS: tuple[Event, ...] = (
    Table("differences", (Text("setting", "设置"), Text("a", "a")), (("learning_rate \x1b[31m", "0.003"),)),
    *(Scalars(step, {"a": 2.0 / step, "b": 3.0 / step}, chart="seed 1") for step in (1, 2, 3)),
    Progress(3, 3, Text("seed 1", "种子 1")),
    Claim("difference", Text("a is better: +0.5", "a 更好：+0.5"), {"difference": 0.5, "seeds": 1.0}, True),
)
Child = Callable[..., Path]


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Child:
    """A command that notes its arguments, prints `lines`, and then ends with `code` or waits."""

    def make(lines: list[str], *, code: int = 0, waits: bool = False, error: str = "") -> Path:
        noted = tmp_path / "arguments.json"
        program = tmp_path / "child.py"
        program.write_text(
            f"import json, sys, time\njson.dump(sys.argv[1:], open({str(noted)!r}, 'w'))\n"
            f"for line in {lines!r}:\n    print(line, flush=True)\n"
            f"{'time.sleep(60)' if waits else ''}\nsys.stderr.write({error!r})\nsys.exit({code})\n"
        )
        monkeypatch.setattr(children, "COMMAND", (sys.executable, str(program)))
        return noted

    return make


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50))])
async def test_what_the_child_finds_is_drawn(child: Child, language: Language, size: tuple[int, int]) -> None:
    noted = child(["no event", "[1]", *(json.dumps(to_dict(event)) for event in EVENTS)])
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await app.push_screen(AblationScreen())
        await until_shown(pilot, "learning_rate=0.001", "pretrain --model nano")
        app.screen.query_one("#change", Input).value = "learning_rate=0.01 warmup=0.1"
        await pilot.press("enter")
        await until_said(pilot, "#state", "完成" if language == "zh" else "Done")
        view = app.screen.query_one("EventView")
        view.scroll_visible(animate=False)
        await until(pilot, lambda: ("a 更好" if language == "zh" else "a is better") in _texts(view))
    arguments = json.loads(noted.read_text())
    assert arguments[:4] == ["ablate", "pretrain", "--model", "nano"]
    at = arguments.index("--change")
    assert arguments[at + 1 : at + 3] == ["learning_rate=0.01", "warmup=0.1"]
    assert arguments[arguments.index("--seeds") + 1] == "3"
    assert "--json" in arguments


def _texts(view: object) -> str:
    return "\n".join(str(widget.content) for widget in view.query("Static"))  # type: ignore[attr-defined]


async def test_its_last_words_are_shown_where_it_fails(child: Child) -> None:
    child([], code=2, error="minimind: learning_rate = 'x': not a number \x1b[2J\n")
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.push_screen(AblationScreen())
        await pilot.press("ctrl+s")
        await until_said(pilot, "#state", "learning_rate = 'x': not a number ␛[2J")
        app.screen.query_one("#arms", Input).value = "pretrain 'open"
        await pilot.press("ctrl+s")
        await until_said(pilot, "#state", "a quote is not closed")


async def test_stopping_ends_the_child_and_it_can_begin_again(child: Child) -> None:
    child([json.dumps(to_dict(EVENTS[0]))], waits=True)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        screen = AblationScreen()
        await app.push_screen(screen)
        await pilot.press("enter")
        await until_said(pilot, "#state", "Training both arms")
        assert screen.check_action("start", ()) is False
        await pilot.press("f5")
        await until_said(pilot, "#state", "Stopped")
        await until(pilot, lambda: not screen.is_comparing)
        child([json.dumps(to_dict(EVENTS[-1]))])
        await pilot.press("enter")
        await until_said(pilot, "#state", "Done")
