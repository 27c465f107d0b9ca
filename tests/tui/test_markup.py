"""No text reaches a widget that would read it as markup: there a `[/]` crashes and `[@click=…]` becomes a link."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import minimind_tui

PACKAGE = Path(minimind_tui.__file__).resolve().parent
PARSE_MARKUP = {"Static", "Label", "Checkbox", "RadioButton", "Collapsible", "Link"}


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def says_no_markup(call: ast.Call) -> bool:
    """It is told so, or given a `Content`, which is never parsed."""
    first = call.args[0] if call.args else None
    return (isinstance(first, ast.Call) and name_of(first) == "Content") or any(
        keyword.arg == "markup" and isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        for keyword in call.keywords
    )


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_widgets_that_parse_markup_are_told_not_to() -> None:
    found = [(where, call) for where, call in calls() if name_of(call) in PARSE_MARKUP | {"notify"}]
    assert found
    assert [where for where, call in found if not says_no_markup(call)] == []


PARSED_WHEN_SET = {"border_title", "border_subtitle", "tooltip"}
"""Attributes whose text Textual parses, unless it is Content already."""


def test_nothing_is_built_from_markup() -> None:
    forbidden = {"from_markup", "print_markup"}
    assert [where for where, call in calls() if name_of(call) in forbidden] == []
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for target in node.targets if isinstance(node, ast.Assign) else ():
                is_parsed = isinstance(target, ast.Attribute) and target.attr in PARSED_WHEN_SET
                if is_parsed and not (isinstance(node.value, ast.Call) and name_of(node.value) == "Content"):
                    wrong.append(f"{path.relative_to(PACKAGE)}:{node.lineno}")
    assert wrong == []
