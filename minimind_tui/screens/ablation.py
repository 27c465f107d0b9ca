"""Does a setting make a difference? Two arms, several seeds, and the interval of the paired differences."""

from __future__ import annotations

import shlex
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Input, Static
from textual.worker import Worker

from minimind.commands.ablate import NAMES
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean
from minimind_tui import child
from minimind_tui.child import ChildError, stream_events
from minimind_tui.inbox import DRAIN_SECONDS, Inbox
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.event_view import EventView
from minimind_tui.widgets.phrase import Phrase

_FIELDS = (
    ("arms", "pretrain --model nano --batch-size 8"),
    ("change", "learning_rate=0.001"),
    ("steps", "100"),
    ("seeds", "3"),
)
"""The fields and what stands in them at first."""


class AblationScreen(MiniMindScreen):
    """A line for each arm's settings, then what comes of them."""

    TITLE_KEY = "ablation.title"
    DEFAULT_CSS = """
    AblationScreen #about { height: auto; padding: 0 1; margin: 0 0 1 0; color: $text-muted; }
    AblationScreen .field { height: 1; padding: 0 1; }
    AblationScreen .field Phrase { width: 22; color: $text-muted; }
    AblationScreen .field Input { width: 1fr; height: 1; border: none; background: $surface; padding: 0 1; }
    AblationScreen .field Input:focus { background: $panel; }
    AblationScreen #state { height: auto; padding: 0 1; margin: 1 0; }
    AblationScreen VerticalScroll { padding: 0 1; scrollbar-gutter: stable; }
    """
    AUTO_FOCUS = "#change"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "start", "ablation.key.start", key_display="⏎"),
        Binding("f5", "stop", "ablation.key.stop"),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._inbox = Inbox()
        self._child: Worker[None] | None = None
        self._timer: Timer | None = None
        self._state = "ablation.ready"
        self._problem: Text | None = None

    def compose_body(self) -> ComposeResult:
        """The fields, the state, the results."""
        with VerticalScroll():
            yield Phrase("ablation.about", id="about")
            for name, value in _FIELDS:
                with Horizontal(classes="field"):
                    yield Phrase(f"ablation.field.{name}")
                    yield Input(value, id=name, compact=True)
            yield Static(markup=False, id="state")
            yield EventView(names=NAMES)

    def on_mount(self) -> None:
        """Nothing runs yet."""
        self._timer = self.set_interval(DRAIN_SECONDS, self._drain, pause=True)
        for field in self.query(Input):
            field.cursor_blink = False
        self.relabel()

    def relabel(self) -> None:
        """Speak again."""
        words = clean(self.say(self._problem)) if self._problem else self.t(self._state)
        self.query_one("#state", Static).update(Content.styled(words, "$error" if self._problem else "$foreground"))
        self.refresh_bindings()

    @property
    def is_comparing(self) -> bool:
        """Whether a comparison is under way."""
        return self._child is not None and self._child.is_running

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's signature)
        """Start while nothing runs, stop while something does."""
        if action == "start":
            return not self.is_comparing
        return self.is_comparing if action == "stop" else True

    def arguments(self) -> list[str]:
        """The command line of the child. Raises UserError for quotes that do not close."""
        values = {name: self.query_one(f"#{name}", Input).value for name, _ in _FIELDS}
        try:
            arms, change = shlex.split(values["arms"]), shlex.split(values["change"])
        except ValueError:
            raise UserError("a quote is not closed", "引号没有成对") from None
        more = ["--change", *change] if change else []
        return ["ablate", *arms, "--steps", values["steps"], "--seeds", values["seeds"], *more, "--json"]

    @on(Input.Submitted)
    def action_start(self) -> None:
        """Train both arms in a child of their own."""
        if self.is_comparing:
            return
        try:
            arguments = [*self.arguments(), "--lang", self.language]
        except UserError as error:
            self._say(error.text)
            return
        self.query_one(EventView).clear()
        self._inbox = Inbox()
        self._say(None, "ablation.running")
        assert self._timer is not None
        self._timer.resume()
        self._child = self._run(arguments, self._inbox)
        self.refresh_bindings()

    @work(exclusive=True, group="ablation")
    async def _run(self, arguments: list[str], inbox: Inbox) -> None:
        try:
            await stream_events(child.COMMAND, arguments, inbox)
        except ChildError as error:
            self._say(Text(error.words, error.words))
        else:
            self._say(None, "ablation.done")
        finally:
            if self._timer is not None:
                self._timer.pause()
            self._drain()
            self.call_later(self.refresh_bindings)

    def action_stop(self) -> None:
        """End the child; what it found is still shown, and nothing is kept."""
        if self._child is not None:
            self._child.cancel()
            self._say(None, "ablation.stopped")

    def _say(self, problem: Text | None, state: str = "ablation.ready") -> None:
        self._problem, self._state = problem, state
        if self.is_attached:
            self.relabel()

    def _drain(self) -> None:
        found = self._inbox.drain()
        if found and self.is_attached:
            self.query_one(EventView).feed(found)
