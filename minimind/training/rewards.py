"""What an answer is worth, by rules: a sum of named parts, each a pure function of the task and the text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from minimind.data.tasks import CONVERSATION, Task

Parts: TypeAlias = dict[str, float]
Rule: TypeAlias = Callable[[Task, str], Parts]

CORRECT, FORMAT, LENGTH = 1.0, 0.5, 0.5
"""What the parts are worth at most."""
SHORTEST, LONGEST = 20, 800
"""Characters of an answer to a prompt of no known answer."""
SHORTEST_THOUGHT, LONGEST_THOUGHT = 20, 300
REPETITION_CAP = 0.5
_CLOSE = "</think>"
_WORDS = re.compile(r"[a-z0-9']+|[\u3400-\u9fff]", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+")
_SENTENCE = re.compile(r"[^.!?。！？]+[.!?。！？]+[\"'”’」]*")
_SEPARATOR = re.compile(r", |、")
_SHORTEST_SENTENCE = 3
"""Words (Chinese: characters) below which something between two full stops is no sentence."""


def repetition_penalty(text: str, size: int = 3) -> float:
    """How much of `text` says again what it said: 0 to 0.5.

    Twice the cap times the share of n-grams of `size` words (Chinese: characters) that occurred before, at most the cap.
    """
    words = [word.lower() for word in _WORDS.findall(text)]
    grams = [tuple(words[start : start + size]) for start in range(len(words) - size + 1)]
    if not grams:
        return 0.0
    return min(REPETITION_CAP, 2 * REPETITION_CAP * (len(grams) - len(set(grams))) / len(grams))


def split_thought(text: str) -> tuple[str | None, str]:
    """The thought before the first ``</think>`` (None without one) and the answer after it, both stripped."""
    thought, close, answer = text.partition(_CLOSE)
    if not close:
        return None, text.strip()
    return thought.removeprefix("<think>").strip(), answer.strip()


def _arithmetic(task: Task, text: str) -> Parts:
    """The last number is the value; the form is "EXPRESSION = NUMBER" and a full stop."""
    expression, value = task.expected
    numbers = _NUMBER.findall(text)
    right_form = re.fullmatch(rf"{re.escape(expression)} = -?\d+[.。]", text) is not None
    return {"correct": CORRECT * (bool(numbers) and numbers[-1] == value), "format": FORMAT * right_form}


def _counting(task: Task, text: str) -> Parts:
    """How far the numbers are right from the first on, as a share; the form is a list with commas and a full stop."""
    numbers = _NUMBER.findall(text)
    right = next(
        (place for place, pair in enumerate(zip(numbers, task.expected, strict=False)) if pair[0] != pair[1]),
        min(len(numbers), len(task.expected)),
    )
    right_form = re.fullmatch(r"\d+((, |，)\d+)*[.。]", text) is not None
    return {"correct": CORRECT * right / max(len(numbers), len(task.expected)), "format": FORMAT * right_form}


def _listing(task: Task, text: str) -> Parts:
    """Different words of the kind, as a share of those wanted or given; the form is a list of as many as were asked for."""
    body = text.rstrip(".。")
    items = [item.strip().lower() for item in _SEPARATOR.split(body)] if body else []
    right = set(items) & {word.lower() for word in task.expected}
    right_form = len(items) == task.amount and len(text) - len(body) == 1
    return {"correct": CORRECT * len(right) / max(len(items), task.amount), "format": FORMAT * right_form}


def _length(task: Task, text: str) -> Parts:
    """As many sentences as asked for; fewer or more cost in proportion. The form is to end with a full stop.

    Only a text that names what it is to be about is a story: else two polite sentences about nothing would be the
    surest answer (measured: that is what a policy found).
    """
    sentences = _SENTENCE.findall(text)
    count = sum(len(_WORDS.findall(sentence)) >= _SHORTEST_SENTENCE for sentence in sentences)
    distance = abs(count - task.amount) / task.amount
    complete = "".join(sentences).strip() == text and bool(text)
    on_topic = all(word in text.lower() for word in task.expected)
    return {"length": CORRECT * max(0.0, 1.0 - distance) * on_topic, "format": FORMAT * complete}


def _conversation(task: Task, text: str) -> Parts:
    """What the released trainers reward where no answer is known: length, and a thought that is neither short nor long."""
    del task
    whole = text.strip()
    parts = {"length": LENGTH if SHORTEST <= len(whole) <= LONGEST else -LENGTH}
    thought, _ = split_thought(whole)
    if thought is not None:
        parts["thinking"] = 1.0 if SHORTEST_THOUGHT <= len(thought) <= LONGEST_THOUGHT else -0.5
        parts["think_close"] = 0.25 if whole.count(_CLOSE) == 1 else -0.25
    return parts


RULES: dict[str, Rule] = {
    "arithmetic": _arithmetic,
    "counting": _counting,
    "listing": _listing,
    "length": _length,
    CONVERSATION: _conversation,
}
"""How each kind of task is rewarded, besides the penalty for repetition."""


def reward_parts(task: Task, text: str) -> Parts:
    """The parts of the reward of `text` as an answer to `task`; ``repetition`` is 0 or negative.

    Where the answer is known, what stands before ``</think>`` is not judged: correct 0–1, format 0 or 0.5, length 0–1.
    Otherwise (prompts of rlaif files) the released trainers' rules: length ±0.5 (20–800 characters), and with
    ``</think>`` thinking +1 (20–300 characters) or −0.5, think_close ±0.25 (closed once).
    """
    answer = split_thought(text)[1]
    judged = text if task.kind == CONVERSATION else answer
    return RULES[task.kind](task, judged) | {"repetition": 0.0 - repetition_penalty(answer)}


def total(parts: Mapping[str, float]) -> float:
    """The reward: the sum of its parts."""
    return sum(parts.values())
