"""The source of a named piece of our own code, highlighted, with notes below it."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.highlight import highlight
from textual.widgets import Static

from lessons.code import resolve
from lessons.pages import CodeBlock
from minimind.errors import UserError
from minimind.safe_text import clean, clean_line
from minimind_tui.speech import Speaker
from minimind_tui.widgets.lesson_markdown import LessonMarkdown
from minimind_tui.widgets.phrase import Phrase

_CONTINUATION = 8


class SourceText(Static):
    """Python source, highlighted; lines too long for the width go on below, indented."""

    DEFAULT_CSS = """
    SourceText { width: 1fr; height: auto; background: $surface; padding: 0 1; margin: 0 0 1 0; }
    """

    def __init__(self, source: str) -> None:
        super().__init__(markup=False)
        self._lines = highlight(clean(source), language="python").split("\n", allow_blank=True)
        self._drawn_width = 0

    def on_resize(self) -> None:
        """Lay out for the width."""
        width = self.content_size.width
        if width != self._drawn_width and width > 0:
            self._drawn_width = width
            self.update(Content("\n").join(piece for line in self._lines for piece in _wrapped(line, width)))


def _wrapped(line: Content, width: int) -> list[Content]:
    """`line` in pieces of at most `width` cells, the later ones indented further than the line itself."""
    if line.cell_length <= width:
        return [line]
    text = line.plain
    indent = len(text) - len(text.lstrip()) + _CONTINUATION
    if indent > width // 2:
        return line.wrap(width)
    first = line.wrap(width)[0]
    start = len(first.plain)
    start += len(text[start:]) - len(text[start:].lstrip())
    return [first, *(Content(" " * indent).append(piece) for piece in line[start:].wrap(width - indent))]


class CodePane(Speaker, Vertical):
    """What `block` refers to, as it stands in the installed package now."""

    DEFAULT_CSS = """
    CodePane { height: auto; margin: 0 0 1 0; }
    CodePane > .reference { height: 1; color: $accent; text-style: bold; padding: 0 1; }
    CodePane > LessonMarkdown { margin: 0; }
    """

    def __init__(self, block: CodeBlock, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._block = block

    def compose(self) -> ComposeResult:
        """Its name, the code, the notes."""
        yield Static(markup=False, classes="reference")
        try:
            yield SourceText(resolve(self._block.reference).text)
        except UserError as error:
            yield Phrase(error.text)
        yield LessonMarkdown(self._notes(), classes="notes")

    def on_mount(self) -> None:
        """Speak for the first time."""
        self.relabel()

    def relabel(self) -> None:
        """Name what is shown."""
        self.query_one(".reference", Static).update(Content(clean_line(self._block.reference)))

    async def show_block(self, block: CodeBlock) -> None:
        """Take the notes of the other language; the code is the same."""
        self._block = block
        await self.query_one(".notes", LessonMarkdown).update(self._notes())

    def _notes(self) -> str:
        return "\n".join(f"- {note}" for note in self._block.notes)
