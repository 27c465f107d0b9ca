"""A lesson's page as plain Markdown: numbers filled in, live panes named by the command that opens them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lessons.code import resolve
from lessons.diagram import plain_rows
from lessons.figures import MAXIMUM_CELLS, read_figure
from lessons.pages import (
    Block,
    CodeBlock,
    DiagramBlock,
    ExerciseBlock,
    FigureBlock,
    MarkdownBlock,
    Page,
    PredictBlock,
    QuizBlock,
    RunBlock,
    term_links,
)
from lessons.recorded import Recording, fill, placeholders
from minimind.events import Language
from minimind.lab.switches import Switches


def prose(block: MarkdownBlock, recordings: Mapping[str, Recording], language: Language) -> str:
    """The block's Markdown with numbers filled in and glossary links made links to ``term:ID``."""
    return term_links(fill(block.text, recordings, language), lambda term, label: f"[{label}](term:{term})")


def sources_of_numbers(page: Page, recordings: Mapping[str, Recording], language: Language) -> str:
    """Where the numbers on the page come from, one sentence; empty where it states none."""
    names = {
        name for block in page.blocks if isinstance(block, MarkdownBlock) for name, _, _ in placeholders(block.text)
    }
    made = sorted({recordings[name].made for name in names if name in recordings})
    said = []
    for item in made:
        if not item:
            said.append("你自己的运行" if language == "zh" else "your own run")
        else:
            said.append(
                f"随课程记录的运行（{item}）" if language == "zh" else f"the run recorded with the lesson ({item})"
            )
    if not said:
        return ""
    return f"本页数字来自{'和'.join(said)}。" if language == "zh" else f"Numbers on this page: {' and '.join(said)}."


def plain_page(directory: Path, page: Page, recordings: Mapping[str, Recording], language: Language) -> str:
    """The whole page of the lesson in `directory`, for reading without the app."""
    parts = [_plain_block(directory, block, recordings, language) for block in page.blocks]
    footer = sources_of_numbers(page, recordings, language)
    return "\n\n".join([*parts, f"*{footer}*"] if footer else parts)


def _plain_block(directory: Path, block: Block, recordings: Mapping[str, Recording], language: Language) -> str:
    match block:
        case MarkdownBlock():
            return term_links(fill(block.text, recordings, language), lambda _term, label: label)
        case PredictBlock(experiment=name) | RunBlock(experiment=name):
            values = block.values if isinstance(block, RunBlock) else {}
            options = "".join(f" --set {key}={value}" for key, value in values.items())
            return f"    python -m lessons run {name}{options}"
        case QuizBlock():
            return "    python -m lessons quiz"
        case ExerciseBlock(name=name):
            return f"    python -m lessons exercise {name}"
        case FigureBlock(name=name):
            rows = "\n".join(read_figure(directory, name, language))
            return f"```text\n{rows}\n```"
        case DiagramBlock(switches=names):
            drawn = "\n".join(plain_rows(Switches(), names, language, MAXIMUM_CELLS))
            return f"```text\n{drawn}\n```\n\n    python -m lessons run what_if --set {names[0]}=…"
        case CodeBlock(reference=reference, notes=notes):
            source = resolve(reference)
            listed = "\n".join(f"- {note}" for note in notes)
            return f"`{reference}`\n\n```python\n{source.text}\n```\n\n{listed}".rstrip()
