"""Every sentence of the interface, in both languages, read from ``strings/<section>.toml``.

The key ``home.train.title`` is the entry ``[train] title = {en = "…", zh = "…"}`` (or ``train.title = …``) of
``strings/home.toml``. Sections are read at first use. ``{name}`` in a sentence is filled from keyword values.
"""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from minimind.events import Language, Text
from minimind.safe_text import clean_line


@cache
def section(name: str) -> dict[str, Text]:
    """All phrases of one file, by full key; empty where there is no such file."""
    resource = files("minimind_tui").joinpath("strings", f"{name}.toml")
    if not resource.is_file():
        return {}
    phrases: dict[str, Text] = {}
    _collect(name, tomllib.loads(resource.read_text(encoding="utf-8")), phrases)
    return phrases


def _collect(prefix: str, table: dict[str, Any], phrases: dict[str, Text]) -> None:
    for name, value in table.items():
        key = f"{prefix}.{name}"
        if value.keys() == {"en", "zh"} and isinstance(value["en"], str):
            phrases[key] = Text(value["en"], value["zh"])
        else:
            _collect(key, value, phrases)


def sections() -> tuple[str, ...]:
    """The names of the files there are."""
    folder = files("minimind_tui").joinpath("strings")
    return tuple(sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml")))


def phrase(key: str) -> Text | None:
    """The phrase of `key`, or None."""
    return section(key.partition(".")[0]).get(key)


def speak(key: str, language: Language, **values: Any) -> str:
    """The sentence of `key` with `values` filled in; text among them is made harmless to a terminal.

    A key that does not exist is returned as it is (the tests see to it that there is none).
    """
    found = phrase(key)
    if found is None:
        return key
    sentence = found.of(language)
    if not values:
        return sentence
    return sentence.format_map({k: clean_line(v) if isinstance(v, str) else v for k, v in values.items()})
