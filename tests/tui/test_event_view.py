"""Streams of events drawn: what an experiment yields, or a run recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from minimind.charts import charts_of
from minimind.events import (
    Alert,
    Band,
    Claim,
    Event,
    Heatmap,
    Language,
    Level,
    Mark,
    Note,
    Progress,
    Sample,
    Scalars,
    Table,
    Text,
)
from minimind_tui.speech import relabel_tree
from minimind_tui.widgets.event_view import EventView
from minimind_tui.widgets.line_chart import LineChart
from minimind_tui.widgets.progress_line import ProgressLine
from tests.tui.driving import BareApp, lines_of, text_of, until_shown


def stream() -> Iterator[Event]:
    yield Note(Text("Three seeds.", "三个种子。"))
    yield Level("signal", "chance", 0.5)
    yield Band("signal", "std", (1.0, 20.0), (0.8, 0.1), (1.0, 0.2))
    yield Table("differences", (Text("arm", "方案"),), (("one line",),), Text("Only this", "仅此一处"))
    for layer in range(1, 21):
        yield Progress(layer, 40, Text("layers", "层"))
        yield Scalars(layer, {"std": 0.9**layer, "rms": 1.0}, axis="layer", chart="signal")
        yield Scalars(layer, {"grad": 0.8**layer}, axis="layer", chart="gradient")
    yield Heatmap("att", ((0.0, 1.0), (0.5, 0.25)), ("我", "a"), ("我", "a"), title=Text("Attention", "注意力"))
    yield Table(
        "t", (Text("arm", "方案"), Text("loss", "损失")), (("none [/]", 2.31), ("rms", 1.98)), Text("Result", "结果")
    )
    yield Sample(50, "Once", " upon \x1b]52;c;x\x07")
    yield Alert("warning", "slow", Text("slow machine", "机器较慢"))
    yield Mark("saved", 50)
    yield Claim("a", Text("It vanishes", "信号会消失"), {"signal_10": 0.0123, "seeds": 3}, True)
    yield Claim("b", Text("It is faster", "更快"), {"ratio": 1.02}, None)
    yield Claim("c", Text("It is needed", "必须要有"), {}, False)


class StreamApp(BareApp):
    """One event view in a scrolling page."""

    ascii_only = False

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield EventView(
                names={
                    "std": Text("deviation", "标准差"),
                    "layer": Text("layer", "层"),
                    "chance": Text("chance", "偶然水平"),
                }
            )

    @property
    def view(self) -> EventView:
        return self.query_one(EventView)


EXPECTED = {
    "en": ("Three seeds.", "chance 0.5000", "layers", "50 %", "signal", "gradient", "deviation", "Attention", "Result", "none [/]",
           "Once upon ␛]52;c;x␇", "! slow machine", "✓ It vanishes (holds here) (3 seeds)", "signal_10 = 0.01230",
           "≈ It is faster (inconclusive)", "✗ It is needed (does not hold here)"),
    "zh": ("三个种子。", "层", "50 %", "标准差", "注意力", "结果", "损失", "! 机器较慢", "✓ 信号会消失 （在本机成立）（3 个种子）", "偶然水平 0.5000",
           "≈ 更快 （尚无定论）", "✗ 必须要有 （在本机不成立）"),
}  # fmt: skip


@pytest.mark.parametrize(("language", "size"), [("en", (80, 80)), ("zh", (160, 70))])
async def test_every_kind_of_event_is_drawn(language: Language, size: tuple[int, int]) -> None:
    app = StreamApp()
    app.language = language
    async with app.run_test(size=size) as pilot:
        app.view.feed(stream())
        await until_shown(pilot, *EXPECTED[language])
        side_by_side = any("signal" in line and "gradient" in line for line in lines_of(app))
        assert side_by_side == (size[0] >= 110)
        rows = text_of(app).splitlines()
        first = next(y for y, row in enumerate(rows) if "Only this" in row or "仅此一处" in row)
        assert first < next(y for y, row in enumerate(rows) if "signal" in row)
        assert "seeds = " not in text_of(app)


async def test_another_run_lies_dim_under_this_one() -> None:
    app = StreamApp()
    async with app.run_test(size=(80, 30)) as pilot:
        other = charts_of([Scalars(x, {"std": 2.0, "gone": 3.0}, axis="layer", chart="signal") for x in range(30)])
        app.view.show_other_run(other)
        app.view.feed([Scalars(x, {"std": 1.0}, axis="layer", chart="signal") for x in range(30)])
        await until_shown(pilot, "deviation 1")
        chart = app.query_one(LineChart)
        with_both = text_of(app)
        assert "gone" not in with_both
        assert {key // 1000 for row in chart._rows for _, key in row if isinstance(key, int)} == {0, 3}
        assert chart.style_of(3000).dim
        app.view.show_other_run({})
        await pilot.pause()
        assert {key // 1000 for row in chart._rows for _, key in row if isinstance(key, int)} == {0}
        assert text_of(app) != with_both


async def test_a_level_may_come_before_its_chart_and_move() -> None:
    app = StreamApp()
    async with app.run_test(size=(80, 30)) as pilot:
        app.view.feed([Level("signal", "floor", 2.0)])
        app.view.feed([Scalars(x, {"std": 1.0}, chart="signal") for x in range(5)])
        await until_shown(pilot, "╌ floor 2")
        app.view.feed([Level("signal", "floor", 0.25)])
        text = await until_shown(pilot, "╌ floor 0.2500")
        assert "floor 2 " not in text
        app.view.clear()
        await pilot.pause()
        app.view.feed([Scalars(1, {"std": 1.0}, chart="signal")])
        assert "floor" not in await until_shown(pilot, "signal")


async def test_it_speaks_the_other_language_without_losing_anything() -> None:
    app = StreamApp()
    async with app.run_test(size=(80, 80)) as pilot:
        app.view.feed(stream())
        await until_shown(pilot, *EXPECTED["en"])
        app.language = "zh"
        relabel_tree(app.view)
        await until_shown(pilot, *EXPECTED["zh"])


async def test_the_latest_replaces_and_nothing_comes_twice() -> None:
    app = StreamApp()
    async with app.run_test(size=(80, 80)) as pilot:
        for _ in range(3):
            app.view.feed([event for event in stream() if not isinstance(event, (Note, Sample, Alert))])
        app.view.feed([Claim("a", Text("It vanishes", "消失"), {"signal_10": 0.5}, False)])
        text = await until_shown(pilot, "✗ It vanishes", "signal_10 = 0.5000")
        assert text.count("It vanishes") == 1
        assert text.count("Attention") == 1
        assert text.count("Result") == 1


async def test_clear_leaves_nothing() -> None:
    app = StreamApp()
    async with app.run_test(size=(80, 80)) as pilot:
        app.view.feed(stream())
        await until_shown(pilot, "It vanishes")
        app.view.clear()
        await pilot.pause()
        assert text_of(app).strip() == ""
        app.view.feed([Scalars(1, {"std": 1.0}, chart="signal")])
        await until_shown(pilot, "signal")


async def test_sentences_are_bounded() -> None:
    app = StreamApp()
    async with app.run_test(size=(60, 130)) as pilot:
        app.view.feed([Note(Text(f"note {number}.", f"第 {number} 条。")) for number in range(1000)])
        text = await until_shown(pilot, "note 999.")
        assert "note 899." not in text
        assert "note 900." in text


async def test_ascii() -> None:
    app = StreamApp()
    app.ascii_only = True
    async with app.run_test(size=(80, 80)) as pilot:
        app.view.feed([event for event in stream() if not isinstance(event, (Heatmap, Sample))])
        text = await until_shown(pilot, "[+] It vanishes", "[~] It is faster", "[-] It is needed", "####")
        assert all(ord(character) < 128 for character in text)


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (Progress(3, 4), "75 %"),
        (Progress(9, 4), "100 %"),
        (Progress(-1, 4), "0 %"),
        (Progress(1234, None, Text("steps", "步")), "steps 1,234"),
        (Progress(1, 0), "1"),
    ],
)
async def test_progress_lines(progress: Progress, words: str) -> None:
    class LineApp(BareApp):
        def compose(self) -> ComposeResult:
            yield ProgressLine()

    app = LineApp()
    async with app.run_test(size=(60, 3)) as pilot:
        app.query_one(ProgressLine).set_progress(progress)
        await pilot.pause()
        assert words in lines_of(app)[0]
        app.query_one(ProgressLine).set_progress(None)
        await pilot.pause()
        assert lines_of(app)[0].strip() == ""
