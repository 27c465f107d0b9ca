"""Rewards by rules: each part of each kind of task, to the last digit."""

from __future__ import annotations

import pytest

from minimind.data.tasks import CONVERSATION, Task
from minimind.training.rewards import repetition_penalty, reward_parts, split_thought, total

USER = ({"role": "user", "content": "?"},)
SUM = Task("arithmetic", USER, ("17 + 25", "42"))
COUNT = Task("counting", USER, ("3", "4", "5"))
LIST = Task("listing", USER, ("red", "blue", "green", "红色"), 2)
STORY = Task("length", USER, ("fox",), 2)
FREE = Task(CONVERSATION, USER)


@pytest.mark.parametrize(
    ("text", "correct", "form"),
    [
        ("17 + 25 = 42.", 1.0, 0.5),
        ("17 + 25 = 42。", 1.0, 0.5),
        ("17 + 25 = 52.", 0.0, 0.5),
        ("It is 42", 1.0, 0.0),
        ("42 or 43", 0.0, 0.0),
        ("3 + 4 = 42.", 1.0, 0.0),
        ("17 + 25 = 42. 42", 1.0, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_arithmetic(text: str, correct: float, form: float) -> None:
    assert reward_parts(SUM, text) == {"correct": correct, "format": form, "repetition": 0.0}


@pytest.mark.parametrize(
    ("text", "correct", "form"),
    [
        ("3, 4, 5.", 1.0, 0.5),
        ("3，4，5。", 1.0, 0.5),
        ("3 4 5", 1.0, 0.0),
        ("3, 4.", 2 / 3, 0.5),
        ("3, 4, 5, 6.", 0.75, 0.5),
        ("3, 5, 5.", 1 / 3, 0.5),
        ("5, 4, 3.", 0.0, 0.5),
        ("none", 0.0, 0.0),
    ],
)
def test_counting(text: str, correct: float, form: float) -> None:
    assert reward_parts(COUNT, text) == {"correct": correct, "format": form, "repetition": 0.0}


@pytest.mark.parametrize(
    ("text", "correct", "form"),
    [
        ("Red, blue.", 1.0, 0.5),
        ("红色、red。", 1.0, 0.5),
        ("Red, red.", 0.5, 0.5),
        ("Red.", 0.5, 0.0),
        ("Red, blue, green, sky.", 0.75, 0.0),
        ("Red, blue", 1.0, 0.0),
        ("Table, sky.", 0.0, 0.5),
        (".", 0.0, 0.0),
    ],
)
def test_listing(text: str, correct: float, form: float) -> None:
    assert reward_parts(LIST, text) == {"correct": correct, "format": form, "repetition": 0.0}


@pytest.mark.parametrize(
    ("text", "length", "form"),
    [
        ("The fox ran home. “It is late,” it said.", 1.0, 0.5),
        ("The fox ran home.", 0.5, 0.5),
        ("Fox 回家了。天黑下来了！", 1.0, 0.5),
        ("I am sorry to hear that. Would you like a story?", 0.0, 0.5),
        ("A. B. The fox ran home.", 0.5, 0.5),
        ("One fox ran. Two ran home. Three ran away. Four sat down. Five ran in.", 0.0, 0.5),
        ("The fox ran home. It was", 0.5, 0.0),
    ],
)
def test_length(text: str, length: float, form: float) -> None:
    parts = reward_parts(STORY, text)
    assert (parts["length"], parts["format"]) == (length, form)


def test_conversations_are_rewarded_as_by_the_released_trainers() -> None:
    middle, thought = "word " * 10, "because " * 4
    assert reward_parts(FREE, "too short") == {"length": -0.5, "repetition": 0.0}
    assert reward_parts(FREE, "x" * 20)["length"] == 0.5
    assert reward_parts(FREE, "x" * 800)["length"] == 0.5
    assert reward_parts(FREE, "x" * 801)["length"] == -0.5
    assert reward_parts(FREE, f"{thought}</think>{middle}") == {
        "length": 0.5,
        "thinking": 1.0,
        "think_close": 0.25,
        "repetition": -0.5,
    }
    twice = reward_parts(FREE, f"no</think>and</think>{'one two three'}")
    assert (twice["thinking"], twice["think_close"]) == (-0.5, -0.25)


def test_repetition_is_the_share_of_repeated_trigrams_up_to_a_half() -> None:
    assert repetition_penalty("one two") == 0.0
    assert repetition_penalty("one two three four") == 0.0
    assert repetition_penalty("a b c a b c") == pytest.approx(1 / 4)  # abc bca cab abc: one of four
    assert repetition_penalty("A b c, a B c!") == pytest.approx(1 / 4)
    assert repetition_penalty("go " * 40) == 0.5
    assert repetition_penalty("天天天天天") == pytest.approx(0.5)


def test_thoughts_are_parted_from_answers_and_not_judged() -> None:
    assert split_thought("plain ") == (None, "plain")
    assert split_thought("<think>\nhm\n</think>\n\nyes") == ("hm", "yes")
    assert reward_parts(SUM, "maybe 43\n</think>\n\n17 + 25 = 42.") == {
        "correct": 1.0,
        "format": 0.5,
        "repetition": 0.0,
    }
    assert total({"correct": 1.0, "format": 0.5, "repetition": -0.25}) == 1.25
