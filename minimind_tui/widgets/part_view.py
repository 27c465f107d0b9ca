"""A training with the learner's own parts beside the reference, drawn as it runs in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from lessons.exercise import Exercise
from lessons.part_runner import NAMES, outcome, train_with_parts
from minimind.errors import UserError
from minimind.events import Claim, Event, Table, Text
from minimind.safe_text import clean, clean_line
from minimind_tui.inbox import DRAIN_SECONDS, Inbox
from minimind_tui.lab import Lab
from minimind_tui.speech import Speaker
from minimind_tui.widgets.event_view import EventView


class PartView(Speaker, Vertical):
    """Hidden until `start`. Says at the end whether the curves agree and how fast each is."""

    DEFAULT_CSS = """
    PartView { height: auto; display: none; margin: 1 0 0 0; }
    PartView.-started { display: block; }
    PartView > .state { height: auto; }
    """

    class Ended(Message):
        """The training came to its end; `agrees`: it learnt what the reference learns."""

        def __init__(self, agrees: bool) -> None:
            super().__init__()
            self.agrees = agrees

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lab: Lab | None = None
        self._timer: Timer | None = None
        self._is_cancelled = False
        self._told: list[Event] = []
        self._problem: Text | None = None

    def compose(self) -> ComposeResult:
        """What is going on, and what it shows."""
        yield Static(markup=False, classes="state")
        yield EventView(names=NAMES)

    def on_mount(self) -> None:
        """Draw ten times a second while something runs."""
        self._timer = self.set_interval(DRAIN_SECONDS, self._drain, pause=True)

    def on_unmount(self) -> None:
        """Nobody looks any more: end the process."""
        self.stop()

    @property
    def is_running(self) -> bool:
        """Whether the training goes on."""
        return self._lab is not None and self._lab.state == "running"

    def start(self, exercises: Sequence[Exercise], *, together: bool) -> None:
        """Train with the learner's files for `exercises`; does nothing while a training runs."""
        if self.is_running:
            return
        self._is_cancelled, self._told, self._problem = False, [], None
        self.query_one(EventView).clear()
        self.add_class("-started")

        def events() -> Iterator[Event]:
            return train_with_parts(exercises, together=together, cancelled=lambda: self._is_cancelled)

        self._lab = Lab(events, Inbox())
        self._lab.start()
        self.relabel()
        if self._timer is not None:
            self._timer.resume()

    def stop(self) -> None:
        """End the training; what was drawn stays."""
        self._is_cancelled = True
        if self._lab is not None:
            self._lab.stop()

    def _drain(self) -> None:
        lab = self._lab
        if lab is None:
            return
        has_ended = lab.state != "running"
        events = lab.inbox.drain()
        self._told += [event for event in events if isinstance(event, (Claim, Table))]
        self.query_one(EventView).feed(events)
        if has_ended and self._timer is not None:
            self._timer.pause()
            self._finish(lab)

    def _finish(self, lab: Lab) -> None:
        error = lab.error
        if isinstance(error, UserError):
            self._problem = error.text
        elif error is not None:
            words = clean_line(f"{type(error).__name__}: {error}", 200)
            self._problem = Text(f"it failed: {words}", f"运行出错：{words}")
        self.relabel()
        self.post_message(self.Ended(self._agrees))

    @property
    def _agrees(self) -> bool:
        return any(isinstance(event, Claim) and event.holds is True for event in self._told)

    def relabel(self) -> None:
        """Say how it goes, or what came out."""
        state = self.query_one(".state", Static)
        if self.is_running:
            state.update(Content.styled(self.t("lesson.training.running"), "$accent"))
            return
        words = self._problem or outcome(self._told)
        if words is not None:
            style = "$error" if self._problem else "bold $success" if self._agrees else "bold $warning"
            state.update(Content.styled(clean(self.say(words)), style))
        else:
            state.update(Content.styled(self.t("lesson.training.no_result"), "$warning"))
