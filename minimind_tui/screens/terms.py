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
from lessons.lesson import lesson_title
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean, clean_line
from minimind_tui.screens.dialog import Dialog
from minimind_tui.widgets.phrase import Phrase


class TermsDialog(Dialog[str]):
    """Names, meanings, formulas, what each is easily taken for. Answers with a lesson to open, or None."""

    DEFAULT_CSS = """
    TermsDialog VerticalScroll { height: auto; max-height: 18; }
    TermsDialog .term { height: auto; margin: 0 0 1 0; padding: 0 0 0 1; border-left: blank; }
    TermsDialog .term.-current { border-left: thick $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g,enter,q", "cancel", "common.key.back", show=False),
        Binding("down,j", "move(1)", "lesson.key.next_term"),
        Binding("up,k", "move(-1)", "lesson.key.previous_term", show=False),
        Binding("o", "open", "lesson.key.term_lesson"),
    ]

    def __init__(self, terms: Sequence[Term]) -> None:
        super().__init__()
        self._terms = tuple(terms)
        self._titles = {slug: _title(slug) for slug in {term.lesson for term in self._terms}}
        self._current = 0

    def compose_box(self) -> ComposeResult:
        """A heading and the terms."""
        yield Phrase("lesson.terms.title" if self._terms else "lesson.terms.none", classes="dialog-title")
        with VerticalScroll(can_focus=False):
            for _ in self._terms:
                yield Static(markup=False, classes="term")

    def on_mount(self) -> None:
        """Write them."""
        self.relabel()

    def relabel(self) -> None:
        """Write them in the current language."""
        for place, (term, static) in enumerate(zip(self._terms, self.query(".term").results(Static), strict=True)):
            static.set_class(place == self._current and len(self._terms) > 1, "-current")
            static.update(Content("\n").join(self._lines(term)))

    def _lines(self, term: Term) -> list[Content]:
        lines = [Content.styled(clean(self.say(term.name)), "bold $accent"), Content(clean(self.say(term.meaning)))]
        if term.formula:
            lines.append(Content.styled(f"  {clean_line(term.formula)}", "$primary"))
        if term.confused_with is not None:
            words = self.t("lesson.terms.confused", what=self.say(term.confused_with))
            lines.append(Content.styled(words, "$warning"))
        title = self.t("lesson.terms.lesson", lesson=self.say(self._titles[term.lesson]))
        lines.append(Content.styled(title, "$text-muted"))
        return lines

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Choosing is for several terms; a lesson is opened for one."""
        if action == "move":
            return len(self._terms) > 1
        return bool(self._terms) if action == "open" else True

    def action_move(self, terms: int) -> None:
        """Go to another term."""
        self._current = max(0, min(len(self._terms) - 1, self._current + terms))
        self.relabel()
        self.query(".term")[self._current].scroll_visible(animate=False)

    def action_open(self) -> None:
        """Answer with the lesson that explains the current term."""
        self.dismiss(self._terms[self._current].lesson)


def _title(slug: str) -> Text:
    """A lesson's title; its folder's name where it cannot be read."""
    try:
        return lesson_title(slug)
    except UserError:
        return Text(slug, slug)
