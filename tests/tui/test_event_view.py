"""Streams of events drawn: what an experiment yields, or a run recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from minimind.events import (
    Alert,
    Claim,
    Event,
    Heatmap,
    Language,
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
from minimind_tui.widgets.progress_line import ProgressLine
from tests.tui.driving import BareApp, lines_of, text_of, until_shown


def stream() -> Iterator[Event]:
    yield Note(Text("Three seeds.", "三个种子。"))
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
    yield Claim("a", Text("It vanishes", "信号会消失"), {"signal_10": 0.0123}, True)
    yield Claim("b", Text("It is faster", "更快"), {"ratio": 1.02}, None)
    yield Claim("c", Text("It is needed", "必须要有"), {}, False)


class StreamApp(BareApp):
    """One event view in a scrolling page."""

    ascii_only = False

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield EventView(names={"std": Text("deviation", "标准差"), "layer": Text("layer", "层")})

    @property
    def view(self) -> EventView:
        return self.query_one(EventView)


EXPECTED = {
    "en": ("Three seeds.", "layers", "50 %", "signal", "gradient", "deviation", "Attention", "Result", "none [/]",
           "Once upon ␛]52;c;x␇", "! slow machine", "✓ It vanishes (holds here)", "signal_10 = 0.01230",
           "≈ It is faster (inconclusive)", "✗ It is needed (does not hold here)"),
    "zh": ("三个种子。", "层", "50 %", "标准差", "注意力", "结果", "损失", "! 机器较慢", "✓ 信号会消失 （在本机成立）",
           "≈ 更快 （尚无定论）", "✗ 必须要有 （在本机不成立）"),
}  # fmt: skip


@pytest.mark.parametrize("size", [(80, 80), (160, 70)])
@pytest.mark.parametrize("language", ["en", "zh"])
async def test_every_kind_of_event_is_drawn(language: Language, size: tuple[int, int]) -> None:
    app = StreamApp()
    app.language = language
    async with app.run_test(size=size) as pilot:
        app.view.feed(stream())
        await until_shown(pilot, *EXPECTED[language])
        side_by_side = any("signal" in line and "gradient" in line for line in lines_of(app))
        assert side_by_side == (size[0] >= 110)


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
