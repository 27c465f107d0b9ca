"""A conversation as one string or as ids with a loss mask, in the format MiniMind models were trained on.

What a person, a tool or a data set wrote is encoded as plain characters, so that it can never forge a turn; only the
assistant's own text may hold the markup tokens (`<think>`, `<tool_call>`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minimind.data.chat_template import EMPTY_THOUGHT, END, OPEN_THOUGHT, START, TOOLS_HEAD, TOOLS_TAIL
from minimind.data.tokenizer import MARKUP_TOKENS, Tokenizer

Style = Literal["minimind-3", "minimind-2"]
Message = Mapping[str, Any]
DEFAULT_SYSTEM = "You are a helpful assistant"
"""What MiniMind2's template says where a conversation has no system message."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a rendered conversation. `trusted` says which names of tokens in it are tokens."""

    text: str
    trusted: Literal["all", "markup", "none"]
    trained: bool = False


def render(
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = False,
    open_thinking: bool = False,
    tools: Sequence[Any] | None = None,
    style: Style = "minimind-3",
    empty_thought: bool = True,
) -> str:
    """The conversation as text.

    With `add_generation_prompt` it ends where the assistant's answer begins; `open_thinking` lets that answer begin with
    a thought. With `empty_thought` False, turns without a thought carry no empty think block.
    """
    parts = _pieces(messages, tools, style, empty_thought)
    text = "".join(piece.text for piece in parts)
    return text + _generation_prompt(style, open_thinking) if add_generation_prompt else text


def encode_prompt(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    *,
    open_thinking: bool = False,
    tools: Sequence[Any] | None = None,
    style: Style = "minimind-3",
) -> list[int]:
    """The ids of a conversation up to where the assistant answers."""
    parts = [*_pieces(messages, tools, style, True), Piece(_generation_prompt(style, open_thinking), "all")]
    return _encode(tokenizer, [parts])[0][0]


def encode_tool_results(
    tokenizer: Tokenizer, results: Sequence[str], *, open_thinking: bool = False, style: Style = "minimind-3"
) -> list[int]:
    """The ids between an assistant's turn that ended (its ``<|im_end|>`` included) and its next, with tools' `results`."""
    messages = [{"role": "tool", "content": result} for result in results]
    told = (piece for index in range(len(messages)) for piece in _tool_response(messages, index))
    return _encode(tokenizer, [[Piece("\n", "all"), *told, Piece(_generation_prompt(style, open_thinking), "all")]])[0][
        0
    ]


def encode_dialogue(
    tokenizer: Tokenizer,
    messages: Sequence[Message],
    *,
    tools: Sequence[Any] | None = None,
    style: Style = "minimind-3",
    empty_thought: bool = True,
) -> tuple[list[int], list[bool]]:
    """The ids of a conversation and, for each, whether the loss counts it.

    Counted is what the assistant writes: from just after `<|im_start|>assistant` and its line end through `<|im_end|>`
    and its line end.
    """
    return _encode(tokenizer, [list(_pieces(messages, tools, style, empty_thought))])[0]


def encode_dialogues(
    tokenizer: Tokenizer, dialogues: Sequence[tuple[Sequence[Message], bool]], *, style: Style = "minimind-3"
) -> list[tuple[list[int], list[bool]]]:
    """Many (messages, empty_thought) at once; tools are taken from each first message. Faster than one by one."""
    return _encode(
        tokenizer,
        [list(_pieces(messages, tools_of(messages), style, empty)) for messages, empty in dialogues],
    )


def tools_of(messages: Sequence[Message]) -> list[Any] | None:
    """The tools that the first message declares, given as a list or as JSON text; None without any."""
    declared = messages[0].get("tools") if messages else None
    tools = json.loads(declared) if isinstance(declared, str) and declared.strip() else declared
    return list(tools) if tools else None


def prompt_style(tokenizer: Tokenizer) -> Style:
    """The format of the models that `tokenizer` belongs to: only minimind-3 has a token for thoughts."""
    return "minimind-3" if "<think>" in tokenizer.added_tokens else "minimind-2"


def _generation_prompt(style: Style, open_thinking: bool) -> str:
    if style == "minimind-2":
        return f"{START}assistant\n"
    return f"{START}assistant\n" + (OPEN_THOUGHT if open_thinking else EMPTY_THOUGHT)


def _pieces(
    messages: Sequence[Message], tools: Sequence[Any] | None, style: Style, empty_thought: bool
) -> Iterator[Piece]:
    system = _text(messages[0]) if messages and messages[0]["role"] == "system" else None
    if system is None and style == "minimind-2":
        system = DEFAULT_SYSTEM
    if tools:
        yield Piece(f"{START}system\n", "all")
        yield Piece(system + "\n\n" if system is not None else "", "none")
        yield Piece(TOOLS_HEAD, "all")
        yield Piece("".join("\n" + json.dumps(tool, ensure_ascii=False) for tool in tools), "none")
        yield Piece(f"{TOOLS_TAIL}{END}\n", "all")
    elif system is not None:
        yield from _turn("system", system)
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "assistant":
            yield from _assistant(message, style, empty_thought)
        elif role == "tool":
            yield from _tool_response(messages, index)
        elif role == "user" or index > 0:
            yield from _turn(role, _text(message))


def _text(message: Message) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""


def _turn(role: str, content: str) -> Iterator[Piece]:
    yield Piece(f"{START}{role}\n", "all")
    yield Piece(content, "none")
    yield Piece(f"{END}\n", "all")


def _tool_response(messages: Sequence[Message], index: int) -> Iterator[Piece]:
    """One tool's answer; neighbours share one user turn."""
    first = index == 0 or messages[index - 1]["role"] != "tool"
    last = index + 1 == len(messages) or messages[index + 1]["role"] != "tool"
    yield Piece((START + "user" if first else "") + "\n<tool_response>\n", "all")
    yield Piece(_text(messages[index]), "none")
    yield Piece("\n</tool_response>" + (f"{END}\n" if last else ""), "all")


def _assistant(message: Message, style: Style, empty_thought: bool) -> Iterator[Piece]:
    content, thought = _text(message), message.get("reasoning_content")
    yield Piece(f"{START}assistant\n", "all")
    if style == "minimind-3":
        if not isinstance(thought, str):
            thought = ""
            if "</think>" in content:
                before, *_, content = content.split("</think>")
                thought = before.split("<think>")[-1]
        thought, content = thought.strip("\n"), content.lstrip("\n")
        if thought or empty_thought:
            yield Piece(OPEN_THOUGHT, "all", trained=True)
            yield Piece(thought, "markup", trained=True)
            yield Piece("\n</think>\n\n", "all", trained=True)
    yield Piece(content, "markup", trained=True)
    for number, call in enumerate(_calls(message)):
        function = call.get("function") or call
        arguments = function["arguments"]
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments, ensure_ascii=False)
        yield Piece(("\n" if content or number else "") + '<tool_call>\n{"name": "', "all", trained=True)
        yield Piece(f'{function["name"]}", "arguments": {arguments}', "none", trained=True)
        yield Piece("}\n</tool_call>", "all", trained=True)
    yield Piece(f"{END}\n", "all", trained=True)


def _calls(message: Message) -> list[Any]:
    calls = message.get("tool_calls")
    if isinstance(calls, str):
        calls = json.loads(calls) if calls.strip() else []
    return list(calls or [])


@dataclass(slots=True)
class _Run:
    """Text between two special tokens, or one special token; characters from `counted_from` on count for the loss."""

    text: str
    token: int | None
    counted_from: int


def _runs(tokenizer: Tokenizer, pieces: Sequence[Piece]) -> list[_Run]:
    """The pieces joined into the stretches that a tokenizer sees as one; each stretch counts from some character on."""
    runs: list[_Run] = []
    for piece in pieces:
        names = {"all": tuple(tokenizer.added_tokens), "markup": MARKUP_TOKENS, "none": ()}[piece.trusted]
        known = [name for name in names if name in piece.text and name in tokenizer.added_tokens]
        split = re.split("(" + "|".join(map(re.escape, known)) + ")", piece.text) if known else [piece.text]
        for text in filter(None, split):
            if text in known:
                runs.append(_Run(text, tokenizer.added_tokens[text], 0 if piece.trained else len(text)))
                continue
            if not runs or runs[-1].token is not None or not _joins(runs[-1], text, piece.trained):
                runs.append(_Run("", None, 0))
            run = runs[-1]
            if not piece.trained:
                run.counted_from = len(run.text) + len(text)
            run.text += text
    return runs


def _joins(run: _Run, text: str, trained: bool) -> bool:
    """Whether text must be tokenised together with the run before it.

    The pre-tokeniser always cuts between a line end and what is not white space, so where the loss begins there, the
    two sides can be encoded apart and the mask is exact.
    """
    begins_to_count = trained and run.counted_from == len(run.text)
    return not (begins_to_count and run.text.endswith("\n") and not text[0].isspace())


def _encode(tokenizer: Tokenizer, dialogues: Sequence[Sequence[Piece]]) -> list[tuple[list[int], list[bool]]]:
    """The ids and the mask of each dialogue; nearly all plain text goes through the tokenizer in one batch."""
    all_runs = [_runs(tokenizer, pieces) for pieces in dialogues]
    plain = [run for runs in all_runs for run in runs if run.token is None]
    encoded = iter(tokenizer.encode_batch([run.text for run in plain]))
    results = []
    for runs in all_runs:
        ids: list[int] = []
        mask: list[bool] = []
        for run in runs:
            new = [run.token] if run.token is not None else next(encoded)
            uncounted = 0 if run.counted_from == 0 else len(new)
            if 0 < run.counted_from < len(run.text):
                uncounted = tokenizer.ids_before(run.text, run.counted_from)
            ids += new
            mask += [False] * uncounted + [True] * (len(new) - uncounted)
        results.append((ids, mask))
    return results
