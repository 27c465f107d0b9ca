"""The course and what a learner has done of it, as the home screen shows them."""

from __future__ import annotations

from dataclasses import dataclass

from lessons import cards
from lessons.cards import DAILY
from lessons.lesson import LearningPath, Lesson, load_paths, readable_lessons
from lessons.progress import Progress
from lessons.review import due_items
from minimind.errors import UserError
from minimind.events import Text


@dataclass(frozen=True, slots=True)
class Course:
    """The paths, the progress on them, and what was wrong with either."""

    paths: tuple[LearningPath, ...]
    progress: Progress
    notes: tuple[Text, ...]
    lessons: tuple[Lesson, ...] = ()

    @classmethod
    def read(cls) -> Course:
        """Read both; a broken lesson or a damaged progress file becomes a note."""
        progress = Progress.load()
        try:
            lessons, problems = readable_lessons()
            return cls(load_paths(lessons=lessons), progress, (*problems, *progress.notes), lessons)
        except UserError as error:
            return cls((), progress, (error.text, *progress.notes))

    def path_done(self, path: LearningPath) -> tuple[int, float]:
        """How many lessons of `path` are done, and the share of its minutes that is."""
        done = sum(step.lesson is not None and self.progress.is_done_on(path, step.lesson) for step in path.steps)
        total = sum(step.minutes for step in path.steps)
        spent = sum(
            step.minutes * self.progress.share_on(path, step.lesson) for step in path.steps if step.lesson is not None
        )
        return done, spent / total if total else 0.0

    def pages_read(self, slug: str) -> frozenset[str]:
        """The ids of the pages read in a lesson."""
        record = self.progress.lessons.get(slug)
        return frozenset(record.read if record is not None else ())

    def next_lesson(self, place: int) -> str | None:
        """The slug of the lesson to go on with on the path at `place`; None when all written ones are done."""
        if place >= len(self.paths):
            return None
        lesson = self.progress.next_lesson(self.paths[place])
        return lesson.slug if lesson is not None else None

    def due(self) -> int:
        """How many cards wait for today's review."""
        return len(due_items(self.progress, self.lessons, cards.now(), DAILY))

    def lesson_after(self, slug: str, on: str | None = None) -> str | None:
        """The lesson to go on with after `slug`: the next one that is not done on the path called `on`.

        Without one, on the first path of whole lessons that has both.
        """
        for path in self.paths:
            if path.id != on if on is not None else not path.is_whole:
                continue
            slugs = [step.slug for step in path.steps if step.lesson is not None]
            later = path.steps[[step.slug for step in path.steps].index(slug) + 1 :] if slug in slugs else ()
            for step in later:
                if step.lesson is not None and not self.progress.is_done_on(path, step.lesson):
                    return step.slug
        return None
