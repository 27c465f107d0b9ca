"""Content files in TOML: tables whose mistakes are said with the file, the field and the remedy."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from minimind.errors import UserError
from minimind.events import Text

T = TypeVar("T")
_MISSING = object()


class Fields:
    """One table of a content file. Reading a field takes it; `close` refuses what nobody took (a misspelt name)."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values = dict(values)
        self.where = where

    @classmethod
    def read(cls, path: Path) -> Fields:
        """The whole of `path`. Raises UserError when it is missing or not TOML."""
        try:
            return cls(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
        except FileNotFoundError:
            raise UserError(f"{path}: no such file", f"{path}：没有这个文件") from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{path}: cannot be read: {error}", f"{path}：读不出来：{error}") from None
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{path}: not valid TOML: {error}", f"{path}：TOML 格式有误：{error}") from None

    def wrong(self, en: str, zh: str, name: str = "") -> UserError:
        """The error that says `en`/`zh` about this table or its field `name`."""
        where = self._inner(name) if name else self.where
        return UserError(f"{where}: {en}", f"{where}：{zh}")

    def take(self, name: str, expected: Callable[[Any], bool], en: str, zh: str, default: Any = _MISSING) -> Any:
        """Take field `name`, which must satisfy `expected` (described by `en` and `zh`)."""
        value = self.values.pop(name, default)
        if value is _MISSING:
            raise self.wrong(f"missing: give {en}", f"缺失：请给出{zh}", name)
        if value is not default and not expected(value):
            raise self.wrong(f"{value!r} is not {en}", f"{value!r} 不是{zh}", name)
        return value

    def string(self, name: str, default: Any = _MISSING, choices: Collection[str] = ()) -> str:
        """A non-empty string, one of `choices` where there are some."""
        value: str = self.take(
            name, lambda v: isinstance(v, str) and bool(v.strip()), "a non-empty string", "非空字符串", default
        )
        if choices and value not in choices:
            allowed = " | ".join(choices)
            raise self.wrong(f"{value!r} is not one of {allowed}", f"{value!r} 不在 {allowed} 之中", name)
        return value

    def number(self, name: str, default: Any = _MISSING) -> float:
        """An int or a float."""
        value: float = self.take(name, _is_number, "a number", "数字", default)
        return value

    def integer(self, name: str, low: int, high: int, default: Any = _MISSING) -> int:
        """A whole number between `low` and `high`."""
        value: int = self.take(
            name,
            lambda v: isinstance(v, int) and not isinstance(v, bool) and low <= v <= high,
            f"a whole number {low}…{high}",
            f"{low}…{high} 之间的整数",
            default,
        )
        return value

    def strings(self, name: str, default: Any = _MISSING) -> tuple[str, ...]:
        """A list of strings."""
        value = self.take(
            name,
            lambda v: isinstance(v, list) and all(isinstance(item, str) for item in v),
            "a list of strings",
            "字符串列表",
            default,
        )
        return tuple(value)

    def numbers(self, name: str, default: Any = _MISSING) -> dict[str, float]:
        """A table of numbers."""
        value: dict[str, float] = self.take(
            name,
            lambda v: isinstance(v, dict) and all(_is_number(item) for item in v.values()),
            "a table of numbers",
            "数字表",
            default,
        )
        return value

    def text(self, name: str) -> Text:
        """A sub-table with ``en`` and ``zh``, both filled."""
        inner = self.table(name)
        text = inner.own_text()
        inner.close()
        return text

    def own_text(self) -> Text:
        """This table's own ``en`` and ``zh``."""
        return Text(self.string("en").strip(), self.string("zh").strip())

    def has(self, name: str) -> bool:
        """Whether field `name` is there and not taken yet."""
        return name in self.values

    def table(self, name: str) -> Fields:
        """A sub-table."""
        return Fields(self.take(name, lambda v: isinstance(v, dict), "a table", "子表"), self._inner(name))

    def tables(self, name: str, label: str = "id") -> list[Fields]:
        """An array of tables, empty where the field is missing; each is called by its `label` in messages."""
        items = self.take(
            name,
            lambda v: isinstance(v, list) and all(isinstance(item, dict) for item in v),
            "an array of tables",
            "表数组",
            default=[],
        )
        return [Fields(item, self._inner(f"{name}[{item.get(label, index)}]")) for index, item in enumerate(items, 1)]

    def close(self) -> None:
        """Refuse fields nobody took. Raises UserError naming them."""
        if self.values:
            names = ", ".join(sorted(self.values))
            raise self.wrong(f"unknown field {names}", f"未知字段 {names}")

    def _inner(self, name: str) -> str:
        return f"{self.where}: {name}" if self.where.endswith(".toml") else f"{self.where}.{name}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def unique(items: list[T], key: Callable[[T], str], where: str) -> tuple[T, ...]:
    """`items` as a tuple. Raises UserError when two have the same key."""
    seen: set[str] = set()
    for item in items:
        name = key(item)
        if name in seen:
            raise UserError(f"{where}: {name} is there twice", f"{where}：{name} 重复出现")
        seen.add(name)
    return tuple(items)
