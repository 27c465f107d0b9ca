"""A command of ``python -m minimind`` as a child, so that no torch enters the window: asked, waited for, ended if need be."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence

from minimind.config import TrainConfig
from minimind.safe_text import clean_line
from minimind.training.launch import trainer_environment

COMMAND = (sys.executable, "-P", "-m", "minimind")


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
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=trainer_environment(),
            start_new_session=True,
        )
    except OSError as error:
        raise ChildError(error.strerror or type(error).__name__) from None
    try:
        output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode != 0:
        lines = [line for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
        raise ChildError(lines[-1] if lines else f"exit {process.returncode}")
    return output
