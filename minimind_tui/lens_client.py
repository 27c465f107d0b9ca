"""Training samples as the trainer sees them, from a child (``python -m minimind lens``): no torch enters the window."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Language
from minimind.safe_text import clean_line
from minimind_tui import child

COMMAND = child.COMMAND
_STATES = frozenset("trc")
_LONGEST_TOKEN = 100


@dataclass(frozen=True, slots=True)
class Token:
    """A token: `state` is t (its prediction is trained), r (only read) or c (cut off)."""

    id: int
    text: str
    state: str
    is_special: bool


@dataclass(frozen=True, slots=True)
class Side:
    """The tokens of a document; of a preference pair `name` is chosen or rejected, else empty."""

    name: str
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """Sample number `sample` of `count`; `used` is False where the trainer leaves it out.

    A prompt is only read: the answers that the model gives to it are trained.
    """

    sample: int
    count: int
    sequence_length: int
    used: bool
    is_prompt: bool
    sides: tuple[Side, ...]


async def see(config: TrainConfig, first: int, amount: int, language: Language) -> list[Seen]:
    """Samples number `first` and following, at most `amount`; some seconds. Raises UserError with the child's own words."""
    about = ["--sample", str(first), "--count", str(amount)]
    arguments = ["lens", config.objective, "--json", "--lang", language, *about, *child.flags_of(config)]
    try:
        found = parse(await child.ask(COMMAND, arguments))
    except child.ChildError as error:
        raise UserError(f"the sample cannot be shown: {error.words}", f"无法显示样本：{error.words}") from None
    if not found:
        raise UserError("the sample cannot be shown: no answer", "无法显示样本：没有得到结果")
    return found


def parse(output: bytes) -> list[Seen]:
    """The samples among the lines of `output`; lines that are none are passed over."""
    found = []
    for line in output.splitlines():
        try:
            found.append(_sample(json.loads(line)))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue
    return found


def _sample(data: Any) -> Seen:
    return Seen(
        sample=int(data["sample"]),
        count=int(data["count"]),
        sequence_length=int(data["sequence_length"]),
        used=bool(data["used"]),
        is_prompt=data["kind"] == "prompt",
        sides=tuple(_side(side) for side in data["sides"]),
    )


def _side(data: Any) -> Side:
    rows = zip(data["ids"], data["texts"], data["states"], data["special"], strict=True)
    tokens = tuple(
        Token(int(number), clean_line(str(text), _LONGEST_TOKEN), state if state in _STATES else "r", bool(special))
        for number, text, state, special in rows
    )
    return Side(clean_line(str(data["name"]), 20), tokens)
