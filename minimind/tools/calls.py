"""Tool calls as a model writes them: ``<tool_call>{"name": …, "arguments": {…}}</tool_call>``. No torch.

The text is a model's: anything may stand there. What is no call becomes a `BadCall` that says why, so that the model
can be told, and a screen can show it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from minimind.events import Text
from minimind.safe_text import clean_line

OPEN, CLOSE = "<tool_call>", "</tool_call>"
TAGS = ((OPEN, CLOSE), ("<tool_response>", "</tool_response>"), ("<think>", "</think>"))
"""The pairs of markup that an answer may hold."""
MOST_CALLS = 8
"""Calls in one answer that are read; those beyond are refused."""
LONGEST_CALL = 4000
"""Characters between the tags."""
_TOO_MANY = Text(f"more than {MOST_CALLS} calls at once", f"一次调用超过 {MOST_CALLS} 个")
_NO_CALL = Text('not {"name": …, "arguments": {…}}', '不是 {"name": …, "arguments": {…}} 的形式')


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that could be read; whether there is such a tool and the arguments fit is for who runs it to say."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class BadCall:
    """Something between the tags that is no call, and why."""

    reason: Text


@dataclass(frozen=True, slots=True)
class Answer:
    """What an assistant wrote: the `content` outside of the tags, and the calls in their order.

    `unbalanced` counts the kinds of tags (`TAGS`) that are opened and not closed, or closed and not opened.
    """

    content: str
    calls: tuple[ToolCall | BadCall, ...]
    unbalanced: int


def read_answer(text: str) -> Answer:
    """Read what an assistant wrote. A thought (up to ``</think>``) is no part of the content, nor are calls in it."""
    unbalanced = sum(text.count(opening) != text.count(closing) for opening, closing in TAGS)
    rest = text.rpartition("</think>")[2]
    calls: list[ToolCall | BadCall] = []
    content = ""
    while OPEN in rest:
        before, _, rest = rest.partition(OPEN)
        content += before
        body, closed, after = rest.partition(CLOSE)
        if not closed:
            calls.append(BadCall(Text("the call is cut off", "调用没有写完")))
            rest = ""
            break
        calls.append(_read_call(body) if len(calls) < MOST_CALLS else BadCall(_TOO_MANY))
        rest = after
    return Answer((content + rest).strip(), tuple(calls[: MOST_CALLS + 1]), unbalanced)


def _read_call(body: str) -> ToolCall | BadCall:
    """The call between two tags; `arguments` may be an object or, as in released data, its JSON text."""
    if len(body) > LONGEST_CALL:
        return BadCall(Text(f"longer than {LONGEST_CALL} characters", f"超过 {LONGEST_CALL} 个字符"))
    try:
        call = json.loads(body)
        arguments = call["arguments"] if isinstance(call, dict) else None
        if isinstance(arguments, str):
            arguments = json.loads(arguments)
    except (ValueError, RecursionError) as error:
        detail = clean_line(str(error), 80)
        return BadCall(Text(f"not JSON ({detail})", f"不是 JSON（{detail}）"))
    except KeyError:
        arguments = None
    if not isinstance(arguments, dict) or not isinstance(call.get("name"), str):
        return BadCall(_NO_CALL)
    return ToolCall(call["name"], arguments)
