"""Conversations that teach to call tools: solvable by the tools they name, true, and without leaks between splits."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from minimind.data import corpus
from minimind.data.chat import encode_dialogue, tools_of
from minimind.data.corpus.tool_tasks import ToolTask, sum_task, tool_task
from minimind.data.corpus.world import Choice
from minimind.data.shards import prepare
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.tools.calls import ToolCall
from minimind.tools.toolbox import TOOLS, declared_tools, run_call


def tasks(split: corpus.Split, count: int = 2000) -> list[ToolTask]:
    return [tool_task(Choice("tools", index, 5, split)) for index in range(count)]


def test_every_call_is_accepted_and_the_answer_holds_what_it_returns() -> None:
    found = tasks("train")
    for task in found:
        results = [run_call(call) for call in task.calls]
        assert all(result.valid for result in results)
        assert [truth.strip('"“”') for truth in task.truths] == [result.text for result in results]
        assert all(truth in task.answer for truth in task.truths)
    assert {call.name for task in found for call in task.calls} == set(TOOLS) - {"lower"}
    assert 0.08 < sum(len(task.calls) == 2 for task in found) / len(found) < 0.18
    assert 0.45 < sum(task.language == "zh" for task in found) / len(found) < 0.55


def test_what_is_asked_of_is_held_out() -> None:
    def subjects(split: corpus.Split) -> set[str]:
        calls: list[ToolCall] = [call for task in tasks(split) for call in task.calls]
        return {str(call.arguments.get("text") or call.arguments["expression"]) for call in calls}

    assert not subjects("train") & subjects("validation")
    assert len(subjects("validation")) > 300


def test_sums_in_between_are_true_and_held_out() -> None:
    def sums(split: corpus.Split) -> list[ToolTask]:
        return [sum_task(Choice("tools", index, 5, split)) for index in range(300)]

    for task in [*sums("train"), *sums("validation")]:
        assert [run_call(call).text for call in task.calls] == list(task.truths)
        first, second = (int(number) for number in re.findall(r"\d+", str(task.calls[0].arguments["expression"])))
        assert 12 <= second <= first <= 99
        assert str(first) in task.question
    assert not {task.calls[0].arguments["expression"] for task in sums("train")} & {
        task.calls[0].arguments["expression"] for task in sums("validation")
    }


def test_conversations_call_a_tool_in_two_of_three_and_some_declare_it() -> None:
    rows = [corpus.tool_dialogue(index) for index in range(1000)]
    calling = [row["conversations"] for row in rows if row["gt"]]
    assert 0.6 < len(calling) / len(rows) < 0.7
    declaring = [messages for messages in calling if tools_of(messages)]
    assert 0.2 < len(declaring) / len(calling) < 0.3
    for messages in declaring:
        called = next(json.loads(message["tool_calls"]) for message in messages if "tool_calls" in message)
        assert {call["name"] for call in called} <= set(declared_tools(tools_of(messages) or ()))


def test_training_counts_the_calls_and_not_what_they_return() -> None:
    tokenizer = Tokenizer.load("nano-2048")
    row = next(row for row in map(corpus.tool_dialogue, range(100)) if len(row["gt"]) == 1)
    ids, mask = encode_dialogue(tokenizer, row["conversations"], empty_thought=False)
    trained = tokenizer.decode([token for token, counts in zip(ids, mask, strict=True) if counts])
    assert trained.startswith('<tool_call>\n{"name": "')
    assert row["conversations"][-1]["content"] in trained
    assert "<tool_response>" in tokenizer.decode(ids)
    assert "<tool_response>" not in trained


def test_the_data_set_is_for_fine_tuning_only(tmp_path: Path) -> None:
    tokenizer = Tokenizer.load("nano-2048")
    made = prepare(["embedded-tools"], tokenizer, kind="sft", cache_directory=tmp_path, embedded_bytes=8_000)
    text = tokenizer.decode(made.train.tokens.tolist())
    assert "<tool_call>" in text
    assert "<tool_response>" in text
    with pytest.raises(UserError, match="for sft"):
        prepare(["embedded-tools"], tokenizer, kind="pretrain", cache_directory=tmp_path)
