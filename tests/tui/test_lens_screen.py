"""The mask lens on the real app, with a fake child."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from minimind.config import TrainConfig
from minimind.events import Language
from minimind_tui import estimate_client, lens_client
from minimind_tui.app import MiniMindApp
from minimind_tui.screens.lens import LensScreen
from minimind_tui.screens.new_run import NewRunScreen
from tests.tui.driving import text_of, until, until_shown
from tests.tui.fake_runs import make_run


@pytest.fixture(autouse=True)
def fake_children(monkeypatch: pytest.MonkeyPatch) -> None:
    for client, script in ((lens_client, "fake_lens.py"), (estimate_client, "fake_estimate.py")):
        monkeypatch.setattr(client, "COMMAND", (sys.executable, str(Path(__file__).with_name(script))))


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (160, 50)), ("zh", (60, 16))])
async def test_both_sides_of_a_pair_token_by_token(language: Language, size: tuple[int, int]) -> None:
    app = MiniMindApp(language=language)
    async with app.run_test(size=size) as pilot:
        await app.show_lens(TrainConfig(objective="dpo"))
        words = {
            "en": ("Sample 1 of 25: 8 tokens, 4 trained, 2 cut off", "The chosen answer", "The rejected answer"),
            "zh": ("样本 1/25：8 个词元，训练 4 个", "选中的回答", "落选的回答"),
        }
        text = await until_shown(pilot, *words[language], "<|im_start|>word1␛[2J[/]⏎")
        assert "\x1b" not in text
        await until_shown(pilot, "Token 1 of 4 · id 1" if language == "en" else "词元 1/4 · 编号 1", "<|im_start|>")
        await pilot.press("right", "right", "right")
        await until_shown(pilot, "the trainer never sees it" if language == "en" else "训练器看不到")
        await pilot.press("right", "right")
        await until_shown(pilot, "id 70" if language == "en" else "编号 70")


async def test_samples_are_turned_and_fetched_as_they_are_needed() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_lens(TrainConfig(objective="sft"))
        await until_shown(pilot, "word1")
        await pilot.press("right_square_bracket")
        await until_shown(pilot, "Sample 2 of 25", "leaves this sample out")
        await pilot.press(*["n"] * 19)
        await until_shown(pilot, "Sample 21 of 25", "word21")
        await pilot.press(*["n"] * 9)
        await until_shown(pilot, "Sample 25 of 25")
        await pilot.press("p")
        await until_shown(pilot, "Sample 24 of 25")
        await pilot.press("f8")
        await until_shown(pilot, "样本 24/25", "下划线：参与训练")


async def test_what_the_child_refuses_is_said_in_its_words() -> None:
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_lens(TrainConfig(seed=7))
        text = await until_shown(pilot, "the sample cannot be shown: pairs.jsonl, line 3: not JSON ␛]52")
        assert "\x1b" not in text
        await pilot.press("n", "right", "escape")
        await until(pilot, lambda: not isinstance(app.screen, LensScreen))


async def test_it_opens_from_a_run_and_from_the_form_which_stay_as_they_were() -> None:
    directory = make_run(steps=5)
    app = MiniMindApp(language="en")
    async with app.run_test(size=(80, 24)) as pilot:
        await app.show_run(directory)
        await until_shown(pilot, "lost")
        await pilot.press("v")
        await until_shown(pilot, "Sample 1 of 25")
        await pilot.press("escape")
        await until_shown(pilot, "lost")
        await app.show_new_run({"steps": 77})
        await until_shown(pilot, "steps")
        await pilot.press("v")
        await until_shown(pilot, "Sample 1 of 25")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, NewRunScreen))
        assert "77" in text_of(app)


@pytest.mark.parametrize("output", [b"", b"[]", b"{}", b'{"sample": "x"}', b"\xff"])
def test_what_is_no_sample_is_passed_over(output: bytes) -> None:
    assert lens_client.parse(output) == []
