"""The heatmap: colours or shades, labels of any script, and a read-out."""

from __future__ import annotations

import itertools
import math

import pytest
from rich.color import Color
from textual.app import ComposeResult

from minimind.events import Heatmap, Language, Text
from minimind_tui.palette import LEVELS, Depth, cell_style, ramp
from minimind_tui.widgets import heatmap_view
from minimind_tui.widgets.heatmap_view import HeatmapView
from tests.tui.driving import BareApp, lines_of, text_of

TOKENS = ("我", "们", " the", "注意", "力", "\x1b[31m")


def causal(tokens: tuple[str, ...]) -> Heatmap:
    size = len(tokens)
    rows = tuple(tuple((x + 1) / (y + 1) / 2 if x <= y else math.nan for x in range(size)) for y in range(size))
    return Heatmap("attention", rows, tokens, tokens, 0.0, 1.0, Text("Attention", "注意力"))


class HeatmapApp(BareApp):
    """One heatmap."""

    ascii_only = False

    def compose(self) -> ComposeResult:
        yield HeatmapView()

    @property
    def view(self) -> HeatmapView:
        return self.query_one(HeatmapView)


@pytest.fixture(params=["truecolor", "256", "16", "none"])
def depth(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Depth:
    found: Depth = request.param
    monkeypatch.setattr(heatmap_view, "color_depth", lambda _app: found)
    return found


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50)), ("zh", (40, 10))])
async def test_labels_and_cells_line_up(language: Language, size: tuple[int, int], depth: Depth) -> None:
    app = HeatmapApp()
    app.language = language
    async with app.run_test(size=size) as pilot:
        app.view.set_heatmap(causal(TOKENS))
        await pilot.pause()
        lines = lines_of(app)
        assert ("Attention" if language == "en" else "注意力") in lines[0]
        is_wide = size[0] > 40  # whole labels where all of them fit, else written downwards
        assert lines[1].startswith("      我    们    ·the  注意  " if is_wide else "      我们· 注")
        cell = 6 if is_wide else 2
        row = next(line for line in lines if line.startswith("注意 "))
        assert "·the" in "".join(lines)
        assert ("␛[31m" in "".join(lines)) == (size[1] > 14)  # a small screen scrolls
        if depth in {"16", "none"}:
            assert set(row[5 : 5 + 6 * cell]) <= set(" ░▒▓█·")
            assert "▒" in "".join(lines)


async def test_the_read_out_names_cell_and_value(depth: Depth) -> None:
    app = HeatmapApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.set_heatmap(causal(TOKENS))
        app.view.focus()
        await pilot.press("down", "down", "down", "down", "right")
        await pilot.pause()
        assert "注意 → 们: 0.2500" in text_of(app)
        assert "[    ]" in text_of(app)
        await pilot.press("right", "right", "right", "right", "right")
        await pilot.pause()
        assert "注意 → ␛[31m: no value" in text_of(app)
        await pilot.press("escape")
        await pilot.pause()
        assert "→" not in text_of(app)


async def test_a_large_one_shares_lines_or_follows_the_cursor(depth: Depth) -> None:
    app = HeatmapApp()
    rows = tuple(tuple(float(x == y) for x in range(60)) for y in range(50))
    async with app.run_test(size=(80, 40)) as pilot:
        app.view.styles.height = "100%"
        app.view.set_heatmap(Heatmap("identity", rows))
        await pilot.pause()
        if depth in {"truecolor", "256"}:
            assert sum("▀" in line for line in lines_of(app)) == 25
        app.view.styles.height = 12
        await pilot.pause()
        for _ in range(51):
            app.view.action_move(1, 0)
        await pilot.pause()
        assert "49 → 0: 0" in text_of(app)


async def test_rows_may_differ_in_length_and_values_may_be_anything() -> None:
    app = HeatmapApp()
    async with app.run_test(size=(60, 12)) as pilot:
        for rows in (
            ((1.0,), (1.0, 2.0, 3.0)),
            ((math.inf, -math.inf, math.nan),),
            ((5.0, 5.0),),
            ((math.nan,),),
            (),
            ((),),
        ):
            app.view.set_heatmap(Heatmap("odd", rows))
            app.view.action_move(0, 1)
            await pilot.pause()
            assert "→" in text_of(app) or "no matrix" in text_of(app) or not any(rows)


async def test_ascii_shades() -> None:
    app = HeatmapApp()
    app.ascii_only = True
    async with app.run_test(size=(60, 14)) as pilot:
        app.view.set_heatmap(Heatmap("x", ((0.0, 0.5, 1.0, math.nan),)))
        app.view.action_move(0, 1)
        await pilot.pause()
        text = text_of(app)
        assert all(ord(character) < 128 for character in text)
        assert "==@@~~" in text or "++@@~~" in text
        assert "0 -> 0: 0" in text


async def test_a_click_reads_a_cell() -> None:
    app = HeatmapApp()
    async with app.run_test(size=(80, 24)) as pilot:
        app.view.set_heatmap(causal(("a", "b", "c")))
        await pilot.pause()
        await pilot.click(HeatmapView, offset=(2 + 2, 2 + 2))
        await pilot.pause()
        assert "c → b: 0.3333" in text_of(app)


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("colors", ["truecolor", "256"])
def test_the_ramp_is_ordered_by_lightness(dark: bool, colors: Depth) -> None:
    def lightness(color: Color) -> float:
        red, green, blue = color.get_truecolor()
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    steps = [lightness(color) for color in ramp(dark, colors)]
    assert len(steps) == LEVELS
    ordered = steps if dark else steps[::-1]
    slack = 0.0 if colors == "truecolor" else 30.0
    assert all(after >= before - slack for before, after in itertools.pairwise(ordered))
    assert ordered[-1] - ordered[0] > 150
    style = cell_style(dark, colors, 0, -1)
    assert style.bgcolor == ramp(dark, colors)[0]
