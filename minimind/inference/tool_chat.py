"""A model that may call tools while it answers: what it calls is done, and it reads the result and goes on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minimind.config import SampleConfig
from minimind.data.chat import encode_tool_results, prompt_style, tools_of
from minimind.data.corpus import language_of
from minimind.inference.engine import Engine, Stream
from minimind.tools.calls import read_answer
from minimind.tools.toolbox import TOOLS, Tool, declared_tools, run_call

MOST_TURNS = 3
"""Turns of the assistant in one answer, the last included."""


def tools_for(messages: Sequence[Mapping[str, Any]]) -> dict[str, Tool]:
    """The tools a conversation may use: those it declares, or all of them where it declares none."""
    declared = tools_of(messages)
    return dict(TOOLS) if declared is None else declared_tools(declared)


def final_answer(text: str) -> str:
    """What an answer of several turns says in the end: its last turn without calls and thoughts."""
    return read_answer(text.rpartition("</tool_response>")[2]).content


def chat_with_tools(
    engine: Engine,
    messages: Sequence[Mapping[str, Any]],
    config: SampleConfig,
    *,
    most_turns: int = MOST_TURNS,
    stop: Callable[[], bool] | None = None,
) -> Stream:
    """Answer a conversation as `Engine.chat` does, doing what the model calls in at most `most_turns` turns.

    What the tools return is part of the stream, as tokens without an id. Raises UserError for messages that are none.
    """
    ids, notes = engine.encode_chat(messages, config)
    tools, language = tools_for(messages), language_of(str(messages[-1]["content"]))
    for turn in range(most_turns):
        text, written = "", []
        for token in engine.generate(ids, config, stop=stop, notes=notes):
            text += token.text
            written += [] if token.id is None else [token.id]
            if not token.finish:
                yield token
        calls = read_answer(text).calls
        if turn + 1 == most_turns or not calls or token.id != engine.tokenizer.eos_id:
            yield token
            return
        results = [run_call(call, language, tools).text for call in calls]
        told = "".join(f"\n<tool_response>\n{result}\n</tool_response>" for result in results) + "\n"
        yield dataclasses.replace(token, id=None, text=token.text + told, probability=None, finish=None)
        ids = [*ids, *written, *encode_tool_results(engine.tokenizer, results, style=prompt_style(engine.tokenizer))]
