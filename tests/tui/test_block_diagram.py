"""The block diagram: keys and mouse reach every switch, what does not go together is passed over, and it runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from lessons.catalogue import load_experiment
from lessons.lesson import load_lesson
from minimind.events import Claim, Event, Text
from minimind.experiment import Experiment
from minimind.lab.switches import Switches, names
from minimind_tui.lesson_record import LessonRecord
from minimind_tui.speech import relabel_tree
from minimind_tui.widgets.block_diagram import BlockDiagram
from minimind_tui.widgets.diagram_pane import DiagramPane
from minimind_tui.widgets.parameter_line import ParameterLine
from tests.tui.driving import BareApp, lines_of, text_of, until

ran: list[dict[str, Any]] = []


def stand_in(**values: Any) -> Iterator[Event]:
    """Says what it was given; stands in for the training."""
    ran.append(values)
    yield Claim("verdict", Text("It ran", "跑完了"), {"steps": values["steps"]}, True)


class DiagramApp(BareApp):
    """A diagram by itself on a scrolling page."""

    ascii_only = False

    def __init__(self, shown: tuple[str, ...] = names()) -> None:
        super().__init__()
        self.shown = shown

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield BlockDiagram(self.shown)


class PaneApp(BareApp):
    """A diagram with its experiment."""

    def compose(self) -> ComposeResult:
        record = LessonRecord(load_lesson("normalization"), lambda: None, lambda problem: None)
        with VerticalScroll():
            yield DiagramPane(("norm", "residual", "heads", "kv_heads"), record)


@pytest.fixture
def experiment_in_place(monkeypatch: pytest.MonkeyPatch) -> Experiment:
    ran.clear()
    replaced = replace(load_experiment("what_if"), function=stand_in)
    monkeypatch.setattr("minimind_tui.widgets.experiment_pane.load_experiment", lambda _name: replaced)
    return replaced


async def test_arrows_reach_every_switch_and_leave_at_the_edge() -> None:
    app = DiagramApp()
    async with app.run_test(size=(80, 24)) as pilot:
        diagram = app.query_one(BlockDiagram)
        diagram.focus()
        reached = set()
        diagram.go_to("order")
        above = ""
        while diagram.current != above:  # until down leads no further
            before = ""
            while diagram.current != before:
                before = diagram.current
                await pilot.press("left")
            before = ""
            while diagram.current != before:
                before = diagram.current
                reached.add(before)
                await pilot.press("right")
            above = diagram.current
            await pilot.press("down")
        assert reached == set(names())
        assert diagram.current in ("tied", "output_scale")
        assert app.focused is diagram


async def test_tab_walks_through_in_reading_order_and_then_moves_on() -> None:
    app = DiagramApp(("norm", "residual", "tied"))
    async with app.run_test(size=(80, 24)) as pilot:
        diagram = app.query_one(BlockDiagram)
        diagram.focus()
        seen = [diagram.current]
        for _ in range(2):
            await pilot.press("tab")
            seen.append(diagram.current)
        assert seen == ["norm", "residual", "tied"]
        await pilot.press("shift+tab")
        assert diagram.current == "residual"


async def test_enter_turns_and_backspace_turns_back() -> None:
    app = DiagramApp(("norm", "residual"))
    async with app.run_test(size=(80, 24)) as pilot:
        diagram = app.query_one(BlockDiagram)
        diagram.focus()
        await pilot.press("enter")
        assert diagram.switches == Switches(norm="layer")
        await until(pilot, lambda: "norm [LayerNorm]*" in text_of(app))
        await pilot.press("space")
        assert diagram.switches == Switches(norm="none")
        await pilot.press("backspace", "backspace")
        assert diagram.switches == Switches()
        await pilot.press("backspace")
        assert diagram.switches == Switches(norm="none")


async def test_what_makes_no_sense_is_passed_over_and_said() -> None:
    app = DiagramApp(("norm_place", "residual", "order"))
    async with app.run_test(size=(80, 24)) as pilot:
        diagram = app.query_one(BlockDiagram)
        diagram.focus()
        diagram.set_switches(Switches(residual="one"))
        diagram.go_to("norm_place")
        await pilot.press("enter")
        assert diagram.switches.norm_place == "sandwich"
        assert "Passed over after adding: post-norm follows an addition" in diagram.said_of_current()
        await pilot.press("enter")
        assert diagram.switches.norm_place == "pre"
        assert "Passed over" not in diagram.said_of_current()


async def test_key_value_heads_follow_the_heads() -> None:
    app = DiagramApp(("heads", "kv_heads"))
    async with app.run_test(size=(80, 24)) as pilot:
        diagram = app.query_one(BlockDiagram)
        diagram.focus()
        await pilot.press("enter", "enter")
        assert (diagram.switches.heads, diagram.switches.kv_heads) == (1, 1)
        assert diagram.said_of_changes().startswith("Changed (*): heads 4 → 1, key/value heads 4 → 1.")


async def test_a_click_turns_the_switch_under_it_and_the_right_button_turns_it_back() -> None:
    app = DiagramApp()
    async with app.run_test(size=(100, 40)) as pilot:
        diagram = app.query_one(BlockDiagram)
        await pilot.pause()
        place = diagram.places()["mask"]
        await pilot.click(diagram, offset=(place.x + 1, place.y))
        assert diagram.switches == Switches(mask="none")
        place = diagram.places()["mask"]
        await pilot.click(diagram, offset=(place.x + 1, place.y), button=3)
        assert diagram.switches == Switches()
        await pilot.click(diagram, offset=(1, 0))
        assert diagram.switches == Switches()


async def test_the_cursor_comes_into_view_on_a_small_window() -> None:
    app = DiagramApp()
    async with app.run_test(size=(50, 8)) as pilot:
        diagram = app.query_one(BlockDiagram)
        diagram.focus()
        await pilot.pause()
        assert "tied to" not in text_of(app)
        diagram.go_to("tied")
        await until(pilot, lambda: "tied to" in text_of(app))
        diagram.go_to("order")
        await until(pilot, lambda: "order [" in text_of(app))


async def test_it_speaks_both_languages_and_ascii() -> None:
    app = DiagramApp()
    app.ascii_only = True
    async with app.run_test(size=(80, 30)) as pilot:
        await until(pilot, lambda: "mask [causal]" in text_of(app))
        assert all(ord(character) < 128 for character in text_of(app).replace("√", ""))
        app.language = "zh"
        app.ascii_only = False
        relabel_tree(app.query_one(BlockDiagram))
        await until(pilot, lambda: "掩码 [因果]" in text_of(app))
        assert app.query_one(BlockDiagram).said_of_changes().startswith("与通常一样")
        assert max(len(line) for line in lines_of(app)) <= 80


@pytest.mark.usefixtures("experiment_in_place", "home")
async def test_the_switches_are_what_is_trained() -> None:
    app = PaneApp()
    async with app.run_test(size=(90, 60)) as pilot:
        pane = app.query_one(DiagramPane)
        pane.diagram.focus()
        await pilot.press("enter")
        await until(pilot, lambda: pane.experiment is not None and bool(pane.query(ParameterLine)), seconds=60)
        shown = [line.setting.name for line in pane.query(ParameterLine) if line.display]
        assert shown == ["layers", "rate", "steps", "seeds"]
        pane.diagram.go_to("residual")
        await pilot.press("enter", "r")
        await until(pilot, lambda: "It ran" in text_of(app))
        assert len(ran) == 1
        assert {name: ran[0][name] for name in names()} == asdict(Switches(norm="layer", residual="none"))
        pane.action_defaults()
        await pilot.pause()
        assert pane.diagram.switches == Switches()
        values = {line.setting.name: line.value for line in pane.query(ParameterLine)}
        assert {name: values[name] for name in names()} == asdict(Switches())


def test_the_pane_is_known_without_torch() -> None:
    code = "import sys, minimind_tui.widgets.diagram_pane; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
