"""What a learner has done: pages read, answers given, exercises passed, predictions, and where they stopped.

One JSON file, replaced atomically. A file that is torn, or not ours, is kept aside and said so, never overwritten.
No torch, no terminal.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lessons import cards
from lessons.cards import ReviewCard
from lessons.lesson import LearningPath, Lesson
from lessons.recorded import Recording, choose
from minimind import paths
from minimind.errors import UserError
from minimind.events import Text

VERSION = 2
"""1 had no review cards; they are made from its answers."""
_READABLE = (1, VERSION)
PASS_SHARE = 0.8
"""Share of a lesson's questions that must be right for it to count as done."""


@dataclass
class Answered:
    """The latest answer to a question, whether it was right, and how often it was tried."""

    answer: list[str]
    correct: bool
    attempts: int = 1


@dataclass
class Attempt:
    """How an exercise goes: checks made, hints seen, whether a check passed, and the known mistakes made on the way."""

    checks: int = 0
    hints: int = 0
    passed: bool = False
    mutants: list[str] = field(default_factory=list)

    def mark_check(self, *, passed: bool, mutant: str | None) -> None:
        """Note what a check found."""
        self.checks += 1
        self.passed = self.passed or passed
        if mutant is not None and mutant not in self.mutants:
            self.mutants.append(mutant)


@dataclass(frozen=True, slots=True)
class Missed:
    """A prediction that did not come true: what was asked and what came out, so that it can be asked again.

    `choices` are empty where a number was asked for; then `within` and `margin` say what is close enough.
    """

    asked: Text
    truth: float
    choices: tuple[Text, ...] = ()
    within: float = 1.0
    margin: float = 0.0
    unit: Text | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Missed:
        """The inverse of `to_dict`. Raises KeyError or TypeError for something else."""
        unit = data["unit"]
        return cls(
            Text(**data["asked"]),
            float(data["truth"]),
            tuple(Text(**choice) for choice in data["choices"]),
            float(data["within"]),
            float(data["margin"]),
            None if unit is None else Text(**unit),
        )


@dataclass
class LessonProgress:
    """What was done in one lesson.

    `predictions` maps an experiment to the index of the choice made before its run, `guesses` to the number predicted,
    `missed` to what a prediction missed. `cards` are named by their question, or ``predict:`` and the experiment.
    `known`: the learner showed in a test that they know it already.
    """

    read: list[str] = field(default_factory=list)
    position: str = ""
    answers: dict[str, Answered] = field(default_factory=dict)
    exercises: dict[str, Attempt] = field(default_factory=dict)
    predictions: dict[str, int] = field(default_factory=dict)
    guesses: dict[str, float] = field(default_factory=dict)
    runs: dict[str, Recording] = field(default_factory=dict)
    missed: dict[str, Missed] = field(default_factory=dict)
    cards: dict[str, ReviewCard] = field(default_factory=dict)
    bookmarks: list[str] = field(default_factory=list)
    known: bool = False

    def mark_read(self, page: str) -> None:
        """Note that `page` was opened and is where the reader is."""
        self.position = page
        if page not in self.read:
            self.read.append(page)

    def mark_answer(self, question: str, answer: tuple[str, ...], *, correct: bool) -> None:
        """Note an answer; the latest counts. The question becomes a card, to be asked again some day."""
        before = self.answers.get(question)
        self.answers[question] = Answered(list(answer), correct, before.attempts + 1 if before else 1)
        self.rate(question, correct=correct, retried=before is not None and not before.correct)

    def mark_missed(self, experiment: str, missed: Missed) -> None:
        """Note a prediction that did not come true; it becomes a card the first time."""
        self.missed[experiment] = missed
        if prediction_card(experiment) not in self.cards:
            self.rate(prediction_card(experiment), correct=False, retried=False)

    def rate(self, card: str, *, correct: bool, retried: bool) -> None:
        """Note how the answer to a card was."""
        self.cards[card] = cards.rated(self.cards.get(card), correct=correct, retried=retried, when=cards.now())

    def toggle_bookmark(self, page: str) -> None:
        """Mark `page`, or take the mark away."""
        if page in self.bookmarks:
            self.bookmarks.remove(page)
        else:
            self.bookmarks.append(page)

    def attempt(self, exercise: str) -> Attempt:
        """The record of `exercise`, begun where there is none."""
        return self.exercises.setdefault(exercise, Attempt())

    def recordings(self, lesson: Lesson) -> dict[str, Recording]:
        """For each experiment of `lesson`, the run whose numbers the prose shows."""
        chosen = {name: choose(lesson.recordings.get(name), self.runs.get(name)) for name in lesson.experiments}
        return {name: recording for name, recording in chosen.items() if recording is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], written: datetime) -> LessonProgress:
        """From JSON data written at `written`. Raises KeyError, TypeError, ValueError or AttributeError: not ours."""
        made = cls(
            read=[str(page) for page in data["read"]],
            position=str(data["position"]),
            answers={name: Answered(**item) for name, item in data["answers"].items()},
            exercises={name: Attempt(**item) for name, item in data["exercises"].items()},
            predictions={name: int(choice) for name, choice in data["predictions"].items()},
            guesses={name: float(number) for name, number in data.get("guesses", {}).items()},
            runs={name: Recording.from_dict(item) for name, item in data["runs"].items()},
            missed={name: Missed.from_dict(item) for name, item in data.get("missed", {}).items()},
            cards={name: ReviewCard.from_dict(item) for name, item in data.get("cards", {}).items()},
            bookmarks=[str(page) for page in data.get("bookmarks", ())],
            known=bool(data.get("known", False)),
        )
        if "cards" not in data:
            for name, item in made.answers.items():
                retried = item.attempts > 1
                made.cards[name] = cards.rated(None, correct=item.correct, retried=retried, when=written)
        return made

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "read": self.read,
            "position": self.position,
            "answers": {name: asdict(item) for name, item in self.answers.items()},
            "exercises": {name: asdict(item) for name, item in self.exercises.items()},
            "predictions": self.predictions,
            "guesses": self.guesses,
            "runs": {name: run.to_dict() for name, run in self.runs.items()},
            "missed": {name: item.to_dict() for name, item in self.missed.items()},
            "cards": {name: card.to_dict() for name, card in self.cards.items()},
            "bookmarks": self.bookmarks,
            "known": self.known,
        }


def prediction_card(experiment: str) -> str:
    """The name of the card of a prediction."""
    return f"predict:{experiment}"


@dataclass
class Progress:
    """The progress in every lesson. `notes` say what was wrong with the file, if anything.

    `reviewed` cards were answered on the day `reviewed_on` (ISO, as the calendar here has it).
    """

    lessons: dict[str, LessonProgress] = field(default_factory=dict)
    notes: list[Text] = field(default_factory=list)
    reviewed_on: str = ""
    reviewed: int = 0

    @classmethod
    def load(cls, file: Path | None = None) -> Progress:
        """The progress in `file` (a person's own by default); empty where there is none."""
        path = file or paths.progress()
        try:
            raw = path.read_bytes()
            written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except FileNotFoundError:
            return cls()
        except OSError as error:
            return cls(notes=[_cannot_read(path, error)])
        try:
            data = json.loads(raw)
            if data["version"] not in _READABLE:
                raise ValueError(data["version"])
            return cls(
                {slug: LessonProgress.from_dict(item, written) for slug, item in data["lessons"].items()},
                reviewed_on=str(data.get("reviewed_on", "")),
                reviewed=int(data.get("reviewed", 0)),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls(notes=[_keep_aside(path)])

    def save(self, file: Path | None = None) -> None:
        """Write the file whole or not at all. Raises UserError when the disk refuses."""
        path = file or paths.progress()
        data = {
            "version": VERSION,
            "lessons": {slug: item.to_dict() for slug, item in self.lessons.items()},
            "reviewed_on": self.reviewed_on,
            "reviewed": self.reviewed,
        }
        aside = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with aside.open("w", encoding="utf-8") as stream:
                json.dump(data, stream, ensure_ascii=False, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise UserError(
                f"{path}: progress was not saved: {error.strerror}", f"{path}：进度没有保存：{error.strerror}"
            ) from None

    def lesson(self, slug: str) -> LessonProgress:
        """The record of a lesson, begun where there is none."""
        return self.lessons.setdefault(slug, LessonProgress())

    def share(self, lesson: Lesson) -> float:
        """How much of `lesson` is done, 0…1: pages read, questions right, exercises passed, each piece alike."""
        record = self.lessons.get(lesson.slug, LessonProgress())
        total = len(lesson.page_ids()) + len(lesson.questions) + len(lesson.exercises)
        done = len(set(record.read) & set(lesson.page_ids()))
        done += sum(record.answers[q.id].correct for q in lesson.questions if q.id in record.answers)
        done += sum(record.exercises[e.name].passed for e in lesson.exercises if e.name in record.exercises)
        return done / total if total else 0.0

    def share_on(self, path: LearningPath, lesson: Lesson) -> float:
        """How much of what `path` takes of `lesson` is done, 0…1: of parts of a lesson the pages count alone."""
        if path.is_whole:
            return self.share(lesson)
        pages = path.page_ids(lesson)
        read = self.lessons.get(lesson.slug, LessonProgress()).read
        return len(set(read) & set(pages)) / len(pages) if pages else 1.0

    def is_done_on(self, path: LearningPath, lesson: Lesson) -> bool:
        """Whether what `path` takes of `lesson` is done."""
        return self.is_done(lesson) or (not path.is_whole and self.share_on(path, lesson) == 1)

    def is_recapped(self, path: LearningPath) -> bool:
        """Whether every question at the end of `path` was answered, right or wrong."""
        return all(
            q.id in self.lessons.get(lesson.slug, LessonProgress()).answers for lesson, q in path.recap_questions()
        )

    def is_done(self, lesson: Lesson) -> bool:
        """Every page read, every exercise passed, and four questions in five right; or shown to be known in a test."""
        record = self.lessons.get(lesson.slug)
        if record is None or record.known:
            return record is not None
        right = sum(record.answers[q.id].correct for q in lesson.questions if q.id in record.answers)
        return (
            set(lesson.page_ids()) <= set(record.read)
            and all(record.exercises.get(e.name, Attempt()).passed for e in lesson.exercises)
            and right >= PASS_SHARE * len(lesson.questions)
        )

    def next_lesson(self, path: LearningPath) -> Lesson | None:
        """The first lesson on `path` that is not done; None when all written ones are."""
        written = [step.lesson for step in path.steps if step.lesson is not None]
        return next((lesson for lesson in written if not self.is_done_on(path, lesson)), None)


@contextlib.contextmanager
def changing(file: Path | None = None) -> Iterator[Progress]:
    """The progress as it is on disk now, saved when the block ends; other processes wait meanwhile.

    Raises UserError when it cannot be saved.
    """
    path = file or paths.progress()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f"{path.name}.lock").open("w")
    except OSError as error:
        raise UserError(
            f"{path}: progress was not saved: {error.strerror}", f"{path}：进度没有保存：{error.strerror}"
        ) from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        progress = Progress.load(path)
        yield progress
        progress.save(path)


def _keep_aside(path: Path) -> Text:
    """Rename a file that is not ours or torn, and say where it went."""
    kept = path.with_name(f"{path.name}.kept-{time.strftime('%Y%m%d-%H%M%S')}")
    number = 1
    while kept.exists():
        number += 1
        kept = kept.with_name(f"{kept.name.split('~')[0]}~{number}")
    try:
        path.rename(kept)
    except OSError as error:
        return _cannot_read(path, error)
    return Text(
        f"{path.name} was damaged or from another version: it was kept as {kept.name}, and progress starts afresh",
        f"{path.name} 已损坏或来自其他版本：原文件保留为 {kept.name}，进度重新记录",
    )


def _cannot_read(path: Path, error: OSError) -> Text:
    return Text(f"{path}: progress cannot be read: {error.strerror}", f"{path}：读不出进度：{error.strerror}")
