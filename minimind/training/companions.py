"""The processes beside a run: what follows it while it lives, and what is done when it has ended. No torch."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from minimind import paths
from minimind.preferences import load_preferences
from minimind.training.detach import start_detached
from minimind.training.run_files import NOTIFY_LOG

WAITING = "waiting.json"
"""The file in the queue's folder that lists what waits."""


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package, with nothing taken from the working directory (-P)."""
    return [sys.executable, "-P", "-m", f"minimind.training.{module}", *arguments]


def afterwards_command(directory: Path) -> list[str]:
    """What a shim starts when the run in `directory` has ended."""
    return module_command("afterwards", str(directory))


def occasions() -> list[str]:
    """The files without which nothing is to be done after a run: a shim asks for them before it starts a process."""
    return [str(paths.preferences()), str(paths.queue() / WAITING)]


def start_follower(directory: Path, environment: dict[str, str]) -> None:
    """Start the process that passes on figures and alerts of the run in `directory`, where the person wants that.

    Never raises: a run is not to fail because of it.
    """
    preferences = load_preferences()
    if preferences.track == "none" and preferences.webhook is None:
        return
    with contextlib.suppress(OSError):
        start_detached(module_command("follower", str(directory)), environment, directory / NOTIFY_LOG)
