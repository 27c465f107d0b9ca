"""Diagrams: as they stand, moved sideways, readable in ASCII."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.app import ComposeResult
from textual.containers import VerticalScroll

from minimind.events import Language
from minimind_tui.ascii_art import to_ascii
from minimind_tui.speech import relabel_tree
from minimind_tui.widgets.figure_pane import FigurePane
from tests.tui.driving import BareApp, lines_of, text_of, until

ENGLISH = "┌──────┐\n│ norm │──►(+)\n└──────┘" + "─" * 60 + "end"
CHINESE = "┌────────┐\n│ 归一化 │──►(+)\n└────────┘"


class FigureApp(BareApp):
    """One figure on a scrolling page."""

    ascii_only = False

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield FigurePane(self.directory, "block")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "block.en.txt").write_text(ENGLISH, encoding="utf-8")
    (tmp_path / "figures" / "block.zh.txt").write_text(CHINESE, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_it_is_drawn_as_it_stands(directory: Path, language: Language) -> None:
    app = FigureApp(directory)
    app.language = language
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        drawn = [line.strip() for line in lines_of(app)]
        assert [row for row in (ENGLISH if language == "en" else CHINESE).splitlines() if row not in drawn] == []
        assert not app.query_one(FigurePane).can_focus


async def test_a_narrow_window_moves_over_it(directory: Path) -> None:
    app = FigureApp(directory)
    async with app.run_test(size=(40, 10)) as pilot:
        pane = app.query_one(FigurePane)
        await until(pilot, lambda: pane.can_focus)
        assert "end" not in text_of(app)
        pane.focus()
        await pilot.press(*["right"] * 40)
        await until(pilot, lambda: "end" in text_of(app))
        assert "┌" not in text_of(app)


async def test_ascii_and_a_file_that_went_away(directory: Path) -> None:
    app = FigureApp(directory)
    app.ascii_only = True
    async with app.run_test(size=(80, 10)) as pilot:
        await pilot.pause()
        assert "| norm |-->(+)" in text_of(app)
        assert all(ord(character) < 128 for character in text_of(app))
        (directory / "figures" / "block.zh.txt").unlink()
        app.language = "zh"
        relabel_tree(app.query_one(FigurePane))
        await until(pilot, lambda: "读不出来" in text_of(app))


def test_ascii_keeps_widths_and_letters() -> None:
    assert to_ascii("╭─┬─╮ ↑ ▼ █░ √d·γ ⊕ 注意力 ◐") == "+-+-+ ^ v #. √d.γ + 注意力 *"
