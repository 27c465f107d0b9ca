"""Keeps changes of a learner's progress in the file, in order, on a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lessons.progress import Progress, changing
from minimind.errors import UserError
from minimind.events import Text


class ProgressSaver:
    """`failed` is called, on the saving thread, with what to tell when a change was not saved."""

    def __init__(self, failed: Callable[[Text], None]) -> None:
        self._failed = failed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="progress")

    def submit(self, change: Callable[[Progress], None]) -> None:
        """Apply `change` to the file as it is by then."""
        self._thread.submit(self._save, change)

    def _save(self, change: Callable[[Progress], None]) -> None:
        try:
            with changing() as progress:
                change(progress)
        except UserError as error:
            self._failed(error.text)

    def close(self) -> None:
        """Wait until everything is saved."""
        self._thread.shutdown(wait=True)
