"""The peak learning rate to train with, tested by a child (``python -m minimind find-learning-rate``)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Language, Note, Text, from_dict
from minimind.safe_text import clean_line
from minimind_tui import child

COMMAND = child.COMMAND


@dataclass(frozen=True, slots=True)
class Suggested:
    """A learning rate, and why that one."""

    rate: float
    reason: Text


async def find(config: TrainConfig, language: Language) -> Suggested:
    """Test; some ten seconds to a minute. Cancelling ends the child. Raises UserError with the child's own words."""
    arguments = ["find-learning-rate", config.objective, "--json", "--lang", language, *child.flags_of(config)]
    try:
        return parse(await child.ask(COMMAND, arguments))
    except child.ChildError as error:
        raise UserError(f"no learning rate found: {error.words}", f"没有找到学习率：{error.words}") from None


def parse(output: bytes) -> Suggested:
    """The suggestion in the last lines of `output`. Raises ChildError where there is none."""
    try:
        *_, said, suggestion = (json.loads(line) for line in output.splitlines() if line.startswith(b"{"))
        rate, note = float(suggestion["learning_rate"]), from_dict(said)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise child.ChildError("exit 0") from None
    if not (math.isfinite(rate) and rate > 0 and isinstance(note, Note)):
        raise child.ChildError("exit 0")
    return Suggested(float(f"{rate:.2g}"), Text(clean_line(note.text.en, 400), clean_line(note.text.zh, 400)))
