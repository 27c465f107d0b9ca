"""Where a command's results go: text for a person, or one JSON object a line with ``--json``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from minimind.events import Language, Text
from minimind.safe_text import clean


@dataclass(frozen=True, slots=True)
class Output:
    """`data` goes to stdout, talk about it to stderr; nothing untrusted reaches a terminal raw."""

    as_json: bool
    language: Language
    stdout: TextIO
    stderr: TextIO

    def emit(self, data: Mapping[str, Any], text: str | Text) -> None:
        """Print one result: `data` as a JSON line under ``--json``, otherwise `text`."""
        line = json.dumps(data, ensure_ascii=False, default=str) if self.as_json else self._phrase(text)
        print(line, file=self.stdout, flush=True)

    def write(self, text: str) -> None:
        """Print a piece of streamed text without a newline (not under ``--json``)."""
        if not self.as_json:
            print(self._safe(text, self.stdout), end="", file=self.stdout, flush=True)

    def say(self, text: str | Text) -> None:
        """Tell the person something that is not a result."""
        print(
            self._safe(text if isinstance(text, str) else text.of(self.language), self.stderr),
            file=self.stderr,
            flush=True,
        )

    def pick(self, en: str, zh: str) -> str:
        """The phrase in this output's language."""
        return zh if self.language == "zh" else en

    def _phrase(self, text: str | Text) -> str:
        return self._safe(text if isinstance(text, str) else text.of(self.language), self.stdout)

    @staticmethod
    def _safe(text: str, stream: TextIO) -> str:
        return clean(text) if stream.isatty() else text


def standard(*, as_json: bool, language: Language) -> Output:
    """An Output on the process's own streams."""
    return Output(as_json=as_json, language=language, stdout=sys.stdout, stderr=sys.stderr)
