"""What is wrong in a lesson's prose: formulas that cannot be drawn, placeholders that are none or of one language."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lessons.formula import block_formula, inline_formula
from lessons.lesson import Lesson
from lessons.pages import MarkdownBlock, Page, outside_code
from lessons.recorded import malformed, placeholder_names
from minimind.events import LANGUAGES, Text

_BLOCK = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE = re.compile(r"(?<![\\$\d])\$(?=\S)([^$\n]*?\S)\$(?![\d$])")
_CODE_SPAN = re.compile(r"`[^`\n]*`")


def examine_prose(lesson: Lesson) -> Iterator[tuple[str, Text]]:
    """Each flaw with the place it stands: ``slug/zh.md:12``."""
    for language in LANGUAGES:
        for page in lesson.pages[language]:
            for block in page.blocks:
                if isinstance(block, MarkdownBlock):
                    where = f"{lesson.slug}/{language}.md:{block.line}"
                    yield from ((where, text) for text in _flaws(block.text))
    for english, chinese in zip(lesson.pages["en"], lesson.pages["zh"], strict=False):
        differing = ", ".join(sorted(_names(english) ^ _names(chinese)))
        if differing:
            where = f"{lesson.slug}/zh.md:{chinese.line}"
            yield (
                where,
                Text(
                    f"placeholders that en.md and zh.md do not share: {differing}", f"两种语言的占位符不同：{differing}"
                ),
            )


def _names(page: Page) -> set[str]:
    return {name for block in page.blocks if isinstance(block, MarkdownBlock) for name in placeholder_names(block.text)}


def _flaws(text: str) -> Iterator[Text]:
    found = malformed(text)
    if found:
        yield Text(f"not a placeholder: {found}", f"不是占位符：{found}")
    for formula in formulas(text):
        yield Text(f"this formula cannot be drawn: {formula:.60}", f"这个公式画不出来：{formula:.60}")


def formulas(text: str) -> list[str]:
    """The formulas of `text`, outside code, that cannot be drawn."""
    wrong: list[str] = []

    def look(piece: str) -> str:
        prose = _CODE_SPAN.sub("x", piece)
        wrong.extend(tex.strip() for tex in _BLOCK.findall(prose) if any("\\" in row for row in block_formula(tex)))
        inline = _INLINE.findall(_BLOCK.sub(" ", prose))
        wrong.extend(tex for tex in inline if "\\" in inline_formula(tex))
        return piece

    outside_code(text, look)
    return wrong
