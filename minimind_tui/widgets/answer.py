"""What a model writes, token by token: plain text, or each token in the colour of its probability."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content, Span
from textual.message import Message
from textual.style import Style
from textual.widgets import Static

from minimind.figures import percent
from minimind.safe_text import clean, clean_line
from minimind_tui.speech import Speaker

LONGEST_TOKEN = 2000
LEVELS = ((0.5, ""), (0.2, "$success"), (0.05, "$warning"), (0.0, "$error underline"))
"""From which probability on a token has which style; the least likely are underlined as well, for any colour vision."""


@dataclass(frozen=True, slots=True)
class Token:
    """One drawn token, its text cleaned; `alternatives` are (text, probability), the likeliest first."""

    text: str
    probability: float | None = None
    alternatives: tuple[tuple[str, float], ...] = ()


def style_of(probability: float | None) -> str:
    """The style of a token of this probability."""
    if probability is None or probability != probability:
        return ""
    return next(style for least, style in LEVELS if probability >= least or least == 0.0)


def visible(token: str) -> str:
    """A token's text on one line with its outer spaces marked, as ``␣the``."""
    line = clean_line(token, 40)
    inner = line.strip(" ")
    if not inner:
        return "␣" * len(line)
    start = line.index(inner)
    return "␣" * start + inner + "␣" * (len(line) - start - len(inner))


class Answer(Speaker, Static, can_focus=True):
    """Untrusted text that grows. With `show_probabilities` tokens are coloured and one can be picked and read."""

    DEFAULT_CSS = """
    Answer { height: auto; padding: 0 1; }
    Answer:focus { background: $surface; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "pick(-1)", "chat.key.previous_token", show=False),
        Binding("right", "pick(1)", "chat.key.next_token"),
    ]

    class Picked(Message):
        """A token was picked; `words` describes it and its alternatives, cleaned."""

        def __init__(self, words: str) -> None:
            super().__init__()
            self.words = words

    def __init__(self, text: str = "") -> None:
        super().__init__("", markup=False)
        self._tokens: list[Token] = [Token(clean(text))] if text else []
        self._raw: list[str] = [text] if text else []
        self._colored = False
        self._picked: int | None = None

    def on_mount(self) -> None:
        """Draw what there is."""
        self._draw()

    @property
    def text(self) -> str:
        """What the model wrote, as it wrote it (not cleaned)."""
        return "".join(self._raw)

    @property
    def measured(self) -> bool:
        """Whether probabilities are known."""
        return any(token.probability is not None for token in self._tokens)

    def add(self, pieces: Iterable[tuple[str, float | None, tuple[tuple[str, float], ...]]]) -> None:
        """Append (text, probability, alternatives) tokens and draw once."""
        for text, probability, alternatives in pieces:
            self._raw.append(text)
            self._tokens.append(Token(clean(text, LONGEST_TOKEN), probability, alternatives))
        self._draw()

    def show_probabilities(self, shown: bool) -> None:
        """Colour the tokens by probability, or not."""
        self._colored = shown
        self._picked = None
        self._draw()

    def action_pick(self, step: int) -> None:
        """Move to the next or the previous token that has text."""
        if not self._colored or not self.measured:
            return
        place = len(self._tokens) if self._picked is None and step < 0 else -1 if self._picked is None else self._picked
        while 0 <= (place := place + step) < len(self._tokens):
            if self._tokens[place].text:
                self._pick(place)
                return

    def on_click(self, event: events.Click) -> None:
        """Pick the token that was clicked."""
        place = event.style.meta.get("token")
        if isinstance(place, int) and place < len(self._tokens):
            self._pick(place)

    def _pick(self, place: int) -> None:
        self._picked = place
        self._draw()
        self.post_message(self.Picked(self._describe(self._tokens[place])))

    def _describe(self, token: Token) -> str:
        if token.probability is None:
            return visible(token.text)
        others = "  ".join(f"{visible(text)} {percent(share)}" for text, share in token.alternatives)
        return self.t("chat.token", token=visible(token.text), probability=percent(token.probability), others=others)

    def _draw(self) -> None:
        text = "".join(token.text for token in self._tokens)
        self.update(Content(text, self._spans() if self._colored else None))

    def _spans(self) -> list[Span]:
        spans: list[Span] = []
        start = 0
        for place, token in enumerate(self._tokens):
            end = start + len(token.text)
            spans.append(Span(start, end, Style.from_meta({"token": place})))
            style = "reverse" if place == self._picked else style_of(token.probability)
            if style and end > start:
                spans.append(Span(start, end, style))
            start = end
        return spans
