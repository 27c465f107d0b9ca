"""The mask lens: a training sample token by token, as the trainer of a run sees it."""

from __future__ import annotations

from contextlib import suppress
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Text
from minimind_tui import lens_client
from minimind_tui.lens_client import Seen
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.line import Line
from minimind_tui.widgets.token_view import TokenView

_TOGETHER = 20
"""Samples a child is asked for at a time: starting it takes longer than looking at them."""


class LensScreen(MiniMindScreen):
    """The samples that a run with `config` trains on, one at a time."""

    TITLE_KEY = "lens.title"
    DEFAULT_CSS = """
    LensScreen Line { padding: 0 1; }
    LensScreen #what { text-style: bold; }
    LensScreen #legend { color: $text-muted; border-bottom: solid $rule; }
    LensScreen #token { border-top: solid $rule; min-height: 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right_square_bracket,n", "turn(1)", "lens.key.next"),
        Binding("left_square_bracket,p", "turn(-1)", "lens.key.previous"),
    ]

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self._config = config
        self._seen: dict[int, Seen] = {}
        self._sample = 1
        self._problem: Text | None = None

    def compose_body(self) -> ComposeResult:
        """Which sample, what the kinds of print mean, the tokens, and the one under the cursor."""
        yield Line(id="what")
        yield Line(id="legend")
        yield TokenView()
        yield Line(id="token")

    def on_mount(self) -> None:
        """Look at the first ones."""
        self.query_one(TokenView).focus()
        self.relabel()
        self._fetch(1)

    @work(group="fetch", exclusive=True)
    async def _fetch(self, first: int) -> None:
        try:
            found = await lens_client.see(self._config, first, _TOGETHER, self.language)
        except UserError as error:
            self._problem = error.text
        else:
            self._seen |= {seen.sample: seen for seen in found}
        with suppress(NoMatches):  # left meanwhile
            self._show()

    def _show(self) -> None:
        seen = self._seen.get(self._sample)
        if seen is not None:
            self.query_one(TokenView).set_sides(seen.sides)
        self.relabel()

    def relabel(self) -> None:
        """Speak again."""
        seen = self._seen.get(self._sample)
        self.query_one("#legend", Line).show(self.t("lens.legend"))
        if self._problem is not None:
            words = self.say(self._problem)
        elif seen is None:
            words = self.t("lens.looking")
        else:
            states = "".join(token.state for side in seen.sides for token in side.tokens)
            words = self.t(
                "lens.what",
                sample=seen.sample,
                count=seen.count,
                tokens=len(states),
                trained=states.count("t"),
                cut=states.count("c"),
                length=seen.sequence_length,
            )
            if seen.is_prompt:
                words += "\n" + self.t("lens.prompt")
            if not seen.used:
                words += "\n" + self.t("lens.unused")
        self.query_one("#what", Line).show(words)

    @on(TokenView.Moved)
    def _moved(self, event: TokenView.Moved) -> None:
        token = event.token
        words = self.t(
            "lens.token",
            place=event.place + 1,
            count=len(event.side.tokens),
            id=token.id,
            text=token.text,
            state=self.t(f"lens.state.{token.state}"),
        )
        self.query_one("#token", Line).show(words + (self.t("lens.special") if token.is_special else ""))

    def action_turn(self, samples: int) -> None:
        """The next sample, or the one before."""
        now = self._seen.get(self._sample)
        if now is None:
            return
        self._sample = max(1, min(self._sample + samples, now.count))
        if self._sample in self._seen:
            self._show()
        else:
            self.relabel()
            self._fetch(self._sample)
