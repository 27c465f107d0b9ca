"""Every sentence of the interface exists in both languages, is used, and fills the same blanks."""

from __future__ import annotations

import ast
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from minimind_tui import strings

PACKAGE = Path(strings.__file__).resolve().parent
KEY = re.compile(r"[a-z_]+(\.[A-Za-z0-9_-]+)+")


@cache
def all_phrases() -> dict[str, tuple[str, str]]:
    return {key: (text.en, text.zh) for name in strings.sections() for key, text in strings.section(name).items()}


@cache
def literals() -> frozenset[tuple[str, str]]:
    """Each string in the package's code with its file; an f-string as a pattern, `*` for what is filled in."""
    return frozenset(_literals())


def _literals() -> Iterator[tuple[str, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = [str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values]
                yield "".join(parts), path.name
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value, path.name


def is_key_like(text: str) -> bool:
    return bool(KEY.fullmatch(text)) and text.partition(".")[0] in strings.sections()


def patterns() -> set[str]:
    return {
        text
        for text, _ in literals()
        if "*" in text and text.partition(".")[0] in strings.sections() and KEY.fullmatch(text.replace("*", "x"))
    }


def tables() -> set[str]:
    """Literals that name a table of phrases (``run.pane``), to which code adds the last part."""
    phrases = all_phrases()
    return {text for text, _ in literals() if is_key_like(text) and any(key.startswith(f"{text}.") for key in phrases)}


def fits(key: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"[A-Za-z0-9_.-]+"), key) is not None


def test_sections_are_read() -> None:
    assert {"common", "home", "help", "chart"} <= set(strings.sections())
    assert strings.phrase("common.mode.learn") is not None
    assert strings.phrase("common.mode.nowhere") is None
    assert strings.phrase("nosuchsection.key") is None


def test_both_languages_say_something() -> None:
    silent = [key for key, (en, zh) in all_phrases().items() if not en.strip() or not zh.strip()]
    assert silent == []


def test_both_languages_fill_the_same_blanks() -> None:
    def blanks(sentence: str) -> set[str]:
        return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}

    differing = [key for key, (en, zh) in all_phrases().items() if blanks(en) != blanks(zh)]
    assert differing == []


def test_every_key_used_in_the_code_exists() -> None:
    phrases = all_phrases()
    known = phrases.keys() | tables()
    missing = sorted({f"{file}: {text}" for text, file in literals() if is_key_like(text) and text not in known})
    assert missing == []
    barren = sorted(pattern for pattern in patterns() if not any(fits(key, pattern) for key in phrases))
    assert barren == []


def test_no_key_is_dead() -> None:
    used = {text for text, _ in literals()}
    made = patterns() | {f"{table}.*" for table in tables()}
    dead = sorted(key for key in all_phrases() if key not in used and not any(fits(key, pattern) for pattern in made))
    assert dead == []


def test_values_are_filled_in_and_made_harmless() -> None:
    said = strings.speak("common.saved", "en", path="/tmp/\x1b]52;c;x\x07\nnext")
    assert said.startswith("Saved: /tmp/␛]52;c;x␇⏎next")
    assert strings.speak("common.saved", "zh", path="/x") == "已保存：/x"
    assert strings.speak("home.hours", "en", n=1.5) == "1.5 h"


def test_an_unknown_key_is_shown_rather_than_raised() -> None:
    assert strings.speak("home.nothing_of_this_name", "en") == "home.nothing_of_this_name"
