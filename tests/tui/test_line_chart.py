"""The line chart on the screen: what it shows, what it sends, and what it survives."""

from __future__ import annotations

import math
import random
import time

import pytest
from textual.app import ComposeResult
from textual.geometry import Region

from minimind.events import Language, Text
from minimind_tui.widgets.line_chart import LineChart, Reference
from minimind_tui.widgets.painted import last_change
from tests.tui.driving import BareApp, lines_of, text_of

BRAILLE = {chr(code) for code in range(0x2801, 0x2900)}


class ChartApp(BareApp):
    """One chart, filling the screen."""

    ascii_only = False

    def __init__(self, *references: Reference) -> None:
        super().__init__()
        self.references = references

    def compose(self) -> ComposeResult:
        yield LineChart(Text("Loss", "损失"), axis=Text("step", "步"), references=self.references)

    @property
    def chart(self) -> LineChart:
        return self.query_one(LineChart)


def fill(chart: LineChart, points: int = 300) -> None:
    rng = random.Random(0)
    for step in range(1, points + 1):
        chart.append("loss", step, 1.5 + 6 * math.exp(-step / 60) + rng.gauss(0, 0.05))
    for step in range(50, points + 1, 50):
        chart.append("validation", step, 1.6 + 6 * math.exp(-step / 60), label=Text("held-out", "留出集"))


@pytest.mark.parametrize("size", [(80, 24), (160, 50), (40, 10), (20, 3), (1, 1)])
@pytest.mark.parametrize("language", ["en", "zh"])
async def test_shows_title_values_axis_and_curve(language: Language, size: tuple[int, int]) -> None:
    app = ChartApp(Reference(1.5, Text("floor", "下限")), Reference(math.nan, "never drawn"))
    app.language = language
    async with app.run_test(size=size) as pilot:
        fill(app.chart)
        await pilot.pause()
        lines = lines_of(app)
        if size[0] >= 40:
            title, held_out, floor = ("Loss", "held-out", "floor") if language == "en" else ("损失", "留出集", "下限")
            assert title in lines[0]
            assert f"{floor} 1.500" in "".join(lines)
            assert BRAILLE & set("".join(lines))
            assert lines[-1].rstrip().endswith("step" if language == "en" else "步")
            assert "300" in lines[-1] or "200" in lines[-1]
        if size[0] >= 80:
            assert held_out in lines[0]


async def test_says_so_while_there_is_nothing() -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 10)) as pilot:
        assert "nothing measured yet" in text_of(app)
        app.chart.append("loss", 1, math.nan)
        await pilot.pause()
        assert not BRAILLE & set(text_of(app))


@pytest.mark.parametrize(
    "values", [[3.0] * 50, [2.0], [0.0, 0.0], [math.nan, 1.0, math.inf, 2.0], [-1e9, 1e9], [1e-12, 2e-12]]
)
async def test_odd_data_draws(values: list[float]) -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 12)) as pilot:
        app.chart.set_series("loss", range(len(values)), values)
        for toggle in (app.chart.action_toggle_log, app.chart.action_toggle_smooth):
            await pilot.pause()
            drawable = any(value > 0 for value in values) or "log" not in lines_of(app)[0]
            assert bool(BRAILLE & set(text_of(app))) == drawable
            toggle()


async def test_a_gap_is_left_open() -> None:
    app = ChartApp()
    async with app.run_test(size=(60, 12)) as pilot:
        app.chart.set_series("loss", range(100), [math.nan if 40 <= x < 60 else 1.0 for x in range(100)])
        await pilot.pause()
        row = next(line for line in lines_of(app) if "⠉⠉" in line or "⠤⠤" in line or "⣀⣀" in line or "⠒⠒" in line)
        drawn = "".join("x" if character in BRAILLE else " " for character in row).strip()
        assert drawn.count(" ") == pytest.approx(55 * 0.2, abs=2)


async def test_the_cursor_reads_values_out() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 14)) as pilot:
        app.chart.set_series("loss", range(101), [x / 10 for x in range(101)])
        app.chart.focus()
        await pilot.press("right")
        await pilot.pause()
        assert "100: ━ loss 10" in lines_of(app)[0]
        for _ in range(40):
            await pilot.press("left")
        await pilot.pause()
        step = int(lines_of(app)[0].split("Loss")[1].split(":")[0])
        assert f"{step}: ━ loss {step / 10:.4g}"[:12] in lines_of(app)[0]
        assert 35 < step < 55
        assert any("│" in line[10:] for line in lines_of(app)[1:-1])
        await pilot.press("escape")
        await pilot.pause()
        assert "━ loss 10" in lines_of(app)[0]


async def test_log_axis_and_smoothing_are_switched_and_said() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        fill(app.chart)
        app.chart.focus()
        await pilot.press("y", "e")
        await pilot.pause()
        assert "log smoothed" in lines_of(app)[0]
        await pilot.press("y", "e")
        await pilot.pause()
        assert "log" not in lines_of(app)[0]


async def test_auto_log_follows_the_range_of_the_data() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        wide = LineChart(auto_log=True)
        await app.mount(wide)
        wide.set_series("std", range(30), [0.4**layer for layer in range(30)])
        await pilot.pause()
        assert "1e-" in text_of(app)
        wide.focus()
        await pilot.press("y")
        await pilot.pause()
        assert "1e-" not in text_of(app)


async def test_ascii_draws_without_braille_and_tells_series_apart() -> None:
    app = ChartApp()
    app.ascii_only = True
    async with app.run_test(size=(80, 20)) as pilot:
        fill(app.chart)
        await pilot.pause()
        text = text_of(app)
        assert all(ord(character) < 128 for character in text)
        assert "* loss" in text
        assert "o held-out" in text


async def test_without_colours_letters_tell_series_apart() -> None:
    app = ChartApp()
    app.no_color = True
    async with app.run_test(size=(80, 20)) as pilot:
        fill(app.chart)
        await pilot.pause()
        body = "".join(lines_of(app)[1:])
        assert "A loss" in lines_of(app)[0]
        assert "B held-out" in lines_of(app)[0]
        assert "A" in body
        assert "B" in body


async def test_series_keep_their_colours() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        chart = app.chart
        for name in ("a", "b", "c"):
            chart.append(name, 1, 1)
        await pilot.pause()
        style_of = {name: chart.style_of(series.color) for name, series in chart._series.items()}
        assert len({str(style.color) for style in style_of.values()}) == 3
        chart.clear()
        for name in ("c", "d", "a"):
            chart.append(name, 1, 1)
        assert chart.style_of(chart._series["c"].color) == style_of["c"]
        assert chart.style_of(chart._series["a"].color) == style_of["a"]
        assert chart.style_of(chart._series["d"].color) not in style_of.values()


async def test_only_changed_rows_are_sent() -> None:
    app = ChartApp()
    async with app.run_test(size=(100, 30)) as pilot:
        chart = app.chart
        chart.set_series("loss", range(1000), [5.0 if x < 900 else 1.0 for x in range(1000)])
        await pilot.pause()
        sent: list[Region] = []
        refresh = chart.refresh
        chart.refresh = lambda *regions, **options: (sent.extend(regions), refresh(*regions, **options))[1]  # type: ignore[assignment,method-assign]
        chart.append("loss", 1000, 1.2)
        await pilot.pause()
        assert 0 < len(sent) <= 4
        assert all(region.height == 1 and region.x == 0 for region in sent)
        sent.clear()
        chart.relabel()
        await pilot.pause()
        assert sent == []


async def test_many_points_cost_no_more_than_few() -> None:
    app = ChartApp()
    async with app.run_test(size=(100, 30)) as pilot:
        rng = random.Random(0)
        costs = {}
        for points in (1_000, 100_000):
            app.chart.set_series("loss", range(points), [rng.random() for _ in range(points)])
            await pilot.pause()
            best = math.inf
            for _ in range(10):
                begin = time.process_time()
                app.chart.repaint()
                best = min(best, time.process_time() - begin)
            costs[points] = best
        assert costs[100_000] < 3 * costs[1_000]


async def test_a_spike_among_many_points_is_seen() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        app.chart.set_series("loss", range(100_000), [9.0 if x == 54_321 else 1.0 for x in range(100_000)])
        await pilot.pause()
        columns = [line.find(next((c for c in line if c in BRAILLE), "?")) for line in lines_of(app)[2:10]]
        assert len(set(columns)) == 1
        assert columns[0] > 0


async def test_it_is_drawn_anew_for_another_size_and_theme() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 20)) as pilot:
        fill(app.chart)
        for size in ((160, 50), (3, 2), (60, 12)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert len(lines_of(app)) == size[1]
        before = app.chart.style_of(0)
        app.theme = "minimind-light"
        await pilot.pause()
        assert app.chart.style_of(0) != before


async def test_names_cannot_drive_the_terminal_or_crash_markup() -> None:
    app = ChartApp()
    async with app.run_test(size=(80, 12)) as pilot:
        app.chart.append("a[/]\x1b]52;c;x\x07", 1, 1)
        await pilot.pause()
        assert "a[/]␛]52;c;x␇" in lines_of(app)[0]


def test_how_much_of_a_row_is_sent_again() -> None:
    before = [("损失 ", "a"), ("xxxx", 1), ("tail", "a")]
    assert last_change(before, [("损失 ", "a"), ("xyxx", 1), ("tail", "a")], 80) == 7
    assert last_change(before, [("损失 ", "a"), ("xxxx", 2), ("tail", "a")], 80) == 9
    assert last_change(before, [("损失 ", "a"), ("xxxxx", 1), ("tail", "a")], 80) == 80


@pytest.mark.parametrize("ascii_only", [False, True])
async def test_the_spread_over_seeds_is_dotted_under_the_curve(ascii_only: bool) -> None:
    app = ChartApp()
    app.ascii_only = ascii_only
    async with app.run_test(size=(60, 14)) as pilot:
        app.chart.set_series("loss", range(50), [2.0] * 50)
        await pilot.pause()
        before = text_of(app)
        app.chart.set_band("loss", (0.0, 49.0), (1.0, 1.5), (3.0, 2.5))
        await pilot.pause()
        after = text_of(app)
        styles = {key for row in app.chart._rows for _, key in row if isinstance(key, int)}
        assert styles == {0, 2000}
        assert app.chart.style_of(2000).dim
        drawn = "." if ascii_only else "⠁⠂⠄⡀⠈⠐⠠⢀"
        assert sum(after.count(mark) for mark in drawn) > sum(before.count(mark) for mark in drawn) + 50
        curve = "*" if ascii_only else "⠒⠤⠉⣀"
        assert sum(after.count(mark) for mark in curve) >= 40
        app.chart.clear()
        app.chart.set_series("loss", range(50), [2.0] * 50)
        await pilot.pause()
        assert text_of(app) == before
