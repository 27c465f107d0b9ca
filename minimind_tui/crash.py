"""Keep the traceback of our own fault in a file; the person gets one line that names it."""

from __future__ import annotations

import os
import time
import traceback
from pathlib import Path

from minimind import __version__, paths

_KEPT = 20


def write(error: BaseException) -> Path | None:
    """Write a log of `error` and return its path; None where the disk refuses. Only the newest few are kept."""
    folder = paths.crash_logs()
    path = folder / f"{time.strftime('%Y-%m-%d-%H%M%S')}-{os.getpid()}.txt"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = "".join(traceback.format_exception(error))
        path.write_text(f"minimind-tui {__version__}\n{text}", encoding="utf-8", errors="replace")
        for old in sorted(folder.glob("*.txt"))[:-_KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        return None
    return path
