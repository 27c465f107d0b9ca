"""What shows that a path was walked, badges, and showing that one knows a lesson."""

from __future__ import annotations

from lessons.evidence import badges, proofs
from lessons.known import QUESTIONS, hard_questions, has_passed_one, mark_known
from lessons.lesson import load_lessons, load_paths
from lessons.progress import Progress
from lessons.recorded import Recording
from minimind.events import Claim, Text

LESSONS = load_lessons()
PATHS = {path.id: path for path in load_paths(lessons=LESSONS)}
BY_SLUG = {lesson.slug: lesson for lesson in LESSONS}


def test_a_fresh_learner_has_shown_nothing_and_times_are_sums() -> None:
    for path in PATHS.values():
        given = proofs(path, Progress())
        assert given
        assert not any(proof.is_given for proof in given)
        assert path.real_minutes == sum(step.minutes for step in path.steps)
        assert abs(path.real_minutes - path.minutes) <= 0.1 * path.minutes


def test_the_short_path_needs_predictions_and_answers() -> None:
    progress = Progress()
    record = progress.lesson("normalization")
    record.predictions = {"one": 0, "two": 1}
    record.guesses = {"three": 2.0}
    for question in BY_SLUG["normalization"].questions[:4]:
        record.mark_answer(question.id, (), correct=True)
    assert all(proof.is_given for proof in proofs(PATHS["quick"], progress))
    record.mark_answer(BY_SLUG["normalization"].questions[0].id, (), correct=False)
    assert [proof.is_given for proof in proofs(PATHS["quick"], progress)] == [True, False]


def test_the_long_paths_need_exercises_quizzes_and_orders() -> None:
    progress = Progress()
    for lesson in LESSONS:
        record = progress.lesson(lesson.slug)
        for exercise in lesson.exercises:
            record.attempt(exercise.name).passed = True
        for question in lesson.questions:
            record.mark_answer(question.id, (), correct=True)
    have = {proof.text.en: (proof.have, proof.need) for proof in proofs(PATHS["systematic"], progress)}
    written = [step for step in PATHS["systematic"].steps if step.lesson is not None and step.lesson.questions]
    assert have["Four questions in five right in every lesson"] == (len(written), len(PATHS["systematic"].steps))
    assert have["The parts of a block put in order"] == (int("residual" in BY_SLUG), 1)
    exercises = {exercise.name for lesson in LESSONS for exercise in lesson.exercises}
    named = {"rmsnorm", "apply_rope", "sdpa", "swiglu", "block"}
    assert have["RMSNorm, RoPE, attention, SwiGLU and the block written and passed"] == (len(named & exercises), 5)
    done = proofs(PATHS["mastery"], progress)[0]
    assert done.have == 0
    for lesson in LESSONS:
        progress.lesson(lesson.slug).read.extend(lesson.page_ids())
    assert proofs(PATHS["mastery"], progress)[0].have == sum(step.lesson is not None for step in PATHS["mastery"].steps)


def test_badges_are_for_what_was_measured() -> None:
    progress = Progress()
    trigram, parts = badges(LESSONS, progress)
    assert not trigram.is_given
    assert not parts.is_given
    claim = Claim("transformer_overtakes", Text("a", "甲"), {}, True)
    progress.lesson("start").runs["predictor_ladder"] = Recording({}, (claim,))
    exercise = BY_SLUG["normalization"].exercise("rmsnorm")
    attempt = progress.lesson("normalization").attempt("rmsnorm")
    for mutant in exercise.mutants[:-1]:
        attempt.mark_check(passed=False, mutant=mutant.id)
        attempt.mark_check(passed=False, mutant=mutant.id)
    attempt.mark_check(passed=True, mutant=None)
    trigram, parts, mutants = badges(LESSONS, progress)
    assert trigram.is_given
    assert parts.have == 1
    assert (mutants.have, mutants.need) == (len(exercise.mutants) - 1, len(exercise.mutants))
    attempt.mark_check(passed=True, mutant=exercise.mutants[-1].id)
    assert badges(LESSONS, progress)[2].is_given
    assert attempt.checks == 2 * len(exercise.mutants)


def test_the_hardest_questions_are_drawn_and_the_rest_becomes_cards() -> None:
    lesson = BY_SLUG["normalization"]
    drawn = [hard_questions(lesson, seed) for seed in range(6)]
    judged = sorted((q.level for q in lesson.questions if q.kind not in ("explain", "predict")), reverse=True)
    for questions in drawn:
        assert sorted((q.level for q in questions), reverse=True) == judged[:QUESTIONS]
    assert hard_questions(lesson, 1) == drawn[1]
    progress = Progress()
    record = progress.lesson(lesson.slug)
    assert not has_passed_one(lesson, record)
    record.attempt("rmsnorm").passed = True
    assert has_passed_one(lesson, record)
    wrong = lesson.questions[0]
    record.mark_answer(wrong.id, (), correct=False)
    assert not progress.is_done(lesson)
    mark_known(lesson, record)
    assert progress.is_done(lesson)
    assert {name: card.right for name, card in record.cards.items()} == {
        question.id: question is not wrong for question in lesson.questions
    }
