"""Showing that one knows a lesson already: one exercise passed and four hard questions right at the first try."""

from __future__ import annotations

import random

from lessons.lesson import Lesson
from lessons.progress import LessonProgress
from lessons.quiz import ExplainQuestion, PredictQuestion, Question

QUESTIONS = 4


def hard_questions(lesson: Lesson, seed: int) -> tuple[Question, ...]:
    """Four of the hardest questions that a machine can judge, drawn by `seed`; fewer where there are fewer."""
    able = [item for item in lesson.questions if not isinstance(item, (ExplainQuestion, PredictQuestion))]
    random.Random(f"{lesson.slug}:{seed}").shuffle(able)
    return tuple(sorted(able, key=lambda question: -question.level)[:QUESTIONS])


def has_passed_one(lesson: Lesson, record: LessonProgress) -> bool:
    """Whether an exercise of `lesson` was passed, or it has none."""
    return not lesson.exercises or any(record.attempt(exercise.name).passed for exercise in lesson.exercises)


def mark_known(lesson: Lesson, record: LessonProgress) -> None:
    """Count `lesson` as done; every question without a card gets one, to be asked again some day."""
    record.known = True
    for question in lesson.questions:
        if question.id not in record.cards:
            record.rate(question.id, correct=True, retried=False)
