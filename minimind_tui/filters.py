"""The last net between content and the terminal."""

from __future__ import annotations

import re

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class NoControls(LineFilter):
    """Replace any control or direction-changing character that reached a strip by a question mark.

    A strip holds text only, so such a character can only come from content that was not cleaned; a replacement of
    the same width keeps the row aligned.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002 (Textual's signature)
        """`segments` without control characters."""
        return [
            Segment(_CONTROL.sub("?", segment.text), segment.style)
            if not segment.control and _CONTROL.search(segment.text)
            else segment
            for segment in segments
        ]
