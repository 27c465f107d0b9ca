"""Reading ``quiz.toml``: one ``[[question]]`` each, both languages side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lessons.fields import Fields, unique
from lessons.quiz import (
    Choice,
    ExplainQuestion,
    MatchQuestion,
    MultipleQuestion,
    NumericQuestion,
    OrderQuestion,
    Pair,
    PredictQuestion,
    Question,
    ShapeQuestion,
    SingleQuestion,
    SpotQuestion,
    WrongNumber,
)
from minimind.calculator import calculate
from minimind.events import Text


def read_quiz(path: Path) -> tuple[Question, ...]:
    """The questions of `path` in its order; none where there is no file. Raises UserError naming question and field."""
    if not path.exists():
        return ()
    file = Fields.read(path)
    questions = [_question(fields) for fields in file.tables("question")]
    file.close()
    return unique(questions, lambda question: question.id, str(path))


def _question(fields: Fields) -> Question:
    kind = fields.string("type", choices=tuple(_READERS))
    common: dict[str, Any] = {
        "id": fields.string("id"),
        "level": fields.integer("level", 1, 3),
        "after": fields.string("after", default=""),
        "tags": fields.strings("tags", default=()),
        "prompt": fields.text("prompt"),
        "explain": fields.text("explain"),
        "code": fields.string("code", default="").strip("\n"),
    }
    question = _READERS[kind](fields, common)
    fields.close()
    return question


def _choice(fields: Fields, *, needs_why: bool) -> Choice:
    """A choice; `needs_why`: it may be picked wrongly, so it says why it is wrong."""
    text = fields.own_text()
    why = fields.text("why") if needs_why or fields.has("why") else None
    choice = Choice(fields.string("id"), text, why)
    fields.close()
    return choice


def _choices(fields: Fields, answer: frozenset[str]) -> tuple[Choice, ...]:
    items = fields.tables("choice")
    if not answer or not answer < {item.values.get("id") for item in items}:
        raise fields.wrong("names no choice, or all of them", "没有对应的选项，或包含了全部选项", "answer")
    made = [_choice(item, needs_why=item.values.get("id") not in answer) for item in items]
    choices = unique(made, lambda choice: choice.id, fields.where)
    for choice in choices:
        if choice.id in answer and choice.why is not None:
            raise fields.wrong("a right choice has no `why`", "正确选项不应有 `why`", choice.id)
    return choices


def _single(fields: Fields, common: dict[str, Any]) -> Question:
    answer = frozenset({fields.string("answer")})
    return SingleQuestion(**common, choices=_choices(fields, answer), answer=answer)


def _multiple(fields: Fields, common: dict[str, Any]) -> Question:
    answer = frozenset(fields.strings("answer"))
    return MultipleQuestion(**common, choices=_choices(fields, answer), answer=answer)


def _tolerance(fields: Fields) -> dict[str, float]:
    tolerance = fields.numbers("tolerance", default={})
    if not set(tolerance) <= {"relative", "absolute"}:
        raise fields.wrong("use relative or absolute", "请用 relative 或 absolute", "tolerance")
    return tolerance


def _numeric(fields: Fields, common: dict[str, Any]) -> Question:
    tolerance = _tolerance(fields)
    question = NumericQuestion(
        **common,
        answer=fields.number("answer"),
        unit=fields.string("unit", default=""),
        wrong=tuple(_wrong_number(item) for item in fields.tables("wrong", label="value")),
        relative=tolerance.get("relative", 0.0),
        absolute=tolerance.get("absolute", 0.0),
    )
    formula, variables = fields.string("compute"), fields.numbers("variables", default={})
    value = calculate(formula, variables)
    if not math.isclose(value, question.answer, rel_tol=max(question.relative / 10, 1e-3)):
        raise fields.wrong(f"`compute` gives {value:g}", f"`compute` 算出的是 {value:g}", "answer")
    for item in question.wrong:
        if question.check((repr(item.value),)).correct:
            raise fields.wrong(f"{item.value:g} would be accepted", f"{item.value:g} 会被判为正确", "wrong")
    return question


def _wrong_number(fields: Fields) -> WrongNumber:
    made = WrongNumber(fields.number("value"), fields.own_text())
    fields.close()
    return made


def _predict(fields: Fields, common: dict[str, Any]) -> Question:
    source = fields.string("source")
    if source.count(".") != 2:
        raise fields.wrong("write experiment.claim.measure", "请写成 实验.结论.量", "source")
    return PredictQuestion(
        **common, source=source, factor=fields.number("factor"), unit=fields.string("unit", default="")
    )


def _order(fields: Fields, common: dict[str, Any]) -> Question:
    items = [_choice(item, needs_why=False) for item in fields.tables("item")]
    if len(items) < 3:
        raise fields.wrong("needs at least three", "至少需要三个", "item")
    return OrderQuestion(**common, items=unique(items, lambda item: item.id, fields.where))


def _match(fields: Fields, common: dict[str, Any]) -> Question:
    pairs = []
    for index, item in enumerate(fields.tables("pair", label="")):
        left, right, why = item.text("left"), item.text("right"), item.text("why")
        item.close()
        pairs.append(Pair(left, Choice(str(index), right, why)))
    if len(pairs) < 3:
        raise fields.wrong("needs at least three", "至少需要三个", "pair")
    return MatchQuestion(**common, pairs=tuple(pairs))


def _shape(fields: Fields, common: dict[str, Any]) -> Question:
    return ShapeQuestion(**common, answer=tuple(axis.lower() for axis in fields.strings("answer")))


def _spot(fields: Fields, common: dict[str, Any]) -> Question:
    lines = len(common["code"].splitlines())
    answer = fields.integer("answer", 1, max(lines, 1))
    reasons: dict[int, Text] = {}
    for item in fields.tables("line", label="number"):
        reasons[item.integer("number", 1, lines)] = item.own_text()
        item.close()
    missing = set(range(1, lines + 1)) - set(reasons) - {answer}
    if missing or answer in reasons:
        raise fields.wrong(
            f"say why lines {sorted(missing)} are right", f"请说明第 {sorted(missing)} 行为何没错", "line"
        )
    return SpotQuestion(**common, answer=answer, reasons=reasons)


def _explain(fields: Fields, common: dict[str, Any]) -> Question:
    points = []
    for item in fields.tables("rubric", label=""):
        points.append(item.own_text())
        item.close()
    if not points:
        raise fields.wrong("needs at least one", "至少需要一条", "rubric")
    return ExplainQuestion(**common, rubric=tuple(points))


_READERS: dict[str, Callable[[Fields, dict[str, Any]], Question]] = {
    "single": _single,
    "multiple": _multiple,
    "numeric": _numeric,
    "predict": _predict,
    "order": _order,
    "match": _match,
    "shape": _shape,
    "spot": _spot,
    "explain": _explain,
}
