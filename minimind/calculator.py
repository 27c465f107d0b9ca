"""A small, safe calculator for formulas that a person or a model wrote: numbers, names, + - * / // % ** and functions.

Nothing is executed: the formula's syntax tree is walked, and what is not in the tables below is refused. Length and
exponents are limited, so that every formula is done at once.
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping

from minimind.errors import UserError
from minimind.syntax import expression_tree

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "sqrt": math.sqrt,
    "log": math.log,
    "log2": math.log2,
    "exp": math.exp,
    "sin": math.sin,
    "cos": math.cos,
    "ceil": math.ceil,
    "floor": math.floor,
    "abs": abs,
    "min": min,
    "max": max,
}
_CONSTANTS = {"pi": math.pi, "e": math.e}
_MAXIMUM_LENGTH = 200
_MAXIMUM_EXPONENT = 1024
_RUN_TOGETHER = re.compile(r"\d(?!e[+-]?\d)[A-Za-z_]")
"""What Python would warn about before it refuses it ("2pi", "1or 2")."""


def calculate(formula: str, variables: Mapping[str, float] | None = None) -> float:
    """The value of `formula`, in which the names of `variables`, ``pi`` and ``e`` may occur. Raises UserError."""
    return _calculated(formula, variables or {}, exactly=False)


def calculate_exactly(formula: str) -> float:
    """The value of `formula`: an int of any size where whole numbers are added, subtracted and multiplied.

    Raises UserError.
    """
    return _calculated(formula, {}, exactly=True)


def _calculated(formula: str, variables: Mapping[str, float], *, exactly: bool) -> float:
    try:
        if len(formula) > _MAXIMUM_LENGTH:
            raise ValueError("too long")
        if _RUN_TOGETHER.search(formula):
            raise ValueError("a name follows a number")
        value = _value(expression_tree(formula.strip()), {**_CONSTANTS, **variables})
        if isinstance(value, complex):
            raise ValueError("the value is not a real number")
        return value if exactly else float(value)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise UserError(f"cannot calculate {formula[:60]!r}: {error}", f"无法计算 {formula[:60]!r}：{error}") from None


def _value(node: ast.expr, names: Mapping[str, float]) -> float:
    match node:
        case ast.Constant(value=bool()):
            raise ValueError("true and false are not numbers")
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Name(id=name):
            raise ValueError(f"no value for {name}")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, names)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, names)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            first, second = _value(left, names), _value(right, names)
            if isinstance(op, ast.Pow) and abs(second) > _MAXIMUM_EXPONENT:
                raise ValueError("exponent too large")
            return _BINARY[type(op)](float(first) if isinstance(op, ast.Pow) else first, second)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_value(argument, names) for argument in arguments))
        case _:
            raise ValueError("only numbers, names, + - * / // % ** and functions such as sqrt and log are allowed")
