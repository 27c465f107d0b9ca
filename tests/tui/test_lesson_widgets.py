"""The small widgets of lessons: choices, parameters, wrapped source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rich.cells import cell_len
from textual.app import ComposeResult
from textual.content import Content

from minimind.events import Event, Note, Text
from minimind.experiment import Experiment, Parameter, Value, experiment
from minimind_tui.widgets.choice_list import ChoiceList
from minimind_tui.widgets.code_pane import SourceText, _wrapped
from minimind_tui.widgets.parameter_line import ParameterLine
from tests.tui.driving import BareApp, lines_of, text_of


@experiment(
    title=Text("a", "b"),
    question=Text("a", "b"),
    parameters={
        "layers": Parameter(Text("layers", "层数"), low=2, high=100),
        "rate": Parameter(Text("learning rate", "学习率"), low=0.0, high=1.0),
        "kind": Parameter(Text("kind", "种类"), choices=("none", "pre", "post")),
        "bias": Parameter(Text("bias", "偏置")),
        "free": Parameter(Text("free", "自由")),
    },
    quick={},
)
def sample(layers: int = 30, rate: float = 0.5, kind: str = "pre", bias: bool = True, free: int = 5) -> Iterator[Event]:
    """Has a parameter of each kind."""
    yield Note(Text("", ""))


class Parameters(BareApp):
    def __init__(self, made: Experiment) -> None:
        super().__init__()
        self.made = made

    def compose(self) -> ComposeResult:
        for setting in self.made.settings:
            yield ParameterLine(setting, setting.default)


class Choices(BareApp):
    def __init__(self, multiple: bool) -> None:
        super().__init__()
        self.multiple = multiple
        self.picked: list[tuple[int, ...]] = []

    def compose(self) -> ComposeResult:
        sentences = [Text("one", "一"), Text("two " * 40, "二"), Text("[b]three[/b]", "三")]
        yield ChoiceList(sentences, multiple=self.multiple)

    def on_choice_list_chosen(self, event: ChoiceList.Chosen) -> None:
        self.picked.append(event.picked)


@pytest.mark.parametrize(
    ("name", "keys", "value"),
    [
        ("layers", ["right"], 31),
        ("layers", ["shift+right"], 40),
        ("layers", ["shift+left"] * 9, 2),
        ("layers", ["1", "2"], 12),
        ("layers", ["1", "2", "backspace"], 30),
        ("rate", ["left"], 0.45),
        ("rate", ["shift+right"], 0.6),
        ("rate", ["0", ".", "1", "2"], 0.12),
        ("rate", ["1", "e", "-", "3"], 0.001),
        ("kind", ["right", "right"], "post"),
        ("kind", ["left", "left", "5"], "none"),
        ("bias", ["left"], False),
        ("bias", ["right"], True),
        ("free", ["right", "right"], 7),
        ("free", ["-", "3"], -3),
    ],
)
async def test_parameters_by_keys(name: str, keys: list[str], value: Value) -> None:
    app = Parameters(sample)
    async with app.run_test(size=(80, 10)) as pilot:
        line = next(line for line in app.query(ParameterLine) if line.setting.name == name)
        line.focus()
        await pilot.press(*keys)
        if line.problem is None:
            assert line.value == pytest.approx(value) if isinstance(value, float) else line.value == value
        else:
            assert (name, keys[-1]) == ("layers", "backspace")
            line.screen.set_focus(None)
            await pilot.pause()
            assert line.value == 12


async def test_parameters_are_drawn_with_their_range() -> None:
    app = Parameters(sample)
    async with app.run_test(size=(80, 10)) as pilot:
        await pilot.pause()
        lines = lines_of(app)
        assert "layers" in lines[0]
        assert "2…100" in lines[0]
        assert lines[0].count("●") == 1
        assert "none  pre  post" in lines[2]
        assert "no  yes" in lines[3]
        await pilot.click(app.query(ParameterLine).first(), offset=(26 + 9 + 6 + 19, 0))
        assert app.query(ParameterLine).first().value == 100
        for width in (20, 40, 160):
            await pilot.resize_terminal(width, 10)
            await pilot.pause()
            assert lines_of(app)


@pytest.mark.parametrize(
    ("multiple", "keys", "picked"),
    [
        (False, ["c"], [(2,)]),
        (False, ["down", "enter"], [(1,)]),
        (False, ["up", "up", "enter"], [(0,)]),
        (False, ["z", "1"], []),
        (True, ["a", "c"], []),
        (True, ["c", "a", "enter"], [(0, 2)]),
        (True, ["a", "a", "enter"], []),
        (True, ["down", "space", "enter"], [(1,)]),
    ],
)
async def test_choices_by_keys(multiple: bool, keys: list[str], picked: list[tuple[int, ...]]) -> None:
    app = Choices(multiple)
    async with app.run_test(size=(60, 12)) as pilot:
        app.query_one(ChoiceList).focus()
        await pilot.press(*keys)
        await pilot.pause()
        assert app.picked == picked


async def test_choices_wrap_mark_and_end() -> None:
    app = Choices(multiple=False)
    async with app.run_test(size=(60, 12)) as pilot:
        choices = app.query_one(ChoiceList)
        choices.focus()
        await pilot.pause()
        text = text_of(app)
        assert "[b]three[/b]" in text
        assert sum("two two" in line for line in text.splitlines()) == 3
        choices.reveal({0: "right", 2: "wrong"})
        await pilot.pause()
        assert "✓ a" in text_of(app)
        assert "✗ c" in text_of(app)
        await pilot.press("a")
        assert app.picked == []


@pytest.mark.parametrize("width", [40, 50, 90])
def test_long_lines_go_on_indented(width: int) -> None:
    line = Content("    return normalise(first_argument, second_argument) + third  # [batch, time, hidden]")
    pieces = _wrapped(line, width)
    assert all(cell_len(piece.plain) <= width for piece in pieces)
    joined = " ".join(piece.plain.strip() for piece in pieces)
    assert joined == line.plain.strip()
    assert all(piece.plain.startswith(" " * 12) for piece in pieces[1:])


async def test_source_fits_every_width() -> None:
    class Source(BareApp):
        def compose(self) -> ComposeResult:
            yield SourceText("def f(x):\n    return x  # " + "long " * 30 + "\n\nY = '\x1b[2J'")

    app = Source()
    async with app.run_test(size=(80, 30)) as pilot:
        for width in (80, 30, 120):
            await pilot.resize_terminal(width, 30)
            await pilot.pause()
            text = text_of(app)
            assert "def f(x):" in text
            assert "␛[2J" in text
