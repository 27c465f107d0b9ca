"""A conversation on the screen: what was asked, what was answered, and remarks in between."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from minimind.events import Text
from minimind.safe_text import clean
from minimind_tui.chat_client import Piece
from minimind_tui.conversation import Turn
from minimind_tui.speech import Speaker
from minimind_tui.supervisor import model_title
from minimind_tui.widgets.answer import Answer
from minimind_tui.widgets.phrase import Phrase

MOST_SHOWN = 60
"""Turns on the screen; older ones stay in the file."""


class Asked(Speaker, Widget):
    """A turn of the person: their words, marked as theirs."""

    DEFAULT_CSS = """
    Asked { height: auto; margin: 1 0 0 0; padding: 0 1; border-left: outer $primary; background: $surface; }
    Asked .speaker { color: $primary; text-style: bold; }
    Asked Static { height: auto; }
    """

    def __init__(self, text: str, *, is_prompt: bool) -> None:
        super().__init__()
        self.text = text
        self._key = "chat.speaker.prompt" if is_prompt else "chat.speaker.user"

    def compose(self) -> ComposeResult:
        """Who, and what."""
        yield Phrase(self._key, classes="speaker")
        yield Static(Content(clean(self.text)), markup=False)


class Answered(Speaker, Widget):
    """A turn of the model: its name, its words, and a foot line with speed and how it ended."""

    DEFAULT_CSS = """
    Answered { height: auto; margin: 1 0 0 0; padding: 0; border-left: outer $secondary; }
    Answered .speaker { color: $secondary; text-style: bold; padding: 0 1; height: 1; text-overflow: ellipsis; text-wrap: nowrap; }
    Answered .foot { color: $text-muted; padding: 0 1; height: auto; display: none; }
    Answered.-ended .foot { display: block; }
    """

    def __init__(self, model: str, text: str = "") -> None:
        super().__init__()
        self._model = model
        self.answer = Answer(text)
        self._foot: tuple[str, dict[str, Any]] = ("", {})
        self._foot_line = Static("", markup=False, classes="foot")

    def compose(self) -> ComposeResult:
        """Name, words, foot."""
        yield Static(Content(clean(self._model) or "–"), markup=False, classes="speaker")
        yield self.answer
        yield self._foot_line

    @property
    def is_ended(self) -> bool:
        """Whether `end` was called."""
        return self.has_class("-ended")

    def end(self, key: str, **values: Any) -> None:
        """Say how it ended: the string `key` with `values`."""
        self._foot = (key, values)
        self.add_class("-ended")
        self.relabel()

    def relabel(self) -> None:
        """Speak again."""
        key, values = self._foot
        self._foot_line.update(Content(self.t(key, **values)) if key else "")


class ChatLog(Speaker, VerticalScroll):
    """The turns, newest at the bottom; it stays there unless the person scrolls up."""

    DEFAULT_CSS = """
    ChatLog { height: 1fr; padding: 0 1; }
    ChatLog .remark { color: $text-muted; height: auto; margin: 1 0 0 0; }
    ChatLog .remark.-bad { color: $error; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id, can_focus=False)
        self._answer: Answered | None = None
        self._colored = False

    def on_mount(self) -> None:
        """Stay at the end."""
        self.anchor()

    @property
    def answer(self) -> Answered | None:
        """The answer that grows, or the last one."""
        return self._answer

    @property
    def is_empty(self) -> bool:
        """Whether nothing stands here."""
        return not self.children

    def show_turns(self, turns: Sequence[Turn]) -> None:
        """Show a kept conversation in place of what is there."""
        self.remove_children()
        self._answer = None
        shown = turns[-MOST_SHOWN:]
        widgets: list[Widget] = []
        if len(turns) > len(shown):
            widgets.append(Phrase("chat.older", values={"count": len(turns) - len(shown)}, classes="remark"))
        for turn in shown:
            if turn.role in ("user", "prompt"):
                widgets.append(Asked(turn.text, is_prompt=turn.role == "prompt"))
            else:
                widgets.append(Answered(model_title(turn.model), turn.text))
        self.mount_all(widgets)
        self._to_end()

    def ask(self, text: str, *, is_prompt: bool) -> None:
        """Add what the person wrote."""
        self._trim()
        self.mount(Asked(text, is_prompt=is_prompt))
        self._to_end()

    def begin_answer(self, model: str) -> None:
        """Add an empty answer of `model` that pieces go to."""
        self._answer = Answered(model)
        self._answer.answer.show_probabilities(self._colored)
        self.mount(self._answer)

    def feed(self, pieces: Iterable[Piece]) -> None:
        """Let the answer grow."""
        if self._answer is not None:
            self._answer.answer.add((piece.text, piece.probability, piece.alternatives) for piece in pieces)

    def remark(self, source: str | Text, *, bad: bool = False, **values: Any) -> None:
        """Add a line of our own: a string key or a `Text`."""
        self.mount(Phrase(source, values=values, classes="remark -bad" if bad else "remark"))
        self._to_end()

    def show_probabilities(self, shown: bool) -> None:
        """Colour every answer's tokens, or none."""
        self._colored = shown
        for answer in self.query(Answer):
            answer.show_probabilities(shown)

    def _trim(self) -> None:
        for widget in list(self.children)[: -2 * MOST_SHOWN]:
            widget.remove()

    def _to_end(self) -> None:
        self.anchor()
