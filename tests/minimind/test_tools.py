"""Tools and their calls: what is read from a model's text, what runs, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from minimind.tools.calls import LONGEST_CALL, MOST_CALLS, BadCall, ToolCall, read_answer
from minimind.tools.toolbox import LONGEST_ARGUMENT, TOOLS, declared_tools, number_text, run_call


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall(name, arguments)


@pytest.mark.parametrize(
    ("made", "result"),
    [
        (call("calculator", expression="347 + 1589"), "1936"),
        (call("calculator", expression="12 × (3 + 4) ÷ 8"), "10.5"),
        (call("calculator", expression="2^10"), "1024"),
        (call("calculator", expression="99999999 * 99999999"), "9.9999998e+15"),
        (call("calculator", expression="9" * 199), "1e+199"),
        (call("calculator", expression="10 / 3"), "3.333333333"),
        (call("length", text="rabbit"), "6"),
        (call("length", text="小兔子"), "3"),
        (call("reverse", text="小兔子"), "子兔小"),
        (call("count", text="rabbit", part="b"), "2"),
        (call("upper", text="Tom"), "TOM"),
        (call("lower", text="Tom"), "tom"),
        (call("letter", text="rabbit", position=3), "b"),
    ],
)
def test_tools_compute(made: ToolCall, result: str) -> None:
    done = run_call(made)
    assert done.valid
    assert done.text == result


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (call("rm", path="/"), "no tool rm"),
        (call("calculator"), "arguments are expression"),
        (call("calculator", expression="1", more="2"), "arguments are expression"),
        (call("calculator", expression=3), "not of type string"),
        (call("calculator", expression="__import__('os').system('true')"), "only numbers"),
        (call("calculator", expression="open('x')"), "only numbers"),
        (call("calculator", expression="9**9**9"), "exponent"),
        (call("calculator", expression="(-8) ** 0.5"), "not a real number"),
        (call("calculator", expression="1e308 * 10"), "too large"),
        (call("calculator", expression="2pi"), "a name follows a number"),
        (call("calculator", expression="1/0"), "division by zero"),
        (call("calculator", expression="(" * 500), "too long"),
        (call("length", text="x" * (LONGEST_ARGUMENT + 1)), "longer than"),
        (call("letter", text="rabbit", position=7), "1 to 6"),
        (call("letter", text="rabbit", position=True), "not of type integer"),
        (call("count", text="rabbit", part=""), "empty"),
    ],
)
def test_what_is_refused_is_said_in_one_line(made: ToolCall, said: str) -> None:
    done = run_call(made)
    assert not done.valid
    assert done.text.startswith("error: ")
    assert said in done.text
    assert "\n" not in done.text
    assert run_call(made, "zh").text.startswith("错误：")


def test_calls_are_read_in_order_with_the_text_around_them() -> None:
    text = (
        '<think>\n<tool_call>{"name": "no", "arguments": {}}</tool_call>\n</think>\n\nLet me see.\n'
        '<tool_call>\n{"name": "length", "arguments": {"text": "a"}}\n</tool_call>\n'
        '<tool_call>{"name": "upper", "arguments": "{\\"text\\": \\"b\\"}"}</tool_call>\nDone.'
    )
    answer = read_answer(text)
    assert answer.calls == (call("length", text="a"), call("upper", text="b"))
    assert answer.content == "Let me see.\n\n\nDone."
    assert answer.unbalanced == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ('{"name": "length", "arguments": {"text": "a"}', "not JSON"),
        ('{"name": "length"}', "not {"),
        ('{"name": 3, "arguments": {}}', "not {"),
        ('{"name": "length", "arguments": [1]}', "not {"),
        ('["length"]', "not {"),
        ("[" * 3000, "not JSON"),
        ("", "not JSON"),
        ("x" * (LONGEST_CALL + 1), "longer than"),
    ],
)
def test_what_is_no_call_says_why(body: str, reason: str) -> None:
    (found,) = read_answer(f"<tool_call>{body}</tool_call>").calls
    assert isinstance(found, BadCall)
    assert reason in found.reason.en
    assert run_call(found).valid is False


def test_a_call_that_is_cut_off_and_tags_that_do_not_match() -> None:
    answer = read_answer('Yes <tool_call>{"name": "length", "argu')
    assert answer.content == "Yes"
    assert answer.unbalanced == 1
    (found,) = answer.calls
    assert isinstance(found, BadCall)
    assert "cut off" in found.reason.en
    assert read_answer("a </tool_call> <think>").unbalanced == 2


def test_too_many_calls_end_in_one_refusal() -> None:
    one = '<tool_call>{"name": "length", "arguments": {"text": "a"}}</tool_call>'
    calls = read_answer(one * (MOST_CALLS + 5)).calls
    assert len(calls) == MOST_CALLS + 1
    assert isinstance(calls[-1], BadCall)


def test_declarations_are_json_schemas_of_what_is_accepted() -> None:
    for tool in TOOLS.values():
        for language in ("en", "zh"):
            about = json.loads(json.dumps(tool.declaration(language)))["function"]
            assert about["name"] == tool.name
            assert about["parameters"]["required"] == list(tool.parameters)
            assert set(about["parameters"]["properties"]) == set(tool.parameters)
    declared = [
        TOOLS["length"].declaration(),
        {"name": "upper"},
        {"function": {"name": "weather"}},
        "junk",
        {"name": 3},
    ]
    assert list(declared_tools(declared)) == ["length", "upper"]
    assert run_call(call("upper", text="a"), tools=declared_tools(declared[:1])).text.startswith("error: no tool upper")


def test_numbers_are_written_as_a_person_would() -> None:
    assert [number_text(value) for value in (3, 3.0, 0.1, -2.5, 10**14, 1e-7)] == [
        *("3", "3", "0.1", "-2.5", "100000000000000", "1e-07"),
    ]


def test_tools_need_no_torch() -> None:
    program = "import sys, minimind.tools.toolbox; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
