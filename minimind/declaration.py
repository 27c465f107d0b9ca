"""Declare a setting once: its command-line flag, form field, help in both languages and check come from that. No torch.

A config is a frozen dataclass whose fields are made with `setting`; `Config` reads, writes and checks it by these
declarations, so that a message about a bad value names the field, the value and the remedy.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import stat
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from minimind.errors import UserError
from minimind.events import Text
from minimind.impostors import impostor
from minimind.wording import allowed

_LARGEST_FILE = 64_000_000
"""Bytes: the index of a model in a thousand shards has a few million."""


@dataclass(frozen=True, slots=True)
class Field:
    """What is known about one setting besides its name, type and default."""

    help: Text
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    advanced: bool = False
    """Whether a form hides it until asked."""
    methods: tuple[str, ...] = ()
    """The training methods that know it; empty: all."""


def setting(default: Any, en: str, zh: str, **about: Any) -> Any:
    """A dataclass field with its `Field` declaration in the metadata."""
    metadata = {"field": Field(help=Text(en, zh), **about)}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Declared:
    """A field of a config as forms and flags need it. `type` is int, float, str or bool; `optional` allows None."""

    name: str
    type: type
    optional: bool
    default: Any
    about: Field


class Config:
    """What the three configs share: reading, writing and checking by their declarations."""

    @classmethod
    def declared(cls) -> tuple[Declared, ...]:
        """The declarations in order."""
        hints = typing.get_type_hints(cls)
        made = []
        for item in dataclasses.fields(cls):  # type: ignore[arg-type]
            hint = hints[item.name]
            optional = isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)
            base = next(a for a in typing.get_args(hint) if a is not type(None)) if optional else hint
            made.append(
                Declared(item.name, typing.get_origin(base) or base, optional, item.default, item.metadata["field"])
            )
        return tuple(made)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, ignore_unknown: bool = False, where: str = "") -> Self:
        """Build from plain values. Raises UserError listing every unknown name, wrong type and bad value at once."""
        known = {declared.name: declared for declared in cls.declared()}
        problems: list[Text] = []
        accepted: dict[str, Any] = {}
        for name, raw in values.items():
            if name in known:
                try:
                    accepted[name] = parse_value(known[name], raw)
                except UserError as error:
                    problems.append(error.text)
            elif not ignore_unknown:
                problems.append(
                    Text(
                        f"{name}: no such setting{nearest(name, known)}",
                        f"{name}：没有这个设置{nearest(name, known)}",
                    )
                )
        _raise(problems, where)
        try:
            return cls(**accepted)
        except UserError as error:
            _raise([error.text], where)
            raise

    @classmethod
    def from_file(cls, path: Path, *, ignore_unknown: bool = False) -> Self:
        """Read a ``.toml`` or ``.json`` file. Raises UserError naming the file and what is wrong in it."""
        return cls.from_dict(read_settings(path), ignore_unknown=ignore_unknown, where=str(path))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, in declaration order."""
        return {item.name: getattr(self, item.name) for item in self.declared()}

    def replace(self, **changes: Any) -> Self:
        """A changed copy, checked again."""
        return type(self).from_dict(self.to_dict() | changes)

    def _check(self, *rules: tuple[bool, str, str]) -> None:
        """Check each field against its declaration and `rules` (holds, en, zh); raise one UserError naming all problems."""
        problems: list[Text] = []
        for declared in self.declared():
            try:
                parse_value(declared, getattr(self, declared.name))
            except UserError as error:
                problems.append(error.text)
        problems += [Text(en, zh) for holds, en, zh in rules if not holds] if not problems else []
        _raise(problems, "")


def read_settings(path: Path) -> dict[str, Any]:
    """The table in a ``.toml`` or ``.json`` file. Raises UserError for a missing, unreadable or malformed one."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > _LARGEST_FILE:
            raise UserError(
                f"{path}: not a file of settings ({about.st_size:,} bytes)",
                f"{path}：不是设置文件（{about.st_size:,} 字节）",
            )
        raw = path.read_text(encoding="utf-8-sig")
        what = impostor(raw[:512].encode("utf-8", "replace"))
        if what is not None:
            raise UserError(f"{path}: {what.en}", f"{path}：{what.zh}")
        data = json.loads(raw) if path.suffix == ".json" else tomllib.loads(raw)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file", f"{path}：没有这个文件") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UserError(f"{path}: cannot be read: {reason}", f"{path}：读不出来：{reason}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path}: not valid {path.suffix[1:]}: {error}", f"{path}：{path.suffix[1:]} 格式有误：{error}"
        ) from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected a table of settings", f"{path}：应为一组“设置 = 值”")
    return data


def parse_value(declared: Declared, raw: Any) -> Any:
    """`raw` (text, or a value from JSON or TOML) as the declared type. Raises UserError naming field, value and remedy."""
    if raw is None or (declared.optional and isinstance(raw, str) and raw.strip().lower() in {"", "none"}):
        if declared.optional:
            return None
        raise _refuse(declared, raw)
    value = _convert(declared, raw)
    about = declared.about
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low_ok = about.low is None or value >= about.low
        high_ok = about.high is None or value <= about.high
        if not (math.isfinite(value) and low_ok and high_ok):
            raise _refuse(declared, raw)
    if about.choices and not set(value if isinstance(value, tuple) else (value,)) <= set(about.choices):
        raise _refuse(declared, raw)
    return value


def _convert(declared: Declared, raw: Any) -> Any:
    try:
        if declared.type is bool:
            return raw if isinstance(raw, bool) else {"true": True, "false": False}[str(raw).strip().lower()]
        if declared.type is tuple:
            return tuple(str(item) for item in ([raw] if isinstance(raw, str) else raw))
        if declared.type is str:
            return str(raw)
        if isinstance(raw, bool):
            raise ValueError(raw)
        if declared.type is int:
            number = float(raw)
            if number != int(number):
                raise ValueError(raw)
            return int(number)
        return float(raw)
    except (ValueError, TypeError, KeyError, OverflowError):
        raise _refuse(declared, raw) from None


def _refuse(declared: Declared, raw: Any) -> UserError:
    about = declared.about
    words = allowed(declared.type, about.low, about.high, about.choices, about.unit)
    none = " | none" if declared.optional else ""
    return UserError(
        f"{declared.name} = {raw!r} is not allowed: use {words.en}{none}",
        f"{declared.name} = {raw!r} 不可用：请用{words.zh}{none}",
    )


def nearest(name: str, known: Mapping[str, Any]) -> str:
    """`` (→ close?)`` with the known name that `name` most likely meant; empty where none is close."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f" (→ {close[0]}?)" if close else ""


def _raise(problems: list[Text], where: str) -> None:
    if problems:
        prefix = f"{where}: " if where else ""
        raise UserError(prefix + "; ".join(p.en for p in problems), prefix + "；".join(p.zh for p in problems))


def add_flags(parser: argparse.ArgumentParser, config: type[Config], *, skip: frozenset[str] = frozenset()) -> None:
    """Add a ``--flag`` for each field of `config`; unset ones stay out of the namespace."""
    for declared in config.declared():
        if declared.name in skip:
            continue
        flag = "--" + declared.name.replace("_", "-")
        default = " ".join(declared.default) if declared.type is tuple else declared.default
        text = f"{declared.about.help.en} / {declared.about.help.zh}" + ("" if default is None else f" ({default})")
        text = text.replace("%", "%%")
        options: dict[str, Any] = {"nargs": "+"} if declared.type is tuple else {}
        if declared.type is bool:
            options = {"nargs": "?", "const": "true"}
        parser.add_argument(
            flag, dest=declared.name, default=argparse.SUPPRESS, help=text, metavar=_placeholder(declared), **options
        )


def _placeholder(declared: Declared) -> str:
    """What stands for the value in a command's help."""
    if declared.about.choices:
        return "{" + ",".join(declared.about.choices) + "}"
    return {int: "N", float: "X", bool: "true|false", tuple: "FILE"}.get(declared.type, "NAME")


def given_flags(arguments: argparse.Namespace, config: type[Config]) -> dict[str, Any]:
    """The fields of `config` that were set on the command line."""
    return {
        declared.name: getattr(arguments, declared.name)
        for declared in config.declared()
        if hasattr(arguments, declared.name)
    }
