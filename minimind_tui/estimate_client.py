"""What a run would take, measured by a child (``python -m minimind estimate``) so that no torch enters the window."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Language
from minimind.safe_text import clean_line
from minimind.training.run_files import finite_number
from minimind_tui import child

COMMAND = child.COMMAND
_NUMBERS = (
    "tokens_per_second",
    "steps",
    "seconds_low",
    "seconds_high",
    "peak_memory_bytes",
    "disk_bytes",
    "parameters",
    "tokens",
)


@dataclass(frozen=True, slots=True)
class Estimated:
    """What a few real steps on this machine say about a run; `cost` where a person said what an hour costs."""

    tokens_per_second: float
    steps: float
    seconds_low: float
    seconds_high: float
    peak_memory_bytes: float
    disk_bytes: float
    parameters: float
    tokens: float
    device: str
    dtype: str
    cost: float | None
    currency: str


def arguments_for(config: TrainConfig, language: Language) -> list[str]:
    """The command line that asks for an estimate of `config`."""
    return ["estimate", config.objective, "--json", "--lang", language, *child.flags_of(config)]


async def measure(config: TrainConfig, language: Language) -> Estimated:
    """Measure; some ten seconds. Cancelling ends the child. Raises UserError with the child's own words."""
    try:
        found = parse(await child.ask(COMMAND, arguments_for(config, language)))
    except child.ChildError as error:
        raise _failure(error.words) from None
    if found is None:
        raise _failure("exit 0")
    return found


def parse(output: bytes) -> Estimated | None:
    """The estimate in the last line of `output`, or None."""
    lines = output.splitlines()
    try:
        data: dict[str, Any] = json.loads(lines[-1])
        numbers = {name: float(data[name]) for name in _NUMBERS}
        return Estimated(
            **numbers,
            device=clean_line(str(data["device"]), 40),
            dtype=clean_line(str(data["dtype"]), 40),
            cost=finite_number(data.get("cost")),
            currency=clean_line(str(data.get("currency", "")), 8),
        )
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        return None


def _failure(words: str) -> UserError:
    return UserError(f"no estimate: {words}", f"无法预估：{words}")
