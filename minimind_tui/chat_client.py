"""The window's end of the pipe to a chat child (``minimind.inference.worker``). No torch, no terminal.

The child owns the model and the device, so an out-of-memory error or a device-side assertion ends the child and not the
window. Both ways go JSON lines. What the child says is kept in a bounded queue that a screen drains a few times a
second; when the queue is full the client stops reading, the pipe fills and the child waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from minimind.events import Text
from minimind.safe_text import clean, clean_line
from minimind.training.launch import trainer_environment

WORKER = (sys.executable, "-P", "-m", "minimind.inference.worker")
LONGEST_LINE = 8 * 1024 * 1024
LONGEST_QUEUE = 4096
KEPT_ERRORS = 8192
GRACE_SECONDS = 2.0

State = Literal["closed", "opening", "ready", "answering"]


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is open; `facts` is what the child says about it (objective, step, parameters, context, dtype, …).

    `notes` says what the child had to do otherwise than asked (weights that cannot be had here).
    """

    facts: Mapping[str, Any]
    notes: tuple[Text, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """A token as it is drawn: its text (untrusted), its probability and the likeliest alternatives."""

    id: int
    text: str
    probability: float | None
    alternatives: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The end of an answer; `finish` is stop, length or cancelled. `notes` says what the engine changed (a cut prompt)."""

    id: int
    finish: str
    tokens: int
    seconds: float
    prompt_tokens: int
    notes: tuple[Text, ...]


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something went wrong; `ended` when the child is gone."""

    text: Text
    ended: bool


Message: TypeAlias = Ready | Piece | Done | Trouble


class ChatClient:
    """One chat child at a time. All methods belong to the event loop that runs them."""

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self.state: State = "closed"
        self.path = ""
        self._command = tuple(command or WORKER)
        self._changing = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._queue: deque[Message] = deque()
        self._errors = b""
        self._requests = 0

    async def open(self, path: str, dtype: str = "auto") -> None:
        """Start a child on the checkpoint `path`, with weights of `dtype`, in place of the one that runs.

        A Ready or a Trouble follows.
        """
        self.path, self.state = path, "opening"
        async with self._changing:
            await self._end()
            self._queue.clear()
            self.path, self.state, self._errors = path, "opening", b""
            try:
                self._process = await self._start(path, dtype)
            except OSError as error:
                self.state = "closed"
                reason = error.strerror or type(error).__name__
                words = Text(f"the chat child cannot start: {reason}", f"聊天进程启动不了：{reason}")
                self._queue.append(Trouble(words, ended=True))
                return
            self._tasks = [
                asyncio.create_task(self._listen(self._process)),
                asyncio.create_task(self._collect_errors(self._process)),
            ]

    async def chat(
        self, messages: Sequence[Mapping[str, str]], sample: Mapping[str, Any], *, top: int = 0, lookup: bool = False
    ) -> int:
        """Ask for the answer to `messages` ({"role", "content"}); returns the id that its pieces carry.

        `lookup` lets the child guess ahead from repeated text.
        """
        ask = {"messages": [dict(message) for message in messages], "lookup": lookup}
        return await self._generate(ask, sample, top)

    async def complete(self, prompt: str, sample: Mapping[str, Any], *, top: int = 0, lookup: bool = False) -> int:
        """Ask for a continuation of the raw text `prompt`; otherwise as `chat`."""
        return await self._generate({"prompt": prompt, "lookup": lookup}, sample, top)

    async def stop(self) -> None:
        """End the answer in progress at the next token; a Done with finish "cancelled" follows."""
        if self.state == "answering":
            await self._send({"op": "stop"})

    async def close(self) -> None:
        """End the child: ask, then (after a grace of 2 s) kill its process group."""
        self.state = "closed"
        async with self._changing:
            await self._end()

    async def _start(self, path: str, dtype: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            path,
            dtype,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=trainer_environment(),
            limit=LONGEST_LINE,
            start_new_session=True,
        )

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError, asyncio.CancelledError):
            if process.stdin is not None:
                process.stdin.write(b'{"op":"quit"}\n')
                process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), GRACE_SECONDS)
        except TimeoutError:
            _kill(process)
            await process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def drain(self) -> list[Message]:
        """Everything the child said since the last call, in order."""
        said = list(self._queue)
        self._queue.clear()
        return said

    async def _generate(self, ask: dict[str, Any], sample: Mapping[str, Any], top: int) -> int:
        self._requests += 1
        self.state = "answering"
        await self._send({"op": "generate", "id": self._requests, "sample": dict(sample), "top": top} | ask)
        return self._requests

    async def _send(self, message: Mapping[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        # A child that is gone is reported by _listen, with its last words.
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            await process.stdin.drain()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            while len(self._queue) >= LONGEST_QUEUE:
                await asyncio.sleep(0.05)
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line over the limit; asyncio has dropped it
                continue
            if not line:
                break
            message = parse(line)
            if message is None:
                self._errors = (self._errors + line)[-KEPT_ERRORS:]
                continue
            self._queue.append(message)
            if not isinstance(message, Piece) and self._process is process:
                self.state = "ready"
        code = await process.wait()
        if self._process is process:
            self._process, self.state = None, "closed"
            self._queue.append(Trouble(_last_words(code, self._errors), ended=True))

    async def _collect_errors(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while chunk := await process.stderr.read(KEPT_ERRORS):
            self._errors = (self._errors + chunk)[-KEPT_ERRORS:]


def parse(line: bytes) -> Message | None:
    """The message in one line from the child; None for anything else (a library that prints, a later protocol)."""
    try:
        data = json.loads(line)
        return _MAKERS[data["op"]](data)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _ready(data: Mapping[str, Any]) -> Message:
    facts = {key: value for key, value in data.items() if key not in ("op", "notes")}
    return Ready(facts, tuple(_text(note) for note in data.get("notes") or ()))


def _piece(data: Mapping[str, Any]) -> Message:
    probability = data.get("probability")
    return Piece(
        id=int(data["id"]),
        text=str(data["text"]),
        probability=None if probability is None else float(probability),
        alternatives=tuple((str(text), float(share)) for text, share in data.get("alternatives") or ()),
    )


def _done(data: Mapping[str, Any]) -> Message:
    return Done(
        id=int(data["id"]),
        finish=str(data.get("finish") or "stop"),
        tokens=int(data.get("tokens") or 0),
        seconds=float(data.get("seconds") or 0.0),
        prompt_tokens=int(data.get("prompt_tokens") or 0),
        notes=tuple(_text(note) for note in data.get("notes") or ()),
    )


def _trouble(data: Mapping[str, Any]) -> Message:
    return Trouble(_text(data["text"]), ended=False)


_MAKERS = {"ready": _ready, "token": _piece, "done": _done, "error": _trouble}


def _text(data: Any) -> Text:
    if isinstance(data, Mapping):
        return Text(clean(str(data["en"]), 2000), clean(str(data["zh"]), 2000))
    return Text(clean(str(data), 2000), clean(str(data), 2000))


def _last_words(code: int, errors: bytes) -> Text:
    """Why the child ended, from its exit code and the last line it wrote to stderr."""
    lines = [line for line in errors.decode("utf-8", "replace").splitlines() if line.strip()]
    last = clean_line(lines[-1].strip(), 300) if lines else ""
    if code == -signal.SIGKILL:
        return Text(
            "the chat child was killed (signal 9: often the system was out of memory); the next message starts it again",
            "聊天进程被终止（信号 9，通常是系统内存不足）；再次发送即可重新启动",
        )
    what = (f"signal {-code}", f"信号 {-code}") if code < 0 else (f"exit {code}", f"退出码 {code}")
    tail = (f": {last}", f"：{last}") if last else ("", "")
    return Text(f"the chat child ended ({what[0]}){tail[0]}", f"聊天进程已结束（{what[1]}）{tail[1]}")


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
