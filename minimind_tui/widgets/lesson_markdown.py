"""Markdown on the screen: Chinese breaks and bolds as it should, formulas are drawn, wide code scrolls."""

from __future__ import annotations

from collections.abc import Sequence

from markdown_it.token import Token
from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Markdown
from textual.widgets._markdown import MarkdownBlock, MarkdownTable

from lessons.formula import block_formula
from minimind.safe_text import clean
from minimind_tui.markdown_text import make_parser
from minimind_tui.rows import share_widths


class FormulaBlock(MarkdownBlock):
    """A formula that stands alone, in as many rows as it needs."""

    DEFAULT_CSS = """
    FormulaBlock { width: auto; min-width: 1fr; height: auto; margin: 0 0 1 0; padding: 0 4; text-wrap: nowrap; }
    """

    def __init__(self, markdown: Markdown, token: Token) -> None:
        super().__init__(markdown, token)
        rows = token.content.strip().splitlines() if self._is_ascii() else block_formula(token.content)
        self.set_content(Content("\n".join(rows)))

    def _is_ascii(self) -> bool:
        return bool(getattr(self.app, "ascii_only", False))


class TableText(Widget):
    """A whole table as one text: columns share the width, cells wrap."""

    DEFAULT_CSS = """
    TableText { width: 1fr; height: auto; }
    """

    def __init__(self, headers: Sequence[Content], rows: Sequence[Sequence[Content]]) -> None:
        super().__init__()
        self._headers, self._body = list(headers), [list(row) for row in rows]

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:  # noqa: ARG002 (Textual's signature)
        """As many lines as the cells need when wrapped."""
        return self._draw(width).plain.count("\n") + 1

    def render(self) -> Content:
        """The table for the width there is."""
        return self._draw(self.size.width)

    def _draw(self, width: int) -> Content:
        columns = len(self._headers)
        widths = share_widths(
            [
                max([self._headers[x].cell_length] + [row[x].cell_length for row in self._body if x < len(row)])
                for x in range(columns)
            ],
            width - 3 * (columns - 1),
        )
        lines = self._lines([header.stylize("bold") for header in self._headers], widths)
        rule = "-" if getattr(self.app, "ascii_only", False) else "─"
        lines.append(Content((rule * 3).join(rule * cells for cells in widths)))
        for row in self._body:
            lines += self._lines(row + [Content("")] * (columns - len(row)), widths)
        return Content("\n").join(lines)

    @staticmethod
    def _lines(cells: Sequence[Content], widths: Sequence[int]) -> list[Content]:
        """One row of the table as lines of text."""
        wrapped = [cell.wrap(width) or [Content("")] for cell, width in zip(cells, widths, strict=True)]
        height = max(len(cell) for cell in wrapped)
        lines = []
        for y in range(height):
            parts = []
            for cell, width in zip(wrapped, widths, strict=True):
                part = cell[y].rstrip() if y < len(cell) else Content("")
                parts.append(part.pad_right(width - part.cell_length))
            lines.append(Content("   ").join(parts))
        return lines


class LessonTable(MarkdownTable):
    """A table drawn as one text instead of a widget a cell."""

    def compose(self) -> ComposeResult:
        """The text."""
        yield TableText(*self._get_headers_and_rows())


class LessonMarkdown(Markdown):
    """Text of a lesson (or any Markdown): links are not opened but posted as `Markdown.LinkClicked`."""

    DEFAULT_CSS = """
    LessonMarkdown { height: auto; padding: 0 1; }
    LessonMarkdown MarkdownH1 { content-align: left middle; margin: 0 0 1 0; }
    LessonMarkdown MarkdownH2 { margin: 0 0 1 0; text-style: bold; color: $primary; }
    LessonMarkdown MarkdownFence { overflow: auto hidden; scrollbar-size-horizontal: 1; margin: 0 0 1 0; }
    LessonMarkdown MarkdownFence > Label { padding: 0 2; }
    """
    BLOCKS = Markdown.BLOCKS | {"table_open": LessonTable}

    def __init__(self, source: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(clean(source), id=id, classes=classes, parser_factory=make_parser, open_links=False)

    async def show(self, source: str) -> None:
        """Show `source`; nothing happens where it is there already."""
        if clean(source) != self.source:
            await self.update(clean(source))

    def unhandled_token(self, token: Token) -> MarkdownBlock | None:
        """Formulas that stand alone."""
        return FormulaBlock(self, token) if token.type in {"math_block", "math_block_label"} else None
