"""What kind of terminal this is, and the environment Textual reads at import. No Textual here."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, MutableMapping

from minimind.events import Text
from minimind_tui.settings import Settings

_HEADLESS = "minimind train | minimind runs list | minimind chat | python -m lessons list"
_COLOR_SYSTEMS = {"truecolor": "truecolor", "256": "256", "16": "standard"}


def refusal(environment: Mapping[str, str]) -> Text | None:
    """Why the app cannot run here, or None."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return Text(
            f"the app needs a terminal for input and output; without one use: {_HEADLESS}",
            f"输入和输出都要是终端；没有终端时请用：{_HEADLESS}",
        )
    if environment.get("TERM", "") in {"", "dumb"}:
        name = environment.get("TERM") or "(unset)"
        return Text(
            f"TERM={name} cannot draw a screen; set TERM=xterm-256color, or use: {_HEADLESS}",
            f"TERM={name} 的终端画不了界面；请设 TERM=xterm-256color，或改用：{_HEADLESS}",
        )
    return None


def prepare(environment: MutableMapping[str, str], settings: Settings) -> None:
    """Set what Textual reads when it is imported; a value the person set stays."""
    environment.setdefault("TEXTUAL_ANIMATIONS", "none")
    environment.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
    if is_remote(environment):
        environment.setdefault("TEXTUAL_FPS", "20")
    if settings.color != "auto":
        environment.setdefault("TEXTUAL_COLOR_SYSTEM", _COLOR_SYSTEMS[settings.color])


def is_remote(environment: Mapping[str, str]) -> bool:
    """Whether the screen travels over SSH: then fewer frames and slower charts."""
    return bool(environment.get("SSH_CONNECTION") or environment.get("SSH_TTY"))


def lacks_braille(environment: Mapping[str, str]) -> bool:
    """Whether this is the Linux console, whose font has no Braille."""
    return environment.get("TERM", "") in {"linux", "vt100", "vt220"}


def is_attached() -> bool:
    """Whether standard input is still a terminal (it is not after an SSH connection dropped)."""
    try:
        return os.isatty(0)
    except OSError:
        return False
