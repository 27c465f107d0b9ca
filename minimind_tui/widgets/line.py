"""A piece of text that is told often what to show, and sends it only when it is something else."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from minimind.safe_text import clean


class Line(Static):
    """One or a few lines of plain text, cleaned; no markup."""

    DEFAULT_CSS = """
    Line { height: auto; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__("", markup=False, id=id, classes=classes)
        self._words = ""

    def show(self, words: str) -> None:
        """Show `words`; nothing happens where they are there already."""
        words = clean(words)
        if words != self._words:
            self._words = words
            self.update(Content(words))
