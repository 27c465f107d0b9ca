"""Every kind of question: typing an answer, judging it, and what a file must give."""

from __future__ import annotations

from pathlib import Path

import pytest

from lessons.quiz import (
    LETTERS,
    ExplainQuestion,
    MatchQuestion,
    MultipleQuestion,
    NumericQuestion,
    OrderQuestion,
    PredictQuestion,
    Question,
    ShapeQuestion,
    SingleQuestion,
    SpotQuestion,
)
from lessons.quiz_file import read_quiz
from lessons.recorded import Recording
from minimind.calculator import calculate
from minimind.errors import UserError
from minimind.events import Claim, Text

SEEDS = range(20)


@pytest.fixture
def questions(shipped: Path) -> dict[str, Question]:
    return {question.id: question for question in read_quiz(shipped / "quiz.toml")}


def letters(question: Question, seed: int, *ids: str) -> str:
    """The letters under which choices are shown."""
    shown = [choice.id for choice in question.shown(seed)]
    return " ".join(LETTERS[shown.index(name)] for name in ids)


def test_every_kind_occurs(questions: dict[str, Question]) -> None:
    kinds = {question.kind for question in questions.values()}
    assert kinds == {"single", "multiple", "numeric", "predict", "order", "match", "shape", "spot", "explain"}


def test_single_choice_explains_each_wrong_pick(questions: dict[str, Question]) -> None:
    question = questions["plateau"]
    assert isinstance(question, SingleQuestion)
    for seed in SEEDS:
        for choice in question.choices:
            verdict = question.check(question.parse(letters(question, seed, choice.id), seed))
            assert verdict.correct == (choice.id == "bias")
            assert verdict.reasons == (() if choice.why is None else (choice.why,))
            assert verdict.expected.en == "each layer's bias adds a constant"


def test_choices_are_shuffled_by_the_seed(questions: dict[str, Question]) -> None:
    question = questions["plateau"]
    orders = {tuple(choice.id for choice in question.shown(seed)) for seed in SEEDS}
    assert len(orders) > 5
    assert question.shown(3) == question.shown(3)


def test_multiple_needs_all_and_only_the_right_ones(questions: dict[str, Question]) -> None:
    question = questions["repairs"]
    assert isinstance(question, MultipleQuestion)
    assert question.check(question.parse(letters(question, 1, "rms", "he"), 1)).correct is True
    assert question.check(("he",)).correct is False
    too_many = question.check(("he", "nobias", "rms"))
    assert too_many.correct is False
    assert [reason.en[:9] for reason in too_many.reasons] == ["That only"]


def test_numeric_takes_formulas_and_names_known_mistakes(questions: dict[str, Question]) -> None:
    question = questions["by_hand"]
    assert isinstance(question, NumericQuestion)
    for raw in ("1.2", " 3/2.5 ", "sqrt(1.44)", "12e-1", "3 × 0.4"):
        assert question.check(question.parse(raw, 0)).correct is True
    verdict = question.check(question.parse("0.6", 0))
    assert verdict.correct is False
    assert "sum of squares" in verdict.reasons[0].en
    with pytest.raises(UserError, match="type a number"):
        question.parse("about one", 0)


def test_predict_is_judged_by_the_learners_own_run(questions: dict[str, Question]) -> None:
    question = questions["layer_norm_gradient"]
    assert isinstance(question, PredictQuestion)
    with pytest.raises(UserError, match="run the experiment depth_signal first"):
        question.bind({})
    claim = Claim("layer_norm_explodes_backwards", Text("", ""), {"ratio": 200.0}, True)
    bound = question.bind({"depth_signal": Recording({}, (claim,))})
    results = [bound.check((str(value),)).correct for value in (39, 41, 200, 999, 1001)]
    assert results == [False, True, True, True, False]


def test_order_says_where_it_first_differs(questions: dict[str, Question]) -> None:
    question = questions["steps"]
    assert isinstance(question, OrderQuestion)
    ids = [item.id for item in question.items]
    assert question.check(question.parse(letters(question, 7, *ids), 7)).correct is True
    swapped = [ids[0], ids[2], ids[1], *ids[3:]]
    verdict = question.check(question.parse(letters(question, 7, *swapped), 7))
    assert verdict.correct is False
    assert verdict.reasons[0].en.startswith("place 2")
    with pytest.raises(UserError):
        question.parse("a b", 7)


def test_match_explains_each_missed_pair(questions: dict[str, Question]) -> None:
    question = questions["which_is_which"]
    assert isinstance(question, MatchQuestion)
    right = [pair.right.id for pair in question.pairs]
    typed = letters(question, 2, *right).split()
    numbered = " ".join(f"{number}={letter}" for number, letter in enumerate(typed, 1))
    assert question.check(question.parse(numbered, 2)).correct is True
    swapped = (right[1], right[0], *right[2:])
    verdict = question.check(swapped)
    assert verdict.correct is False
    assert verdict.reasons == tuple(pair.right.why for pair in question.pairs[:2])


def test_shape_counts_axes(questions: dict[str, Question]) -> None:
    question = questions["mean_square_shape"]
    assert isinstance(question, ShapeQuestion)
    for raw in ("batch time 1", "[Batch, time, 1]", "batch，time，1"):
        assert question.check(question.parse(raw, 0)).correct is True
    verdict = question.check(question.parse("batch time", 0))
    assert verdict.correct is False
    assert "3 axes, you gave 2" in verdict.reasons[0].en


def test_spot_says_why_another_line_is_right(questions: dict[str, Question]) -> None:
    question = questions["find_the_bug"]
    assert isinstance(question, SpotQuestion)
    assert question.check(question.parse("4", 0)).correct is True
    for line in (1, 2, 3, 5, 6):
        verdict = question.check((str(line),))
        assert verdict.correct is False
        assert len(verdict.reasons) == 1
    with pytest.raises(UserError):
        question.parse("7", 0)


def test_explanations_are_judged_by_the_learner(questions: dict[str, Question]) -> None:
    question = questions["final_norm"]
    assert isinstance(question, ExplainQuestion)
    verdict = question.check(question.parse("because it grows", 0))
    assert verdict.correct is None
    assert len(verdict.rubric) == 2
    with pytest.raises(UserError):
        question.parse("  ", 0)


@pytest.mark.parametrize("raw", ["", "z", "a a", "abc", "1"])
def test_impossible_choices_are_refused(questions: dict[str, Question], raw: str) -> None:
    with pytest.raises(UserError, match="type one letter"):
        questions["plateau"].parse(raw, 0)


@pytest.mark.parametrize(
    ("formula", "value"),
    [("2*pi*10000**(62/64)", 2 * 3.141592653589793 * 10000 ** (62 / 64)), ("-(3+1)//2", -2.0), ("log(e)", 1.0)],
)
def test_calculator(formula: str, value: float) -> None:
    assert calculate(formula) == pytest.approx(value, rel=1e-12)
    assert calculate("d*2", {"d": 3}) == 6.0


@pytest.mark.parametrize(
    "formula",
    [
        "",
        "1/0",
        "__import__('os')",
        "x",
        "().__class__",
        "9**9999",
        "9.0**999",
        "True",
        "'a'*3",
        "[1]",
        "(" * 150,
        "1" * 300,
    ],
)
def test_calculator_refuses(formula: str) -> None:
    with pytest.raises(UserError, match="cannot calculate"):
        calculate(formula)


BROKEN = [
    ('answer = "same"', 'answer = "nothing"', "answer"),
    ('answer = "same"', "", "answer"),
    ("why.en =", "#", "why.en: missing"),
    ('zh = "不变"', 'zh = ""', "choice[same]"),
    ("level = 2", "level = 4", "level"),
    ('type = "single"', 'type = "guess"', "single"),
    ("level = 2", 'level = 2\nhint = "?"', "unknown field hint"),
]


@pytest.mark.parametrize(("old", "new", "words"), BROKEN)
def test_a_broken_file_names_question_and_field(course: Path, old: str, new: str, words: str) -> None:
    path = course / "sample" / "quiz.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError) as raised:
        read_quiz(path)
    assert "quiz.toml" in str(raised.value)
    assert words in str(raised.value)


def test_a_numeric_answer_is_recomputed(tmp_path: Path) -> None:
    path = tmp_path / "quiz.toml"
    question = (
        '[[question]]\nid = "turns"\ntype = "numeric"\nlevel = 2\nanswer = {answer}\ncompute = "2*pi*1e6**(62/64)"\n'
        'tolerance = {{ relative = 0.02 }}\nprompt = {{ en = "?", zh = "？" }}\nexplain = {{ en = "!", zh = "！" }}\n'
    )
    path.write_text(question.format(answer=4080185), encoding="utf-8")
    assert read_quiz(path)[0].check(("4080000",)).correct is True
    path.write_text(question.format(answer=6283185), encoding="utf-8")
    with pytest.raises(UserError, match="compute"):
        read_quiz(path)
