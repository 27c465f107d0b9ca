"""What a setting may be, in words for the person whose value was refused. Standard library only."""

from __future__ import annotations

from collections.abc import Sequence

from minimind.events import Text

_TYPE_NAMES: dict[type, Text] = {
    int: Text("a whole number", "整数"),
    float: Text("a number", "数字"),
    bool: Text("true | false", " true | false"),
    str: Text("text", "文本"),
    tuple: Text("names", "名称"),
}


def allowed(kind: type, low: float | None, high: float | None, choices: Sequence[object] = (), unit: str = "") -> Text:
    """The values of type `kind` from `low` to `high` (None: unbounded), or the `choices` where there are some.

    The Chinese begins with a space where it begins with a Latin letter, to stand after a character.
    """
    if choices:
        names = " | ".join(map(str, choices))
        return Text(names, f" {names}")
    bounds = "" if low is None and high is None else f" {_bound(low)}…{_bound(high)}"
    tail = bounds + (f" {unit}" if unit else "")
    name = _TYPE_NAMES[kind]
    return Text(name.en + tail, name.zh + tail)


def _bound(value: float | None) -> str:
    """A bound as a person writes it; empty for none."""
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"
