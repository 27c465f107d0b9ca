"""A command of ``python -m minimind`` as a child, so that no torch enters the window: asked, waited for, ended if need be."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence

from minimind.config import TrainConfig
from minimind.events import from_dict
from minimind.safe_text import clean_line
from minimind.training.launch import trainer_environment
from minimind_tui.inbox import Inbox

COMMAND = (sys.executable, "-P", "-m", "minimind")
_LONGEST_LINE = 4 << 20
_KEPT_ERRORS = 8 << 10


class ChildError(Exception):
    """The command did not do what was asked; `words` are its last ones, cleaned."""

    def __init__(self, words: str) -> None:
        super().__init__(words)
        self.words = clean_line(words.removeprefix("minimind: ").removeprefix("minimind："), 400)


def flags_of(config: TrainConfig) -> list[str]:
    """The flags that stand for `config`, its objective aside."""
    flags = []
    for declared in config.declared():
        if declared.name == "objective" or not config.applies(declared.about):
            continue
        value = getattr(config, declared.name)
        values = value if isinstance(value, tuple) else ("none" if value is None else value,)
        flags += ["--" + declared.name.replace("_", "-"), *map(str, values)]
    return flags


async def ask(command: Sequence[str], arguments: Sequence[str]) -> bytes:
    """What the command prints. Cancelling ends it with all its descendants. Raises ChildError where it fails."""
    async with _started(command, arguments) as process:
        output, errors = await process.communicate()
    _demand_success(process, errors)
    return output


async def stream_events(command: Sequence[str], arguments: Sequence[str], inbox: Inbox) -> None:
    """Put the events that the command prints, one JSON object a line, into `inbox` until it ends.

    What is no event is passed over. Cancelling ends the command with all its descendants. Raises ChildError where it
    fails.
    """
    async with _started(command, arguments) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        errors, _ = await asyncio.gather(_last_of(process.stderr), _read_events(process.stdout, inbox))
        await process.wait()
    _demand_success(process, errors)


@contextlib.asynccontextmanager
async def _started(command: Sequence[str], arguments: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command's process, which is gone when the block is left."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=trainer_environment(),
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
    except OSError as error:
        raise ChildError(error.strerror or type(error).__name__) from None
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _demand_success(process: asyncio.subprocess.Process, errors: bytes) -> None:
    if process.returncode != 0:
        lines = [line for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
        raise ChildError(lines[-1] if lines else f"exit {process.returncode}")


async def _read_events(stream: asyncio.StreamReader, inbox: Inbox) -> None:
    while True:
        try:
            line = await stream.readline()
        except ValueError:  # a line over the limit; asyncio has dropped it
            continue
        if not line:
            return
        try:
            data = json.loads(line)
        except (ValueError, RecursionError):
            continue
        event = from_dict(data) if isinstance(data, dict) else None
        if event is not None:
            inbox.put(event)


async def _last_of(stream: asyncio.StreamReader) -> bytes:
    """The end of what `stream` says."""
    kept = b""
    while chunk := await stream.read(_KEPT_ERRORS):
        kept = (kept + chunk)[-_KEPT_ERRORS:]
    return kept
