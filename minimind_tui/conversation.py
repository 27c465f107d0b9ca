"""Conversations kept on disk: one JSON-lines file each, append only, newest reloaded at the next start."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from minimind import paths
from minimind.errors import UserError

Role = Literal["user", "assistant", "prompt", "completion"]
ROLES: tuple[Role, ...] = ("user", "assistant", "prompt", "completion")
LONGEST_FILE = 2 * 1024 * 1024
"""Bytes read back from the end of a conversation; what is older stays on disk."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance. `role` is user/assistant in a dialogue, prompt/completion with a model that only continues text.

    `side` is 0, or 1 for the second model of a comparison; `model` is the checkpoint that answered.
    """

    role: Role
    text: str
    model: str = ""
    side: int = 0
    finish: str = ""


@dataclass(slots=True)
class Conversation:
    """The turns and the file they are appended to; the file is made with the first turn."""

    path: Path
    turns: list[Turn] = field(default_factory=list)

    @classmethod
    def new(cls, directory: Path | None = None) -> Conversation:
        """An empty conversation with a file name of its own."""
        stamp = time.strftime("%Y%m%d-%H%M%S")
        return cls((directory or paths.conversations()) / f"{stamp}-{secrets.token_hex(2)}.jsonl")

    @classmethod
    def newest(cls, directory: Path | None = None) -> Conversation:
        """The conversation kept last, or a new one where there is none that can be read."""
        directory = directory or paths.conversations()
        try:
            kept = sorted(directory.glob("*.jsonl"), reverse=True)
        except OSError:
            kept = []
        for path in kept:
            turns = list(read_turns(path))
            if turns:
                return cls(path, turns)
        return cls.new(directory)

    def append(self, turn: Turn) -> None:
        """Add `turn`, on disk in one write. Raises UserError when it cannot be kept (it is still in `turns`)."""
        self.turns.append(turn)
        line = json.dumps({"time": round(time.time(), 3)} | asdict(turn), ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                # A line cut short by a full disk must not swallow this one.
                size = os.fstat(descriptor).st_size
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                os.write(descriptor, ("\n" * torn + line).encode("utf-8", "replace"))
            finally:
                os.close(descriptor)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UserError(
                f"{self.path}: the conversation cannot be kept: {reason}", f"{self.path}：对话保存不了：{reason}"
            ) from None

    def messages(self, side: int = 0) -> list[dict[str, str]]:
        """The dialogue of `side` as the model's chat template takes it."""
        return [
            {"role": turn.role, "content": turn.text}
            for turn in self.turns
            if turn.role in ("user", "assistant") and (turn.side == side or turn.role == "user")
        ]


def read_turns(path: Path) -> Iterator[Turn]:
    """The turns in `path`, from its last 2 MiB; lines that are cut or foreign are passed over."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LONGEST_FILE))
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        try:
            data: dict[str, Any] = json.loads(line)
            if data["role"] in ROLES and isinstance(data["text"], str):
                side = 1 if data.get("side") == 1 else 0
                finish = str(data.get("finish", ""))
                yield Turn(data["role"], data["text"], str(data.get("model", "")), side, finish)
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
