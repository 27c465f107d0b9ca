"""What shows that a path was walked: a checklist that is ticked by what was done, not by what was opened; and badges.

``paths.toml`` has a ``[[path.evidence]]`` for each line. Its ``kind`` says what counts:

    predictions   `count` predictions made before a run of an experiment of the path
    answers       `count` questions of the path's lessons answered right
    quizzes       in every lesson of the path a `share` of the questions right
    exercises     the exercises `names` passed
    questions     the questions `names` (lesson/question) right
    lessons       every lesson of the path done
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from minimind.events import Text

if TYPE_CHECKING:
    from lessons.fields import Fields
    from lessons.lesson import LearningPath, Lesson
    from lessons.progress import Progress

Kind = Literal["predictions", "answers", "quizzes", "exercises", "questions", "lessons"]
_LADDER, _OVERTAKES = "predictor_ladder", "transformer_overtakes"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One line of a path's checklist."""

    kind: Kind
    text: Text
    count: int = 0
    share: float = 0.0
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """A line and how far it is: `have` of `need`."""

    text: Text
    have: int
    need: int

    @property
    def is_given(self) -> bool:
        """Whether it is shown."""
        return self.have >= self.need


def read_evidence(items: Sequence[Fields]) -> tuple[Evidence, ...]:
    """The lines of a checklist. Raises UserError naming the field."""
    read = []
    for item in items:
        kind: Kind = item.string("kind", choices=get_args(Kind))  # type: ignore[assignment]
        read.append(
            Evidence(
                kind,
                item.text("text"),
                item.integer("count", 1, 1000, default=0),
                item.number("share", default=0.0),
                item.strings("names", default=()),
            )
        )
        item.close()
    return tuple(read)


def proofs(path: LearningPath, progress: Progress) -> tuple[Proof, ...]:
    """Each line of the checklist of `path`, by what `progress` holds."""
    lessons = [step.lesson for step in path.steps if step.lesson is not None]
    return tuple(Proof(item.text, *_counted(item, lessons, len(path.steps), progress)) for item in path.evidence)


def _counted(item: Evidence, lessons: Sequence[Lesson], steps: int, progress: Progress) -> tuple[int, int]:
    records = [progress.lessons.get(lesson.slug) for lesson in lessons]
    known = [record for record in records if record is not None]
    match item.kind:
        case "predictions":
            return sum(len({*record.predictions, *record.guesses}) for record in known), item.count
        case "answers":
            return sum(answered.correct for record in known for answered in record.answers.values()), item.count
        case "quizzes":
            return sum(_share_right(lesson, progress) >= item.share for lesson in lessons), steps
        case "exercises":
            attempts = [record.exercises.get(name) for record in known for name in item.names]
            return sum(attempt is not None and attempt.passed for attempt in attempts), len(item.names)
        case "questions":
            return sum(_is_right(name, progress) for name in item.names), len(item.names)
        case "lessons":
            return sum(progress.is_done(lesson) for lesson in lessons), steps


def _share_right(lesson: Lesson, progress: Progress) -> float:
    record = progress.lessons.get(lesson.slug)
    if record is None or not lesson.questions:
        return 0.0
    right = sum(record.answers[q.id].correct for q in lesson.questions if q.id in record.answers)
    return right / len(lesson.questions)


def _is_right(name: str, progress: Progress) -> bool:
    slug, _, question = name.partition("/")
    record = progress.lessons.get(slug)
    answered = record.answers.get(question) if record is not None else None
    return answered is not None and answered.correct


def badges(lessons: Sequence[Lesson], progress: Progress) -> tuple[Proof, ...]:
    """The few badges there are, those that are earned or begun: each for something measured."""
    start = progress.lessons.get("start")
    run = start.runs.get(_LADDER) if start is not None else None
    claim = run.claim(_OVERTAKES) if run is not None else None
    found = [
        Proof(
            Text("Beat the trigram: a Transformer of yours passed it", "胜过三元模型：你训练的 Transformer 超过了它"),
            int(claim is not None and claim.holds is True),
            1,
        )
    ]
    parts = [exercise for lesson in lessons for exercise in lesson.exercises if exercise.can_be_installed]
    passed = sum(progress.lesson(part.lesson).attempt(part.name).passed for part in parts)
    found.append(
        Proof(Text("Every part of the model written by you", "模型的每个部件都是你写的"), passed, max(1, len(parts)))
    )
    for lesson in lessons:
        for exercise in lesson.exercises:
            made = set(progress.lesson(lesson.slug).attempt(exercise.name).mutants)
            made &= {mutant.id for mutant in exercise.mutants}
            if made:
                text = Text(
                    f"Every known mistake of {exercise.title.en}, made and recognised",
                    f"“{exercise.title.zh}”的每种常见错误都犯过，也都认出来了",
                )
                found.append(Proof(text, len(made), len(exercise.mutants)))
    return tuple(found)
