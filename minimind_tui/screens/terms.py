"""The glossary terms of a page, explained in a box above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from lessons.glossary import Term
from minimind.safe_text import clean
from minimind_tui.screens.dialog import Dialog
from minimind_tui.widgets.phrase import Phrase


class TermsDialog(Dialog[None]):
    """Names and meanings."""

    DEFAULT_CSS = """
    TermsDialog VerticalScroll { height: auto; max-height: 16; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("g,enter,q", "cancel", "common.key.back", show=False)]

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self._terms = tuple(terms)

    def compose_box(self) -> ComposeResult:
        """A heading and the terms."""
        yield Phrase("lesson.terms.title" if self._terms else "lesson.terms.none", classes="dialog-title")
        with VerticalScroll():
            yield Static(markup=False)

    def on_mount(self) -> None:
        """Write them."""
        self.relabel()

    def relabel(self) -> None:
        """Write them in the current language."""
        parts = []
        for term in self._terms:
            name = Content.styled(clean(self.say(term.name)), "bold $accent")
            parts.append(Content("\n").join([name, Content(clean(self.say(term.meaning))), Content("")]))
        self.query_one(VerticalScroll).query_one(Static).update(Content("\n").join(parts))
