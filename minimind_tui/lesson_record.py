"""What the lesson screen knows and keeps about one lesson's progress: changed at once, saved in the background."""

from __future__ import annotations

from collections.abc import Callable

from lessons.lesson import Lesson
from lessons.progress import LessonProgress, Progress
from lessons.recorded import Recording
from minimind.events import Text
from minimind_tui.progress_saver import ProgressSaver

Change = Callable[[LessonProgress], None]


class LessonRecord:
    """The learner's record of `lesson`. Every change is made here and, in order, in the file.

    `changed` is called after every change; `failed`, on the saving thread, with what to tell when one was not saved.
    """

    def __init__(self, lesson: Lesson, changed: Callable[[], None], failed: Callable[[Text], None]) -> None:
        self.lesson = lesson
        self._changed = changed
        progress = Progress.load()
        self.notes = tuple(progress.notes)
        self.now = progress.lesson(lesson.slug)
        self._progress = progress
        self._saver = ProgressSaver(failed)

    def change(self, change: Change) -> None:
        """Apply `change` to what is known, and to the file as it is by then."""
        change(self.now)
        self._changed()
        self._saver.submit(lambda progress: change(progress.lesson(self.lesson.slug)))

    def recordings(self) -> dict[str, Recording]:
        """For each experiment, the run whose numbers the prose shows."""
        return self.now.recordings(self.lesson)

    @property
    def is_done(self) -> bool:
        """Whether the lesson counts as done."""
        return self._progress.is_done(self.lesson)

    def close(self) -> None:
        """Wait until everything is saved."""
        self._saver.close()
