"""The last net between content and the terminal."""

from __future__ import annotations

import re

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from minimind_tui.rows import width_of

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class NoControls(LineFilter):
    """Take out any control or direction-changing character that reached a strip.

    A strip holds text only, so such a character can only come from content that was not cleaned. It is replaced by
    as many question marks as it was counted to be wide (mostly none), so that the row stays aligned.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 (Textual's signature)
        """`segments` without control characters."""
        return [
            Segment(_CONTROL.sub(_placeholder, segment.text), segment.style)
            if not segment.control and _CONTROL.search(segment.text)
            else segment
            for segment in segments
        ]


def _placeholder(match: re.Match[str]) -> str:
    return "?" * width_of(match[0])
