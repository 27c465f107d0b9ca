"""A command of ours in a child whose output is events, one JSON object a line, so that no torch enters the window."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence

from minimind.errors import UserError
from minimind.events import from_dict
from minimind.safe_text import clean_line
from minimind.training.launch import trainer_environment
from minimind_tui.inbox import Inbox

COMMAND = (sys.executable, "-P", "-m", "minimind")
_LONGEST_LINE = 4 << 20
_KEPT_ERRORS = 8 << 10


async def stream_events(arguments: Sequence[str], inbox: Inbox) -> None:
    """Run ``minimind ARGUMENTS`` and put its events into `inbox` until it ends. Cancelling ends the child.

    Raises UserError with the child's own last words where it fails.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=trainer_environment(),
            start_new_session=True,
            limit=_LONGEST_LINE,
        )
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"cannot start: {reason}", f"无法启动：{reason}") from None
    try:
        errors, _ = await asyncio.gather(_last_of(process.stderr), _read(process.stdout, inbox))
        code = await process.wait()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if code != 0:
        lines = [line for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
        said = clean_line(lines[-1] if lines else f"exit {code}", 400)
        said = said.removeprefix("minimind: ").removeprefix("minimind：")
        raise UserError(said, said)


async def _read(stream: asyncio.StreamReader | None, inbox: Inbox) -> None:
    assert stream is not None
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


async def _last_of(stream: asyncio.StreamReader | None) -> bytes:
    assert stream is not None
    kept = b""
    while chunk := await stream.read(_KEPT_ERRORS):
        kept = (kept + chunk)[-_KEPT_ERRORS:]
    return kept
