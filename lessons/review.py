"""Spaced review: which cards are due today, what each asks, and how well each concept is known. No torch, no terminal.

A card is a question that was answered once, or a prediction that did not come true.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lessons import cards
from lessons.cards import ReviewCard
from lessons.lesson import Lesson
from lessons.progress import LessonProgress, Missed, Progress, prediction_card
from lessons.quiz import Answer, Choice, NumericQuestion, Question, SingleQuestion
from minimind.events import Text

_SEEN = Text("This is what came out of your own run.", "这是你自己那次运行的结果。")


@dataclass(frozen=True, slots=True)
class ReviewItem:
    """A card with its question. The question's id is unique over all lessons."""

    lesson: Lesson
    name: str
    question: Question
    card: ReviewCard


@dataclass(frozen=True, slots=True)
class Concept:
    """How well the questions about a glossary term are known: `right` of `asked` cards, of `total` questions."""

    term: str
    right: int
    asked: int
    total: int
    recall: float
    """The mean chance, 0…1, that a card of it is remembered now."""


def review_items(progress: Progress, lessons: Sequence[Lesson]) -> Iterator[ReviewItem]:
    """Every card whose question still exists."""
    for lesson in lessons:
        record = progress.lessons.get(lesson.slug)
        if record is None:
            continue
        asked = _questions(lesson, record)
        for name, card in record.cards.items():
            if name in asked:
                question = dataclasses.replace(asked[name], id=f"{lesson.slug}/{name}")
                yield ReviewItem(lesson, name, question, card)


def due_items(progress: Progress, lessons: Sequence[Lesson], when: datetime, most: int) -> tuple[ReviewItem, ...]:
    """The cards to ask on the day of `when`, the longest overdue first: at most `most`, less those done today."""
    due = sorted(
        (item for item in review_items(progress, lessons) if item.card.is_due(when)), key=lambda item: item.card.due
    )
    return tuple(due[: max(0, most - done_today(progress, when))])


def done_today(progress: Progress, when: datetime) -> int:
    """How many cards were reviewed on the day of `when`."""
    return progress.reviewed if progress.reviewed_on == _day(when) else 0


def next_due(progress: Progress, lessons: Sequence[Lesson], when: datetime) -> datetime | None:
    """When the next card that is not due yet will be; None where there is none."""
    return min((item.card.due for item in review_items(progress, lessons) if not item.card.is_due(when)), default=None)


def keep_answer(progress: Progress, item: ReviewItem, answer: Answer, *, correct: bool, retried: bool) -> None:
    """Note an answer given in a review: the card's, and where it was right also the lesson's own question's.

    A wrong one takes nothing away from a lesson that is done: the card will come back. One that is tried again after a
    wrong answer does not count as another card of the day.
    """
    record = progress.lesson(item.lesson.slug)
    record.rate(item.name, correct=correct, retried=retried)
    known = record.answers.get(item.name)
    if correct and known is not None and not known.correct:
        known.answer, known.correct = list(answer), True
    if not retried:
        when = cards.now()
        progress.reviewed = done_today(progress, when) + 1
        progress.reviewed_on = _day(when)


def concepts(progress: Progress, lessons: Sequence[Lesson], when: datetime) -> tuple[Concept, ...]:
    """Every tag of which a question was answered, the least known first."""
    totals: dict[str, int] = {}
    for lesson in lessons:
        for question in lesson.questions:
            for tag in question.tags:
                totals[tag] = totals.get(tag, 0) + 1
    found: dict[str, list[ReviewCard]] = {}
    for item in review_items(progress, lessons):
        for tag in item.question.tags:
            found.setdefault(tag, []).append(item.card)
    scores = [
        Concept(
            tag,
            sum(card.right for card in items),
            len(items),
            totals[tag],
            sum(card.recall(when) for card in items) / len(items),
        )
        for tag, items in found.items()
    ]
    return tuple(sorted(scores, key=lambda score: (score.right / score.asked, score.recall, score.term)))


def _day(when: datetime) -> str:
    return when.astimezone().date().isoformat()


def _questions(lesson: Lesson, record: LessonProgress) -> Mapping[str, Question]:
    """What each card of `lesson` asks, by the card's name."""
    asked: dict[str, Question] = {question.id: question for question in lesson.questions}
    asked |= {prediction_card(name): question_of(name, missed) for name, missed in record.missed.items()}
    return asked


def question_of(experiment: str, missed: Missed) -> Question:
    """A prediction that did not come true, as a question."""
    name = prediction_card(experiment)
    if missed.choices:
        choices = tuple(Choice(str(place), choice) for place, choice in enumerate(missed.choices))
        return SingleQuestion(
            id=name,
            level=2,
            prompt=missed.asked,
            explain=_SEEN,
            choices=choices,
            answer=frozenset({str(int(missed.truth))}),
        )
    asked, unit = missed.asked, missed.unit
    return NumericQuestion(
        id=name,
        level=2,
        prompt=asked if unit is None else Text(f"{asked.en} ({unit.en})", f"{asked.zh}（{unit.zh}）"),
        explain=_SEEN,
        answer=missed.truth,
        relative=1 - 1 / missed.within,
        absolute=missed.margin,
    )
