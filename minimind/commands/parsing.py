"""Command lines whose mistakes are told in the language asked for, as one line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from minimind.declaration import nearest
from minimind.errors import UserError
from minimind.events import Language
from minimind.language import from_locale
from minimind.safe_text import clean_line


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose mistakes are UserErrors, so that they look like every other one."""

    def error(self, message: str) -> NoReturn:
        said = clean_line(message, 500)
        raise UserError(f"{said} (see {self.prog} --help)", f"{_in_chinese(said)}（用法见 {self.prog} --help）")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            what = "/".join(action.option_strings) or str(action.metavar or action.dest)
            known = [str(choice) for choice in action.choices]
            guess, shown = nearest(str(value), dict.fromkeys(known)), ", ".join(known)
            self.error(f"{what}: there is no {value!r}{guess}: use one of {shown}")


_CHINESE = (
    (r"there is no (.+): use one of (.+)", r"没有 \1：可用 \2"),
    (r"the following arguments are required: (.+)", r"缺少参数：\1"),
    (r"unrecognized arguments: (.+)", r"不认识的参数：\1"),
    (r"expected (?:at least )?one argument", "后面缺少一个值"),
    (r"argument (.+?): ", r"\1："),
    (r"invalid (?:int|float) value: (.+)", r"\1 不是数字"),
    (r"ambiguous option: (.+) could match (.+)", r"\1 可能是 \2 中的任意一个，请写完整"),
    (r"not allowed with argument (.+)", r"不能与 \1 同时使用"),
)
"""What argparse says, as patterns, and the same in Chinese."""


def _in_chinese(message: str) -> str:
    for pattern, chinese in _CHINESE:
        message = re.sub(pattern, chinese, message)
    return message


def asked_language(raw: Sequence[str]) -> Language:
    """The language asked for with --lang, read before anything is parsed: mistakes are told in it too."""
    for index, text in enumerate(raw):
        name, _, value = text.partition("=")
        given = value or (raw[index + 1] if index + 1 < len(raw) else "")
        if name == "--lang" and given in ("en", "zh"):
            return "zh" if given == "zh" else "en"
    return from_locale()
