"""Copying that works over SSH and inside tmux. No Textual here but the app it is given."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import Any

from textual.app import App

from minimind.safe_text import clean

_PATIENCE = 2.0


def copy(app: App[Any], text: str) -> bool:
    """Put `text` (cleaned) on the clipboard: by OSC 52, which the terminal may refuse, and into tmux's buffer.

    tmux drops OSC 52 by default, so that inside it the buffer is the sure way. Returns whether tmux took it.
    """
    safe = clean(text)
    app.copy_to_clipboard(safe)
    if not os.environ.get("TMUX"):
        return False
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ("tmux", "load-buffer", "-w", "-")
        done = subprocess.run(command, input=safe.encode(), capture_output=True, timeout=_PATIENCE, check=False)
        return done.returncode == 0
    return False
