"""A small, safe calculator for formulas in content files: numbers, names, + - * / // % **, and a few functions."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

from lessons.syntax import expression_tree
from minimind.errors import UserError

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


def calculate(formula: str, variables: Mapping[str, float] | None = None) -> float:
    """The value of `formula`, in which the names of `variables`, ``pi`` and ``e`` may occur. Raises UserError."""
    names = _CONSTANTS | dict(variables or {})
    try:
        if len(formula) > _MAXIMUM_LENGTH:
            raise ValueError("too long")
        value = float(_value(expression_tree(formula.strip()), names))
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError) as error:
        raise UserError(f"cannot calculate {formula[:60]!r}: {error}", f"无法计算 {formula[:60]!r}：{error}") from None
    return value


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
