"""Spaced review: FSRS's intervals, what is due, what a day holds, predictions that did not come true, older files."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from lessons import cards
from lessons.__main__ import build_parser
from lessons.cards import DAILY, ReviewCard, rated
from lessons.lesson import Lesson, load_lesson
from lessons.predictions import keep_outcome, keep_prediction
from lessons.progress import LessonProgress, Missed, Progress, changing, prediction_card
from lessons.quiz import SingleQuestion
from lessons.review import concepts, done_today, due_items, keep_answer, next_due, question_of, review_items
from minimind import paths
from minimind.commands.output import Output
from minimind.events import Claim, Event, Note, Text
from minimind.experiment import Number, experiment

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
LESSON: Lesson = load_lesson("normalization")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """What time it is: the last entry."""
    times = [NOON]
    monkeypatch.setattr(cards, "now", lambda: times[-1])
    return times


def days(card: ReviewCard, since: datetime = NOON) -> float:
    return (card.due - since) / timedelta(days=1)


def test_intervals_grow_with_right_answers_and_shrink_with_wrong_ones() -> None:
    wrong, hard, right = (
        rated(None, correct=correct, retried=retried, when=NOON)
        for correct, retried in ((False, False), (True, True), (True, False))
    )
    assert (days(wrong), days(hard), days(right)) == (1, 1, 2)
    assert (wrong.right, right.right) == (False, True)
    later = rated(right, correct=True, retried=False, when=right.due)
    assert days(later, right.due) > 5
    assert days(rated(later, correct=False, retried=False, when=later.due), later.due) < 5
    assert right.recall(right.due) == pytest.approx(0.9, abs=0.03)
    assert ReviewCard.from_dict(json.loads(json.dumps(later.to_dict()))) == later


def test_an_answered_question_is_due_on_a_later_day(clock: list[datetime]) -> None:
    progress = Progress()
    record = progress.lesson(LESSON.slug)
    first, second, third = LESSON.questions[:3]
    record.mark_answer(first.id, (), correct=True)
    record.mark_answer(second.id, (), correct=False)
    record.mark_answer(third.id, (), correct=False)
    record.mark_answer(third.id, (), correct=True)
    assert due_items(progress, [LESSON], NOON, DAILY) == ()
    assert next_due(progress, [LESSON], NOON) == NOON + timedelta(days=1)
    tomorrow = NOON + timedelta(days=1)
    assert {item.name for item in due_items(progress, [LESSON], tomorrow, DAILY)} == {second.id, third.id}
    assert len(due_items(progress, [LESSON], tomorrow, 1)) == 1
    clock.append(tomorrow)
    for item in due_items(progress, [LESSON], tomorrow, DAILY):
        keep_answer(progress, item, ("x",), correct=False, retried=False)
        keep_answer(progress, item, ("y",), correct=True, retried=True)
    assert done_today(progress, tomorrow) == 2
    assert done_today(progress, tomorrow + timedelta(days=1)) == 0
    assert due_items(progress, [LESSON], tomorrow, DAILY) == ()
    assert record.answers[second.id].correct
    record.cards["gone"] = record.cards[first.id]
    assert {item.name for item in review_items(progress, [LESSON])} == {first.id, second.id, third.id}


def test_a_wrong_answer_in_a_review_takes_nothing_away(clock: list[datetime]) -> None:
    progress = Progress()
    record = progress.lesson(LESSON.slug)
    record.mark_answer(LESSON.questions[0].id, ("a",), correct=True)
    (item,) = review_items(progress, [LESSON])
    clock.append(item.card.due)
    keep_answer(progress, item, ("b",), correct=False, retried=False)
    assert record.answers[item.name].correct
    assert not record.cards[item.name].right
    assert record.cards[item.name].due > clock[-1]


def test_concepts_begin_with_the_least_known(clock: list[datetime]) -> None:
    progress = Progress()
    record = progress.lesson(LESSON.slug)
    for number, question in enumerate(LESSON.questions):
        record.mark_answer(question.id, (), correct=bool(number % 3))
    scores = concepts(progress, [LESSON], clock[-1])
    shares = [score.right / score.asked for score in scores]
    assert shares == sorted(shares)
    assert {score.term for score in scores} == {tag for question in LESSON.questions for tag in question.tags}
    for score in scores:
        tagged = [n for n, question in enumerate(LESSON.questions) if score.term in question.tags]
        assert (score.right, score.asked, score.total) == (sum(n % 3 > 0 for n in tagged), len(tagged), len(tagged))
        assert score.recall == pytest.approx(1.0)


TITLE = Text("t", "题")


@experiment(
    title=TITLE,
    question=TITLE,
    parameters={},
    quick={},
    predict=Text("Which?", "哪个？"),
    choices=(Text("a", "甲"), Text("b", "乙")),
)
def choosing() -> Iterator[Event]:
    yield Note(TITLE)


@experiment(
    title=TITLE,
    question=TITLE,
    parameters={},
    quick={},
    predict=Text("How many?", "多少？"),
    number=Number(0, 100, Text("%", "%"), within=2),
)
def counting() -> Iterator[Event]:
    yield Note(TITLE)


def claim(**measured: float) -> tuple[Claim, ...]:
    return (Claim("prediction", TITLE, measured, True),)


def test_a_prediction_that_did_not_come_true_becomes_a_card_once(clock: list[datetime]) -> None:
    record = LessonProgress()
    keep_outcome(choosing, record, claim(choice=1))
    assert record.cards == {}
    keep_prediction(choosing, record, 1)
    keep_outcome(choosing, record, claim(choice=1))
    assert record.cards == {}
    keep_prediction(choosing, record, 0)
    keep_outcome(choosing, record, claim(choice=1))
    name = prediction_card("choosing")
    card = record.cards[name]
    assert not card.right
    keep_outcome(choosing, record, claim(choice=1))
    assert record.cards[name] is card
    question = question_of("choosing", record.missed["choosing"])
    assert isinstance(question, SingleQuestion)
    assert [question.check((given,)).correct for given in ("0", "1")] == [False, True]
    keep_prediction(counting, record, 10)
    keep_outcome(counting, record, claim(number=40))
    number = question_of("counting", record.missed["counting"])
    assert number.prompt.en == "How many? (%)"
    given = {value: number.check(number.parse(str(value), 0)).correct for value in (19, 21, 40, 79, 81)}
    assert given == {19: False, 21: True, 40: True, 79: True, 81: False}
    progress = Progress({LESSON.slug: record})
    assert {item.question.id for item in review_items(progress, [LESSON])} == {
        f"{LESSON.slug}/predict:choosing",
        f"{LESSON.slug}/predict:counting",
    }
    assert Missed.from_dict(json.loads(json.dumps(record.missed["counting"].to_dict()))) == record.missed["counting"]
    assert clock


def test_answers_of_an_older_file_become_cards(home: object) -> None:
    question = LESSON.questions[0].id
    with changing() as progress:
        record = progress.lesson(LESSON.slug)
        record.mark_answer(question, ("a",), correct=True)
        record.attempt("rmsnorm").passed = True
    data = json.loads(paths.progress().read_text(encoding="utf-8"))
    old = data["lessons"][LESSON.slug]
    for name in ("cards", "missed", "bookmarks", "known"):
        del old[name]
    del old["exercises"]["rmsnorm"]["mutants"]
    paths.progress().write_text(json.dumps({"version": 1, "lessons": {LESSON.slug: old}}), encoding="utf-8")
    progress = Progress.load()
    assert progress.notes == []
    card = progress.lesson(LESSON.slug).cards[question]
    assert card.right
    assert card == Progress.load().lesson(LESSON.slug).cards[question]
    with changing() as progress:
        progress.lesson(LESSON.slug).toggle_bookmark("why")
    kept = json.loads(paths.progress().read_text(encoding="utf-8"))
    assert kept["version"] == 2
    again = Progress.load().lesson(LESSON.slug)
    assert (again.cards[question], again.bookmarks, again.exercises["rmsnorm"].passed) == (card, ["why"], True)


def test_the_command_asks_what_is_due_and_the_wrong_ones_again(monkeypatch: pytest.MonkeyPatch) -> None:
    question = next(q for q in LESSON.questions if q.kind == "numeric")
    past = cards.now() - timedelta(days=9)
    with changing() as progress:
        record = progress.lesson(LESSON.slug)
        record.cards[question.id] = rated(None, correct=True, retried=False, when=past)
    answer = question.check(question.parse("1", 0)).expected.en.split()[0]
    right = repr(getattr(question, "answer", answer))
    monkeypatch.setattr("sys.stdin", io.StringIO(f"123456.789\n{right}\n"))
    out = io.StringIO()
    arguments = build_parser().parse_args(["review", "--json"])
    output = Output(as_json=True, language="en", stdout=out, stderr=io.StringIO())
    assert arguments.run(arguments, output) == 0
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines[0]["due"] == [f"{LESSON.slug}/{question.id}"]
    assert [line["correct"] for line in lines if "correct" in line] == [False, True]
    assert lines[-1]["concepts"]
    progress = Progress.load()
    assert progress.reviewed == 1
    assert progress.lesson(LESSON.slug).cards[question.id].due > cards.now()
