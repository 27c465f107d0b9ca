"""The app as `minimind_tui.bench` drives it: a real screen with a line at its foot that shows what was typed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Input

from lessons.catalogue import experiment_files, load_experiment
from minimind.events import Event
from minimind_tui.app import MiniMindApp
from minimind_tui.inbox import DRAIN_SECONDS, Inbox
from minimind_tui.lab import Lab
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.widgets.event_view import EventView

_PROMPT = "✎"


def _experiments() -> Iterator[Event]:
    """The lessons' own experiments, one after the other, without end."""
    for name in cycle(experiment_files()):
        yield from load_experiment(name).run()


class StreamScreen(MiniMindScreen):
    """The experiments of the lessons as they stream; `begun` is called when the first event is there."""

    def __init__(self, begun: Callable[[], object]) -> None:
        super().__init__()
        self._inbox = Inbox()
        self._begun = begun
        self._has_begun = False

    def compose_body(self) -> ComposeResult:
        """What draws them."""
        with VerticalScroll():
            yield EventView()

    def on_mount(self) -> None:
        """Begin."""
        Lab(_experiments, self._inbox).start()
        self.set_interval(DRAIN_SECONDS, self._drain)

    def _drain(self) -> None:
        events = self._inbox.drain()
        self.query_one(EventView).feed(events)
        if events and not self._has_begun:
            self._has_begun = True
            self._begun()


class BenchApp(MiniMindApp):
    """Opens the screen to be measured and types into a line at its foot."""

    CSS = "#bench-line { dock: bottom; height: 1; border: none; margin: 0 0 1 0; }"

    def __init__(self, situation: str, run: str) -> None:
        super().__init__(language="en")
        self._situation, self._run = situation, run

    async def on_ready(self) -> None:
        """Open the screen, then the line; over an experiment when torch is loaded and it has begun."""
        if self._situation == "experiment":
            await self.push_screen(StreamScreen(lambda: self.call_after_refresh(self._add_line)))
            return
        if self._situation == "run":
            await self.show_run(Path(self._run))
        self.call_after_refresh(self._add_line)

    async def _add_line(self) -> None:
        line = Input(id="bench-line", placeholder=_PROMPT, compact=True)
        line.cursor_blink = False
        await self.screen.mount(line)
        line.focus()


def drive(situation: str, run: str) -> int:
    """Run the app in this situation until it is killed."""
    gc.disable()  # as the command line does; the app turns it on again
    app = BenchApp(situation, run)
    app.run()
    return app.return_code or 0
