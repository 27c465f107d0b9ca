"""Questions, and how an answer to one is judged. No torch, no terminal.

An answer is a tuple of strings whatever the kind, so that it can be kept as JSON: ids of choices, a number, the pairs
of a match. `Question.parse` makes one from what a person typed, with the letters under which `shown` presents choices.
"""

from __future__ import annotations

import dataclasses
import math
import random
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from lessons.recorded import Recording
from minimind.calculator import calculate
from minimind.errors import UserError
from minimind.events import Text
from minimind.figures import show_number

Answer: TypeAlias = tuple[str, ...]
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing to choose, order or match. `why` says why choosing it is wrong (None: it is right)."""

    id: str
    text: Text
    why: Text | None = None


@dataclass(frozen=True, slots=True)
class WrongNumber:
    """A number that a known mistake leads to, and what the mistake is."""

    value: float
    text: Text


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an answer was judged. `correct` is None where the person judges it, by the `rubric`."""

    correct: bool | None
    expected: Text
    explanation: Text
    reasons: tuple[Text, ...] = ()
    rubric: tuple[Text, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Question(ABC):
    """What every kind of question has. `level`: 1 recall, 2 apply, 3 transfer. `after`: the page it belongs to."""

    kind: ClassVar[str]
    id: str
    level: int
    prompt: Text
    explain: Text
    after: str = ""
    tags: tuple[str, ...] = ()
    code: str = ""

    @property
    @abstractmethod
    def how(self) -> Text:
        """How to type an answer."""

    @abstractmethod
    def parse(self, raw: str, seed: int) -> Answer:
        """The answer typed as `raw`. Raises UserError saying what can be typed."""

    @abstractmethod
    def check(self, answer: Answer) -> Verdict:
        """Judge `answer`."""

    def bind(self, _recordings: Mapping[str, Recording]) -> Question:
        """The question with what it takes from the learner's runs; itself for most kinds. Raises UserError."""
        return self

    def shown(self, seed: int) -> tuple[Choice, ...]:
        """The choices in the order of this attempt (the same for the same `seed`); empty for kinds without any."""
        shuffled = list(self.choices_of())
        random.Random(f"{self.id}:{seed}").shuffle(shuffled)
        return tuple(shuffled)

    def choices_of(self) -> tuple[Choice, ...]:
        """The choices in the file's order."""
        return ()

    def _refused(self, raw: str) -> UserError:
        return UserError(f"{raw[:40]!r} is not an answer: {self.how.en}", f"{raw[:40]!r} 不是答案：{self.how.zh}")

    def _letters(self, raw: str, seed: int) -> list[str]:
        """The ids behind the letters in `raw`. Raises UserError for an unknown or repeated one."""
        choices = self.shown(seed)
        typed = [item for item in re.split(r"[\s,，、;；]+", raw.strip().lower()) if item]
        if len(typed) == 1 and len(typed[0]) > 1:
            typed = list(typed[0])
        known = dict(zip(LETTERS, choices, strict=False))
        if not typed or any(letter not in known for letter in typed) or len(set(typed)) < len(typed):
            raise self._refused(raw)
        return [known[letter].id for letter in typed]


@dataclass(frozen=True, kw_only=True)
class ChoiceQuestion(Question):
    """Choose one (`kind` single) or all that are right (multiple)."""

    choices: tuple[Choice, ...]
    answer: frozenset[str]

    def choices_of(self) -> tuple[Choice, ...]:
        return self.choices

    def check(self, answer: Answer) -> Verdict:
        picked = set(answer)
        reasons = tuple(choice.why for choice in self.choices if choice.id in picked and choice.why is not None)
        right = [choice.text for choice in self.choices if choice.id in self.answer]
        expected = Text("; ".join(text.en for text in right), "；".join(text.zh for text in right))
        return Verdict(picked == self.answer, expected, self.explain, reasons)


@dataclass(frozen=True, kw_only=True)
class SingleQuestion(ChoiceQuestion):
    """One choice is right."""

    kind = "single"

    @property
    def how(self) -> Text:
        return Text("type one letter", "输入一个字母")

    def parse(self, raw: str, seed: int) -> Answer:
        ids = self._letters(raw, seed)
        if len(ids) != 1:
            raise self._refused(raw)
        return tuple(ids)


@dataclass(frozen=True, kw_only=True)
class MultipleQuestion(ChoiceQuestion):
    """Every right choice and no other must be picked."""

    kind = "multiple"

    @property
    def how(self) -> Text:
        return Text("type every letter that is right, such as: a c", "输入所有正确选项的字母，如：a c")

    def parse(self, raw: str, seed: int) -> Answer:
        return tuple(sorted(self._letters(raw, seed)))


@dataclass(frozen=True, kw_only=True)
class NumericQuestion(Question):
    """A number within a tolerance. The answer may be typed as a formula."""

    kind = "numeric"
    answer: float
    relative: float = 0.0
    absolute: float = 0.0
    unit: str = ""
    wrong: tuple[WrongNumber, ...] = ()

    @property
    def how(self) -> Text:
        return Text("type a number or a formula, such as: 3e-4 or 2*pi", "输入数字或算式，如：3e-4 或 2*pi")

    def parse(self, raw: str, seed: int) -> Answer:  # noqa: ARG002 - a number has no letters
        try:
            value = calculate(raw.replace("×", "*").replace("^", "**").replace("，", "").replace(",", ""))
        except UserError:
            raise self._refused(raw) from None
        return (repr(value),)

    def check(self, answer: Answer) -> Verdict:
        value = float(answer[0])
        reasons = tuple(item.text for item in self.wrong if math.isclose(value, item.value, rel_tol=1e-3))
        shown = f"{show_number(self.answer)} {self.unit}".strip()
        return Verdict(self._within(value, self.answer), Text(shown, shown), self.explain, reasons)

    def _within(self, value: float, target: float) -> bool:
        return math.isclose(value, target, rel_tol=self.relative, abs_tol=self.absolute)


@dataclass(frozen=True, kw_only=True)
class PredictQuestion(NumericQuestion):
    """A number the learner's own run measured: `source` is experiment.claim.measure. Bind it before checking."""

    kind = "predict"
    answer: float = math.nan
    source: str
    factor: float
    """How far off still counts: between measured / factor and measured · factor."""

    def bind(self, recordings: Mapping[str, Recording]) -> PredictQuestion:
        """With the answer the run in `recordings` measured. Raises UserError when it was not run yet."""
        experiment, claim_id, measure = self.source.split(".")
        recording = recordings.get(experiment)
        claim = recording.claim(claim_id) if recording else None
        if claim is None or measure not in claim.measured:
            raise UserError(
                f"run the experiment {experiment} first: the answer is what it measures",
                f"请先运行实验 {experiment}：答案由它测出",
            )
        return dataclasses.replace(self, answer=float(claim.measured[measure]))

    def _within(self, value: float, target: float) -> bool:
        low, high = sorted((target / self.factor, target * self.factor))
        return low <= value <= high


@dataclass(frozen=True, kw_only=True)
class OrderQuestion(Question):
    """Put the items in order; the file lists them in the right one."""

    kind = "order"
    items: tuple[Choice, ...]

    def choices_of(self) -> tuple[Choice, ...]:
        return self.items

    @property
    def how(self) -> Text:
        return Text("type the letters in order, such as: c a b", "按顺序输入字母，如：c a b")

    def parse(self, raw: str, seed: int) -> Answer:
        ids = self._letters(raw, seed)
        if len(ids) != len(self.items):
            raise self._refused(raw)
        return tuple(ids)

    def check(self, answer: Answer) -> Verdict:
        expected = Text(
            " → ".join(item.text.en for item in self.items), " → ".join(item.text.zh for item in self.items)
        )
        first_wrong = next((i for i, item in enumerate(self.items) if answer[i : i + 1] != (item.id,)), None)
        reasons: tuple[Text, ...] = ()
        if first_wrong is not None:
            position = first_wrong + 1
            reasons = (Text(f"place {position} is the first one that differs", f"第 {position} 位起不对"),)
        return Verdict(first_wrong is None, expected, self.explain, reasons)


@dataclass(frozen=True, slots=True)
class Pair:
    """The left and the right of one match."""

    left: Text
    right: Choice


@dataclass(frozen=True, kw_only=True)
class MatchQuestion(Question):
    """Give each left side (numbered) its right side (lettered, shuffled). The answer is the right sides' ids in order."""

    kind = "match"
    pairs: tuple[Pair, ...]

    def choices_of(self) -> tuple[Choice, ...]:
        return tuple(pair.right for pair in self.pairs)

    @property
    def how(self) -> Text:
        return Text("type the letter for 1, then for 2, …, such as: b a c", "依次输入 1、2……所配的字母，如：b a c")

    def parse(self, raw: str, seed: int) -> Answer:
        ids = self._letters(re.sub(r"\d+\s*[=:：]?", " ", raw), seed)
        if len(ids) != len(self.pairs):
            raise self._refused(raw)
        return tuple(ids)

    def check(self, answer: Answer) -> Verdict:
        expected = Text(
            "; ".join(f"{pair.left.en} → {pair.right.text.en}" for pair in self.pairs),
            "；".join(f"{pair.left.zh} → {pair.right.text.zh}" for pair in self.pairs),
        )
        missed = [pair for pair, given in zip(self.pairs, answer, strict=False) if given != pair.right.id]
        reasons = tuple(pair.right.why for pair in missed if pair.right.why is not None)
        correct = tuple(pair.right.id for pair in self.pairs) == answer
        return Verdict(correct, expected, self.explain, reasons)


@dataclass(frozen=True, kw_only=True)
class ShapeQuestion(Question):
    """The shape of a tensor, its axes in order, such as ``batch time hidden`` or ``2 3 8``."""

    kind = "shape"
    answer: Answer

    @property
    def how(self) -> Text:
        return Text("type the axes in order, such as: batch time 8", "按顺序输入各维，如：batch time 8")

    def parse(self, raw: str, seed: int) -> Answer:  # noqa: ARG002 - axes have no letters
        axes = tuple(item for item in re.split(r"[\s,，\[\]()（）]+", raw.strip().lower()) if item)
        if not axes:
            raise self._refused(raw)
        return axes

    def check(self, answer: Answer) -> Verdict:
        expected = f"[{', '.join(self.answer)}]"
        reasons: tuple[Text, ...] = ()
        if len(answer) != len(self.answer):
            reasons = (
                Text(
                    f"it has {len(self.answer)} axes, you gave {len(answer)}",
                    f"应有 {len(self.answer)} 维，你写了 {len(answer)} 维",
                ),
            )
        return Verdict(answer == self.answer, Text(expected, expected), self.explain, reasons)


@dataclass(frozen=True, kw_only=True)
class SpotQuestion(Question):
    """Which line of `code` is wrong? `reasons` say why another line is right."""

    kind = "spot"
    answer: int
    reasons: Mapping[int, Text]

    @property
    def how(self) -> Text:
        return Text("type the number of the line", "输入行号")

    def parse(self, raw: str, seed: int) -> Answer:  # noqa: ARG002 - lines have no letters
        number = raw.strip()
        if not (number.isdecimal() and 1 <= int(number) <= len(self.code.splitlines())):
            raise self._refused(raw)
        return (str(int(number)),)

    def check(self, answer: Answer) -> Verdict:
        line = int(answer[0])
        reason = self.reasons.get(line)
        expected = self.code.splitlines()[self.answer - 1].strip()
        text = Text(f"line {self.answer}: {expected}", f"第 {self.answer} 行：{expected}")
        return Verdict(line == self.answer, text, self.explain, (reason,) if reason else ())


@dataclass(frozen=True, kw_only=True)
class ExplainQuestion(Question):
    """Explain in your own words, then judge it by the rubric: never marked wrong by a machine."""

    kind = "explain"
    rubric: tuple[Text, ...]

    @property
    def how(self) -> Text:
        return Text("write two or three sentences", "写两三句话")

    def parse(self, raw: str, seed: int) -> Answer:  # noqa: ARG002 - free text has no letters
        if not raw.strip():
            raise self._refused(raw)
        return (raw.strip(),)

    def check(self, answer: Answer) -> Verdict:  # noqa: ARG002 - the person judges, by the rubric
        points = self.rubric
        expected = Text("; ".join(point.en for point in points), "；".join(point.zh for point in points))
        return Verdict(None, expected, self.explain, rubric=points)
