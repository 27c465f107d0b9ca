"""What a run would take, measured by a child (``python -m minimind estimate``) so that no torch enters the window."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Language
from minimind.safe_text import clean_line
from minimind.training.launch import trainer_environment

COMMAND = (sys.executable, "-P", "-m", "minimind")
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
    """What a few real steps on this machine say about a run."""

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


def arguments_for(config: TrainConfig, language: Language) -> list[str]:
    """The command line that asks for an estimate of `config`."""
    arguments = ["estimate", config.objective, "--json", "--lang", language]
    for declared in config.declared():
        if declared.name == "objective" or not config.applies(declared.about):
            continue
        value = getattr(config, declared.name)
        values = value if isinstance(value, tuple) else ("none" if value is None else value,)
        arguments += ["--" + declared.name.replace("_", "-"), *map(str, values)]
    return arguments


async def measure(config: TrainConfig, language: Language) -> Estimated:
    """Measure; some ten seconds. Cancelling ends the child. Raises UserError with the child's own words."""
    try:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments_for(config, language),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=trainer_environment(),
            start_new_session=True,
        )
    except OSError as error:
        raise _failure(error.strerror or type(error).__name__) from None
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    found = parse(output) if process.returncode == 0 else None
    if found is None:
        lines = [line for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
        raise _failure(lines[-1] if lines else f"exit {process.returncode}")
    return found


def parse(output: bytes) -> Estimated | None:
    """The estimate in the last line of `output`, or None."""
    lines = output.splitlines()
    try:
        data: dict[str, Any] = json.loads(lines[-1])
        numbers = {name: float(data[name]) for name in _NUMBERS}
        return Estimated(
            **numbers, device=clean_line(str(data["device"]), 40), dtype=clean_line(str(data["dtype"]), 40)
        )
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError):
        return None


def _failure(words: str) -> UserError:
    said = clean_line(words.removeprefix("minimind: ").removeprefix("minimind："), 400)
    return UserError(f"no estimate: {said}", f"无法预估：{said}")
