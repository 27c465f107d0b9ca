"""What a conversation is: a list of {"role", "content"} messages. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minimind.errors import UserError

ROLES = ("system", "user", "assistant", "tool")


def check_messages(messages: Sequence[Mapping[str, Any]]) -> None:
    """Raise UserError unless `messages` is a conversation: one or more of {"role": …, "content": text}."""
    good = isinstance(messages, Sequence) and not isinstance(messages, (str, bytes)) and len(messages) > 0
    for number, message in enumerate(messages if good else (), 1):
        if not (
            isinstance(message, Mapping) and message.get("role") in ROLES and isinstance(message.get("content"), str)
        ):
            raise UserError(
                f'message {number} is not {{"role": {" | ".join(ROLES)}, "content": text}}',
                f'第 {number} 条消息不是 {{"role": {" | ".join(ROLES)}, "content": 文本}}',
            )
    if not good:
        raise UserError("messages must be a list of one or more messages", "messages 应为至少一条消息的列表")
