"""The lesson in a real terminal: predict, run, read on in the other language, pass the exercise, answer the quiz."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lessons.lesson import load_lesson
from lessons.quiz import SingleQuestion
from tests.e2e.conftest import Machine
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e

LESSON = load_lesson("normalization")
PAGES = len(LESSON.pages["en"])
EXERCISE = LESSON.page_ids().index("exercise") + 1
MY_NORM = """\
import torch
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, size, eps=1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        size = x.float().square().mean(dim=-1, keepdim=True)
        return (x.float() / (size + self.eps).sqrt()).to(x.dtype) * self.weight
"""


def answer_first_question(terminal: Terminal) -> str:
    """Answer the open question of the quiz, which lets one choose, by the letter its right choice has this time."""
    question = LESSON.questions[0]
    assert isinstance(question, SingleQuestion)
    (right,) = (choice.text.en for choice in question.choices if choice.id in question.answer)
    terminal.press("tab")
    text = terminal.wait_for(r"▸ +[a-z] +\w")  # the cursor stands on a choice
    terminal.press(letter_of(right, text))
    terminal.wait_for("✓ Right")
    return question.id


def letter_of(choice: str, text: str) -> str:
    """The letter before a choice on the screen; its line may be broken after the first words."""
    found = re.search(rf"\b([a-z]) +{re.escape(choice[:30])}", text)
    assert found, text
    return found[1]


def test_predict_run_read_solve_and_answer(machine: Machine, home: Path) -> None:
    with machine.app("learn", "normalization", "--lang", "en", rows=50) as terminal:
        terminal.wait_for(f"1/{PAGES}")
        terminal.wait_for("Depth and the signal", 60)
        terminal.press("tab")
        terminal.wait_for("Choose")
        terminal.press("c")
        terminal.wait_for("r runs it")
        terminal.press("r")
        terminal.wait_for("You said: less than a thousandth", 120)
        terminal.wait_for("It was: ", 120)
        terminal.wait_for("✓", 60)

        terminal.press("f8")
        terminal.wait_for("两个输入，三十层")
        terminal.press("f8")
        terminal.wait_for("Thirty layers, two inputs")

        mine = home / "exercises" / "rmsnorm.py"
        mine.parent.mkdir(parents=True, exist_ok=True)
        mine.write_text(MY_NORM, encoding="utf-8")
        for page in range(2, EXERCISE + 1):
            terminal.press("n")
            terminal.wait_for(f" {page}/{PAGES}")
        terminal.wait_for("Write it yourself")
        terminal.press("tab", "c")
        terminal.wait_for("Passed", 120)

        for page in range(EXERCISE + 1, PAGES + 1):
            terminal.press("n")
            terminal.wait_for(f" {page}/{PAGES}")
        terminal.wait_for("Check yourself")
        answered = answer_first_question(terminal)
        terminal.press("ctrl+q")
        assert terminal.wait_for_exit() == 0
    kept = json.loads((home / "progress.json").read_text(encoding="utf-8"))["lessons"]["normalization"]["answers"]
    assert kept[answered]["correct"] is True

    with machine.app("--lang", "en", rows=50) as terminal:
        terminal.wait_for(r"Normalisation .*\d\d %")
        terminal.press("ctrl+q")
        assert terminal.wait_for_exit() == 0


def test_the_course_works_without_the_app(machine: Machine) -> None:
    listed = machine.run("python", "-m", "lessons", "list", "--json").stdout.splitlines()
    assert any("normalization" in line for line in listed)
    events = machine.run(
        "python", "-m", "lessons", "run", "half_precision_overflow", "--budget", "quick", "--json"
    ).stdout
    claims = [event for event in map(json.loads, events.splitlines()) if event.get("kind") == "claim"]
    assert claims
    assert all(claim["holds"] for claim in claims)
