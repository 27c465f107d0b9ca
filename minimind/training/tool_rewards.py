"""What an episode with tools is worth: whether the calls were right, the answers are in it, and it came to an end."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

ALIGNED, VERIFIED, UNFINISHED, UNBALANCED = 0.5, 2.5, 0.5, 0.5
LIMIT = 3.0
"""The reward is clipped to ± this."""
_TOLERANCE = 1e-6
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened in an episode.

    answer       what the assistant said last, outside of calls
    valid_calls  calls of a declared tool with arguments it accepted
    bad_calls    everything else between the tags of a call
    unbalanced   kinds of tags, summed over the turns, that were opened and not closed or closed and not opened
    finished     the last turn ended by itself and asked for no more tools
    """

    answer: str
    valid_calls: int
    bad_calls: int
    unbalanced: int
    finished: bool


def holds(text: str, truth: str) -> bool:
    """Whether `text` holds the right answer: for a number, one within 1e-6 of it; else the words themselves.

    A number is looked for among whole numbers only: 6 is not in "16".
    """
    value = _value(truth)
    if value is None:
        return truth in text
    found = (_value(number) for number in _NUMBER.findall(text))
    return any(number is not None and math.isclose(number, value, rel_tol=0.0, abs_tol=_TOLERANCE) for number in found)


def _value(text: str) -> float | None:
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def tool_reward_parts(truths: Sequence[str], outcome: Outcome) -> dict[str, float]:
    """The parts of the reward of an episode whose right answers are `truths`.

    calls     ±0.5: as many valid calls as there are answers, and no others
    verified  0–2.5: the share of the answers that the last turn holds
    finished  −0.5 unless it came to an end
    tags      −0.5 for each kind of tags that does not match in a turn

    Their sum is between −3 and 3, where the released trainers clip it. With no `truths` a call is never right.
    """
    aligned = outcome.valid_calls == len(truths) and not outcome.bad_calls
    parts = {"calls": ALIGNED if aligned else -ALIGNED}
    if truths:
        parts["verified"] = VERIFIED * sum(holds(outcome.answer, truth) for truth in truths) / len(truths)
    parts["finished"] = 0.0 if outcome.finished else -UNFINISHED
    parts["tags"] = 0.0 - min(UNBALANCED * outcome.unbalanced, LIMIT + sum(parts.values()))
    return parts
