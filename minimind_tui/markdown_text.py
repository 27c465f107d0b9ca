"""Markdown as this app reads it: CommonMark with tables and maths, mended where Chinese needs it.

Emphasis: CommonMark does not close ``**关键。**然后`` (a full-width mark inside, a letter outside) and may then
embolden the wrong text; next to an ideograph or its punctuation a marker here opens or closes by spaces alone.
Line breaks: a line break in the source between two ideographs is not a space.
"""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Scanned
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin

from lessons.formula import inline_formula
from minimind_tui.typography import IDEOGRAPHIC

_IDEOGRAPH = re.compile(f"[{IDEOGRAPHIC}—‘’“”…]")


class _State(StateInline):
    """Decides by spaces alone whether a marker beside an ideograph opens or closes."""

    def scanDelims(self, start: int, canSplitWord: bool) -> Scanned:
        """As CommonMark says, unless an ideograph stands on either side of ``*`` or ``~``."""
        scanned = super().scanDelims(start, canSplitWord)
        if self.src[start] not in "*~":
            return scanned
        end = start + scanned.length
        before = self.src[start - 1] if start else " "
        after = self.src[end] if end < self.posMax else " "
        if _IDEOGRAPH.match(before) or _IDEOGRAPH.match(after):
            return Scanned(not after.isspace(), not before.isspace(), scanned.length)
        return scanned


def _parse_inline(md: MarkdownIt, source: str, environment: MutableMapping[str, Any], tokens: list[Token]) -> None:
    """What ``md.inline.parse`` does, with our state."""
    state = _State(source, md, environment, tokens)
    md.inline.tokenize(state)
    for rule in md.inline.ruler2.getRules(""):
        rule(state)


def _inline(state: StateCore) -> None:
    for token in state.tokens:
        if token.type == "inline":
            token.children = []
            _parse_inline(state.md, token.content, state.env, token.children)


def _mend(state: StateCore) -> None:
    """Join lines between ideographs, and turn inline maths into text."""
    for token in state.tokens:
        children = token.children or []
        kept: list[Token] = []
        for index, child in enumerate(children):
            if child.type == "softbreak" and _joins(children, index):
                continue
            if child.type in {"math_inline", "math_inline_double"}:
                text = Token("text", "", 0)
                text.content = inline_formula(child.content)
                child = text
            kept.append(child)
        if token.children is not None:
            token.children = kept


def _joins(children: list[Token], index: int) -> bool:
    """Whether the line break at `index` stands between two ideographs."""
    before = next((token.content for token in reversed(children[:index]) if token.content), "")
    after = next((token.content for token in children[index + 1 :] if token.content), "")
    return bool(before and after and _IDEOGRAPH.match(before[-1]) and _IDEOGRAPH.match(after[0]))


def make_parser() -> MarkdownIt:
    """A parser for lessons and answers: no HTML, no automatic links, no typographic replacements."""
    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.use(dollarmath_plugin, allow_space=False, allow_digits=False, double_inline=True)
    parser.core.ruler.at("inline", _inline)
    parser.core.ruler.push("mend", _mend)
    return parser
