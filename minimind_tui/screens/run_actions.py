"""What can be done to a run, the same from the list and from the run's own screen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, ParamSpec

from textual import work
from textual.binding import Binding, BindingType

from minimind.errors import UserError
from minimind.figures import size
from minimind.training.runs import STATE_NAMES, RunStatus, State
from minimind_tui import supervisor
from minimind_tui.screens.base import MiniMindScreen
from minimind_tui.screens.dialog import ConfirmDialog

Arguments = ParamSpec("Arguments")

STATE_MARKS: dict[State, tuple[str, str, str]] = {
    "created": ("○", "o", "quiet"),
    "running": ("●", ">", "busy"),
    "paused": ("‖", "=", "busy"),
    "stopping": ("■", "#", "busy"),
    "finished": ("✓", "+", "good"),
    "stopped": ("■", "#", "quiet"),
    "failed": ("✗", "x", "bad"),
    "out-of-memory": ("✗", "x", "bad"),
    "killed": ("✗", "x", "bad"),
    "lost": ("?", "?", "bad"),
    "elsewhere": ("→", "~", "quiet"),
    "unreadable": ("?", "?", "bad"),
}
"""For each state: its mark, its mark in ASCII, its tone."""

_ALLOWED: dict[str, Callable[[RunStatus], bool]] = {
    "pause": lambda status: status.state in ("running", "paused"),
    "stop": lambda status: status.live,
    "resume": lambda status: status.resumable,
    "delete": lambda status: not status.live,
}
"""What has a key in which state."""


@dataclass(frozen=True, slots=True)
class Target:
    """The run that a key means: where it is, its status, and what deleting it would take away (`size` in bytes)."""

    directory: Path
    status: RunStatus
    checkpoints: int
    size: int

    @property
    def id(self) -> str:
        """The run's id."""
        return self.directory.name


class RunActions(MiniMindScreen):
    """Base of the screens about runs: `target` names the run that a key means."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "runs.key.pause"),
        Binding("s", "stop", "runs.key.stop"),
        Binding("r", "resume", "runs.key.resume"),
        Binding("d,delete", "delete", "runs.key.delete", show=False),
    ]

    def target(self) -> Target | None:
        """The run that a key means now; None where there is none."""
        return None

    def run_changed(self) -> None:
        """Called after something was asked of a run: look again soon."""

    def run_deleted(self, directory: Path) -> None:
        """Called after a run was deleted."""

    def state_name(self, status: RunStatus) -> str:
        """The state in words, with its mark."""
        mark, plain, _ = STATE_MARKS[status.state]
        return f"{plain if self.ascii_only else mark} {self.say(STATE_NAMES[status.state])}"

    async def ask(self, act: Callable[Arguments, object], *args: Arguments.args, **kwargs: Arguments.kwargs) -> bool:
        """Do something to a run off the event loop; what goes wrong is said. Whether it went well."""
        try:
            await asyncio.to_thread(act, *args, **kwargs)
        except UserError as error:
            self.app.tell(error.text, severity="error")
            return False
        finally:
            self.run_changed()
        return True

    def confide(self, key: str, target: Target, **values: Any) -> None:
        """Say a short sentence about the run."""
        self.app.tell(self.t(f"runs.said.{key}", run=target.id, **values))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 (Textual's signature)
        """Only what the run's state allows has a key."""
        if action not in _ALLOWED:
            return True
        target = self.target()
        return target is not None and _ALLOWED[action](target.status)

    @work(group="ask")
    async def action_pause(self) -> None:
        """Pause a run that works; let a paused one go on."""
        target = self.target()
        if target is None:
            return
        if target.status.state == "paused":
            if await self.ask(supervisor.unpause, target.directory):
                self.confide("going_on", target)
        elif await self.ask(supervisor.pause, target.directory):
            self.confide("pausing", target)

    @work(group="ask", exclusive=True)
    async def action_stop(self) -> None:
        """Stop a run, once confirmed; a second time by force."""
        target = self.target()
        if target is None:
            return
        force = target.status.state == "stopping"
        question, yes = ("force", "yes_force") if force else ("stop", "yes_stop")
        dialog = ConfirmDialog(f"runs.ask.{question}", yes=f"runs.ask.{yes}", run=target.id)
        if await self.app.push_screen_wait(dialog) and await self.ask(supervisor.stop, target.directory, force=force):
            self.confide("stopping", target)

    @work(group="ask")
    async def action_resume(self) -> None:
        """Start a run again that ended before it was finished."""
        target = self.target()
        if target is not None and await self.ask(supervisor.resume, target.directory):
            self.confide("resumed", target)

    @work(group="ask", exclusive=True)
    async def action_delete(self) -> None:
        """Delete a run, once confirmed."""
        target = self.target()
        if target is None:
            return
        dialog = ConfirmDialog(
            "runs.ask.delete",
            yes="runs.ask.yes_delete",
            run=target.id,
            count=target.checkpoints,
            size=size(target.size),
        )
        if await self.app.push_screen_wait(dialog) and await self.ask(supervisor.delete, target.directory):
            self.confide("deleted", target)
            self.run_deleted(target.directory)
