"""A newcomer's first day, key by key, in a real terminal: train, lose the window, find the run, tune it, talk to it."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Machine

pytestmark = pytest.mark.e2e


def test_train_lose_the_window_find_the_run_tune_it_and_chat(machine: Machine) -> None:
    with machine.app("--lang", "en") as terminal:
        terminal.wait_for("Train your first model")
        terminal.press("enter")
        terminal.wait_for("Start training")
        terminal.focus("data_megabytes")
        terminal.press("backspace")  # "10" stands there: typing would make it 100.5
        terminal.press("backspace")
        terminal.type("0.5")
        terminal.focus("steps")
        terminal.type("5000")
        terminal.focus("minutes")
        terminal.press("backspace")
        terminal.press("enter")
        terminal.wait_for(r"\b(2\d|[3-9]\d|\d{3})/5,000", 180)
        terminal.process.kill()

    (run,) = machine.runs()
    assert (run["state"], run["live"]) == ("running", True)
    before = run["step"]
    assert before >= 20

    with machine.app("--lang", "en") as terminal:
        terminal.wait_for(run["id"])
        terminal.press("2")
        terminal.wait_for(r"running")
        terminal.press("enter")
        terminal.wait_until(lambda text: _step(text) > before, "a later step", 60)
        assert "loss" in terminal.text
        terminal.press("s")
        terminal.wait_for("saves a checkpoint")
        terminal.press("y")
        terminal.wait_for("stopped", 90)
        terminal.press("f")
        terminal.wait_until(lambda text: "-sft-" in text and _step(text) >= 3, "SFT at work", 180)
        terminal.press("s")
        terminal.wait_for("saves a checkpoint")
        terminal.press("y")
        terminal.wait_for("stopped", 90)
        terminal.press("c")
        terminal.wait_for("step", 90)
        terminal.press("ctrl+q")
        assert terminal.wait_for_exit() == 0

    assert {each["objective"]: each["state"] for each in machine.runs()} == {"pretrain": "stopped", "sft": "stopped"}


def test_chat_answers_at_the_first_start_in_both_languages(machine: Machine) -> None:
    with machine.app("chat", "--lang", "en") as terminal:
        terminal.wait_for("nano-chat", 60)
        terminal.type("Who are you?")
        terminal.press("enter")
        terminal.wait_for("I am MiniMind|My name is MiniMind|MiniMind", 60)
        terminal.press("f8")
        terminal.wait_for("对话")
        terminal.type("你是谁？")
        terminal.press("enter")
        terminal.wait_until(
            lambda text: "我是 MiniMind" in text or "我叫 MiniMind" in text or "个小" in text or "语言模型" in text,
            "a Chinese answer",
            60,
        )
        terminal.press("ctrl+q")
        assert terminal.wait_for_exit() == 0


def _step(text: str) -> int:
    found = re.search(r"([\d,]+)/[\d,]+ ·", text)
    return int(found[1].replace(",", "")) if found else -1
