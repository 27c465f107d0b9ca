"""The tools themselves: a calculator and work on short texts, each declared as the chat format wants it. No torch.

Every tool is a pure function of its arguments: no file, no network, no clock, nothing that is executed. Arguments are
checked against the declaration and limited in size, so that every call is done at once; what is wrong with one is
said in a sentence that the model reads in place of the result.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from minimind.calculator import calculate_exactly
from minimind.errors import UserError
from minimind.events import Language, Text
from minimind.safe_text import clean_line
from minimind.tools.calls import BadCall, ToolCall

LONGEST_ARGUMENT = 2000
"""Characters."""
_EXACT = 10**15
"""Whole numbers up to here are written out, larger ones with an exponent."""
_SIGNS = str.maketrans({"×": "*", "÷": "/", "−": "-", "（": "(", "）": ")", "，": ",", "^": "**"})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool; all are required."""

    type: Literal["string", "integer"]
    about: Text


@dataclass(frozen=True, slots=True)
class Tool:
    """Something a model may call. `function` gets the arguments by name and returns text; it raises UserError."""

    name: str
    about: Text
    parameters: Mapping[str, Parameter]
    function: Callable[..., str]

    def declaration(self, language: Language = "en") -> dict[str, Any]:
        """The tool as the chat format declares it: a function with a JSON schema of its arguments."""
        properties = {
            name: {"type": parameter.type, "description": parameter.about.of(language)}
            for name, parameter in self.parameters.items()
        }
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        about = {"name": self.name, "description": self.about.of(language), "parameters": schema}
        return {"type": "function", "function": about}


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What came back. `valid` says whether there was such a tool and it accepted the arguments."""

    text: str
    valid: bool


def run_call(
    call: ToolCall | BadCall, language: Language = "en", tools: Mapping[str, Tool] | None = None
) -> ToolResult:
    """Do what `call` asks for with one of `tools` (None: all of them); an error is a text too. Raises nothing."""
    try:
        return ToolResult(_run(call, TOOLS if tools is None else tools), valid=True)
    except UserError as error:
        label = Text("error: ", "错误：").of(language)
        return ToolResult(label + clean_line(error.text.of(language), 200), valid=False)


def _run(call: ToolCall | BadCall, tools: Mapping[str, Tool]) -> str:
    if isinstance(call, BadCall):
        raise UserError(call.reason.en, call.reason.zh)
    tool = tools.get(call.name)
    if tool is None:
        name, known = clean_line(call.name, 40), ", ".join(tools)
        raise UserError(f"no tool {name}; there are: {known}", f"没有工具 {name}；可用的有：{known}")
    _check(tool, call.arguments)
    return tool.function(**call.arguments)


def _check(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Raise UserError unless there is exactly one argument of the right type for each parameter."""
    if arguments.keys() != tool.parameters.keys():
        given = clean_line(", ".join(arguments), 80) or "–"
        wanted = ", ".join(tool.parameters)
        raise UserError(f"arguments are {wanted}, not {given}", f"参数应为 {wanted}，而不是 {given}")
    for name, parameter in tool.parameters.items():
        value = arguments[name]
        right = isinstance(value, str) if parameter.type == "string" else type(value) is int
        if not right:
            raise UserError(f"{name} is not of type {parameter.type}", f"{name} 的类型不是 {parameter.type}")
        if isinstance(value, str) and len(value) > LONGEST_ARGUMENT:
            raise UserError(
                f"{name} is longer than {LONGEST_ARGUMENT} characters", f"{name} 超过 {LONGEST_ARGUMENT} 个字符"
            )


def _calculator(expression: str) -> str:
    value = calculate_exactly(expression.translate(_SIGNS))
    if abs(value) > sys.float_info.max or math.isnan(value):
        raise UserError("the value is too large", "数值太大")
    return number_text(value)


def number_text(value: float) -> str:
    """A number as a person writes it: whole ones without a point, others with at most ten digits."""
    if abs(value) < _EXACT and value == int(value):
        return str(int(value))
    return f"{value:.10g}"


def _count(text: str, part: str) -> str:
    if not part:
        raise UserError("part is empty", "part 为空")
    return str(text.count(part))


def _letter(text: str, position: int) -> str:
    if not 1 <= position <= len(text):
        raise UserError(f"position is not from 1 to {len(text)}", f"position 不在 1 到 {len(text)} 之间")
    return text[position - 1]


def _text_parameters(**others: Parameter) -> dict[str, Parameter]:
    return {"text": Parameter("string", Text("the text", "文本")), **others}


_ALL = (
    Tool(
        "calculator",
        Text("calculate a formula", "计算算式"),
        {"expression": Parameter("string", Text("such as 12 * (3 + 4)", "例如 12 * (3 + 4)"))},
        _calculator,
    ),
    Tool(
        "length",
        Text("count the characters of a text", "数一段文本有几个字符"),
        _text_parameters(),
        lambda text: str(len(text)),
    ),
    Tool("reverse", Text("write a text backwards", "把文本倒过来"), _text_parameters(), lambda text: text[::-1]),
    Tool(
        "count",
        Text("count how often a part occurs in a text", "数一个片段在文本里出现几次"),
        _text_parameters(part=Parameter("string", Text("what is counted", "要数的片段"))),
        _count,
    ),
    Tool(
        "upper",
        Text("write a text in capital letters", "把文本变成大写"),
        _text_parameters(),
        lambda text: text.upper(),
    ),
    Tool(
        "lower", Text("write a text in small letters", "把文本变成小写"), _text_parameters(), lambda text: text.lower()
    ),
    Tool(
        "letter",
        Text("the character at a position of a text", "取文本某个位置上的字符"),
        _text_parameters(position=Parameter("integer", Text("counted from 1", "从 1 数起"))),
        _letter,
    ),
)
TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in _ALL}
"""All tools by name."""


def declared_tools(declarations: Iterable[Any]) -> dict[str, Tool]:
    """Those of our tools that `declarations` (as a chat's system message carries them) name; others are left out."""
    names = map(declared_name, declarations)
    return {name: TOOLS[name] for name in names if name in TOOLS}


def declared_name(declaration: Any) -> str:
    """The name of a declared tool; empty where there is none."""
    function = declaration.get("function", declaration) if isinstance(declaration, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""
