"""Make text that we did not write harmless to a terminal.

A model, a data set, a file name or a log can hold escape sequences that move the cursor, set the clipboard or turn
the reading direction round. `clean` replaces every such character by something visible.
"""

from __future__ import annotations

import re

# C0 except newline and tab, DEL, C1, bidirectional controls, zero-width characters, separators, tags, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)
_DELETE = 0x7F


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == _DELETE:
        return "\u2421"
    return f"⟨U+{code:04X}⟩"


def clean(text: str, limit: int | None = None) -> str:
    """Return `text` with control and direction-changing characters replaced by visible stand-ins.

    Newline and tab stay. With `limit`, at most that many characters are kept and the number left out is stated.
    """
    left_out = 0
    if limit is not None and len(text) > limit:
        left_out = len(text) - limit
        text = text[:limit]
    text = _UNSAFE.sub(_visible, text)
    return f"{text}… [+{left_out:,}]" if left_out else text


def clean_line(text: str, limit: int | None = None) -> str:
    """Like `clean`, but on one line: newlines become ``⏎`` and tabs a space."""
    return clean(text.replace("\r\n", "\n").replace("\n", "⏎").replace("\t", " "), limit)
