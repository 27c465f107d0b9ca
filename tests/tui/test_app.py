"""The frame on the real app: languages, sizes, keys, help, menu, themes, and what happens when it crashes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from minimind import doctor_terminal, paths
from minimind.events import Language
from minimind_tui.app import _SCREENS, MiniMindApp, screen_class
from minimind_tui.filters import NoControls
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.phrase import Phrase
from minimind_tui.widgets.too_small import MINIMUM_HEIGHT, MINIMUM_WIDTH
from tests.tui.driving import lines_of, text_of, until, until_shown
from tests.tui.fake_runs import make_run

SIZES = [(80, 24), (160, 50), (60, 16), (40, 10)]
MODES = {"en": ("1 Learn", "2 Runs", "3 Chat"), "zh": ("1 学习", "2 训练", "3 对话")}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("language", ["en", "zh"])
async def test_every_row_fits_and_speaks(language: Language, size: tuple[int, int]) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        if size == (40, 10):
            assert f"60×16 {'needed, now' if language == 'en' else ''}".strip() in text_of(app)
            assert "40×10" in text_of(app)
        else:
            first, last = lines_of(app)[0], lines_of(app)[-1]
            assert all(mode in first for mode in MODES[language])
            assert ("F1 Help" if language == "en" else "F1 帮助") in last
            assert ("q Quit" if language == "en" else "q 退出") in last


async def test_too_small_covers_all_and_nothing_is_lost() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("down")
        focused = app.focused
        await pilot.resize_terminal(59, 24)
        await until_shown(pilot, "60×16 needed, now 59×24")
        assert "MiniMind" not in text_of(app)
        await pilot.resize_terminal(80, 24)
        await until_shown(pilot, "MiniMind")
        assert app.focused is focused


async def test_the_language_switches_live_on_every_open_screen_and_is_kept() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f6")
        await until_shown(pilot, "Settings", "Language")
        await pilot.press("ctrl+l")
        await until_shown(pilot, "设置", "语言", "帮助")
        await pilot.press("escape")
        await until_shown(pilot, "训练你的第一个模型", "退出")
        await pilot.press("f8")
        await until_shown(pilot, "Train your first model")
    assert json.loads(paths.settings().read_text(encoding="utf-8"))["language"] == "en"
    assert MiniMindApp().language == "en"


@pytest.mark.parametrize(("locale", "language"), [("zh_CN.UTF-8", "zh"), ("en_GB.UTF-8", "en"), ("de_DE.UTF-8", "en")])
async def test_the_locale_decides_when_nothing_was_chosen(
    locale: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANG", locale)
    assert MiniMindApp().language == language


async def test_a_language_on_the_command_line_is_for_this_time() -> None:
    app = MiniMindApp(language="zh")
    async with app.run_test() as pilot:
        await until_shown(pilot, "训练你的第一个模型")
    assert not paths.settings().exists()


async def test_help_lists_the_keys_that_work() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 40)) as pilot:
        await pilot.press("question_mark")
        text = await until_shown(pilot, "Here", "Everywhere")
        for line in ("F1 / ?", "F2 / 1", "F8 / ^l", "Esc", "t               Train", "⏎ / Space       Open"):
            assert line in text
        await pilot.press("f8")
        await until_shown(pilot, "当前界面", "任何界面", "打开")
        await pilot.press("escape")
        await until_shown(pilot, "训练你的第一个模型")


async def test_escape_goes_back_and_home() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("f6", "f1")
        await pilot.pause()
        assert len(app.screen_stack) == 3
        await pilot.press("escape", "escape", "escape")
        await pilot.pause()
        assert len(app.screen_stack) == 1
        await pilot.press("2")
        await pilot.pause()
        assert app.current_mode == "runs"
        await pilot.press("escape")
        await pilot.pause()
        assert app.current_mode == "learn"


async def test_digits_lead_from_mode_to_mode_again_and_again() -> None:
    """Coming back to a mode must not put the focus into a line that swallows the next digit."""
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        for _ in range(2):
            for digit, mode in (("2", "runs"), ("1", "learn")):
                await pilot.press(digit)
                await until(pilot, lambda mode=mode: app.current_mode == mode)
                await pilot.pause(0.2)


async def open_menu(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press("ctrl+p")
    await pilot.pause()
    for key in keys:
        await pilot.press(key)
    await pilot.pause(0.3)


@pytest.mark.parametrize(("language", "words"), [("en", "Settings"), ("zh", "设置")])
async def test_the_menu_finds_in_either_language(language: Language, words: str) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_menu(pilot)
        await until_shown(pilot, "What would you like to do?" if language == "en" else "想做什么？")
        app.screen.query_one(Input).value = "settin"
        await until_shown(pilot, words)
        await pilot.press("enter")
        await pilot.pause()
        app.screen.query_one(Input) if app.screen.query(Input) else None
        await until_shown(pilot, f"› {words}")


async def test_the_menu_offers_what_the_screen_does() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 40)) as pilot:
        await pilot.press("f6")
        await open_menu(pilot)
        await until_shown(pilot, "Next value", "on this screen", "Quit (runs go on)")


async def test_themes_go_round_and_are_kept() -> None:
    app = MiniMindApp()
    async with app.run_test() as pilot:
        seen = [app.theme]
        for _ in range(3):
            await pilot.press("f9")
            seen.append(app.theme)
        assert seen == ["minimind-dark", "minimind-light", "minimind-ansi", "minimind-dark"]
        await pilot.press("f9")
    assert MiniMindApp().theme == "minimind-light"


async def test_no_color_keeps_every_colour_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = MiniMindApp()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("f9")
        await until_shown(pilot, "NO_COLOR is set")
        assert app.theme == "minimind-ansi"
    import os

    assert os.environ["NO_COLOR"] == "1"  # children are to see it


async def test_clicks_on_modes_keys_and_language() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.click(offset=(lines_of(app)[0].index("2 Runs") + 2, 0))
        await pilot.pause()
        assert app.current_mode == "runs"
        await pilot.click(offset=(lines_of(app)[0].index("中文"), 0))
        await until_shown(pilot, "2 训练")
        last = lines_of(app)[-1]
        await pilot.click(offset=(len(last.split("F1")[0].encode("gbk")) + 1, 23))
        await until_shown(pilot, "任何界面")


class Broken(MiniMindScreen):
    """A screen with a fault of ours and words that must not reach a terminal."""

    def compose_body(self):  # type: ignore[no-untyped-def]
        yield Phrase("common.app")

    def on_key(self) -> None:
        raise RuntimeError("a fault\x1b]52;c;x\x07 of ours")


async def test_a_crash_writes_a_log_and_no_traceback(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    app = MiniMindApp()

    async def crash() -> None:
        async with app.run_test() as pilot:
            await app.push_screen(Broken())
            await pilot.press("x")
            await pilot.pause()

    with pytest.raises(RuntimeError, match="a fault"):
        await crash()
    assert app.has_crashed
    assert app.return_code == 1
    assert app.crash_log is not None
    assert app.crash_log.is_relative_to(home)
    assert "a fault" in app.crash_log.read_text(encoding="utf-8")
    assert "Traceback" not in capsys.readouterr().err


async def test_control_characters_never_pass_the_last_net() -> None:
    app = MiniMindApp()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        phrase = app.screen.query_one(Phrase)
        phrase.update("x\x1b]52;c;x\x07\x9by\u202ez")
        await pilot.pause()
        assert any(isinstance(line_filter, NoControls) for line_filter in app.get_line_filters())
        text = await until_shown(pilot, "]52;c;x")
        assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text.replace("\n", ""))
        assert "\u202e" not in text


@pytest.mark.parametrize("name", sorted(_SCREENS))
def test_every_screen_that_is_named_exists(name: str) -> None:
    assert issubclass(screen_class(name), MiniMindScreen)  # type: ignore[arg-type]


async def test_a_screenshot_is_saved_and_said() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        app.action_screenshot()
        await until_shown(pilot, "Saved:")
    pictures = list(paths.pictures().glob("*.svg"))
    assert len(pictures) == 1
    assert "Train" in pictures[0].read_text(encoding="utf-8")


async def test_an_unknown_lesson_is_said_and_the_app_goes_on() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await app.show_lesson("nosuch")
        await until_shown(pilot, "no lesson 'nosuch'")
        assert app.current_mode == "learn"


async def test_a_run_asked_for_that_is_gone_is_said() -> None:
    app = MiniMindApp(language="en", target=("runs", "nosuch"))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until_shown(pilot, "there are no runs", "Train your first model")


async def test_a_run_asked_for_is_opened() -> None:
    directory = make_run(steps=5, name="tonight")
    app = MiniMindApp(language="en", target=("runs", "tonight"))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, f"tonight ({directory.name})")
        assert app.current_mode == "runs"


def test_the_least_size_is_the_doctors() -> None:
    assert (MINIMUM_WIDTH, MINIMUM_HEIGHT) == (doctor_terminal.LEAST_WIDTH, doctor_terminal.LEAST_HEIGHT)
