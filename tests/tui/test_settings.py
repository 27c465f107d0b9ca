"""Preferences: kept atomically, tolerant of any file, and set on their screen."""

from __future__ import annotations

import json

import pytest

from minimind import paths
from minimind_tui.app import MiniMindApp
from minimind_tui.settings import Settings
from tests.tui.driving import text_of, until_shown


def write(text: str) -> None:
    paths.settings().parent.mkdir(parents=True, exist_ok=True)
    paths.settings().write_text(text, encoding="utf-8")


def test_what_was_saved_is_loaded() -> None:
    assert Settings.load() == Settings()
    chosen = Settings(language="zh", theme="minimind-light", color="256", ascii_only=True)
    assert chosen.save()
    assert Settings.load() == chosen
    assert [path.name for path in paths.home().iterdir()] == ["settings.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 100_000, "\x00"])
def test_a_damaged_file_means_the_defaults(text: str) -> None:
    write(text)
    assert Settings.load() == Settings()


def test_values_that_are_not_allowed_fall_back_one_by_one() -> None:
    write(json.dumps({"language": "zh", "theme": "pink", "color": 16, "ascii_only": 1, "unknown": {"x": []}}))
    assert Settings.load() == Settings(language="zh")
    write(json.dumps({"language": ["zh"], "ascii_only": True}))
    assert Settings.load() == Settings(ascii_only=True)


def test_a_disk_that_refuses_is_no_error() -> None:
    paths.home().parent.mkdir(parents=True, exist_ok=True)
    paths.home().write_text("a file where the directory should be", encoding="utf-8")
    assert Settings().save() is False
    assert Settings.load() == Settings()


async def test_every_setting_takes_effect_and_is_kept() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("f6")
        await until_shown(pilot, "Settings", str(paths.home())[:30])
        await pilot.press("enter")
        await until_shown(pilot, "设置项", "‹ 中文 ›")
        await pilot.press("left")
        await until_shown(pilot, "‹ English ›")
        await pilot.press("down", "right")
        assert app.theme == "minimind-light"
        await pilot.press("down", "right")
        assert app.ascii_only
        await pilot.press("down", "left")
        await until_shown(pilot, "next start", "‹ 16 ›")
        assert "‹ on ›" in text_of(app)
    assert Settings.load() == Settings(language="en", theme="minimind-light", color="16", ascii_only=True)
