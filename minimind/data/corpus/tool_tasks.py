"""Questions that are answered with a tool: sums too large to do in the head, and questions about letters.

Each has its calls, what they return (the tools themselves say so), an answer in words and what a right answer holds.
One word in ten, and one pair of operands in ten, stands only in the validation split: a model that is right there has
learned to hand a question to a tool, not to know the answers.
"""

import hashlib
import json
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

from minimind.data.corpus import lexicon
from minimind.data.corpus.arithmetic import OPERATIONS, Problem, held_out
from minimind.data.corpus.dialogues import ask_to_calculate
from minimind.data.corpus.world import Choice
from minimind.events import Language
from minimind.tools.calls import ToolCall
from minimind.tools.toolbox import TOOLS, run_call

_ORDINALS = {
    "en": ("first", "second", "third", "fourth", "fifth"),
    "zh": ("第一", "第二", "第三", "第四", "第五"),
}
DECLARED_SHARE = 0.25
"""Share of the conversations that declare their tools; the others rely on what the model has learned by heart."""


class ToolTask(NamedTuple):
    """A question, the calls that answer it, the answer in words, and what each right answer holds."""

    question: str
    calls: tuple[ToolCall, ...]
    answer: str
    truths: tuple[str, ...]
    language: Language

    @property
    def results(self) -> list[str]:
        """What the calls return."""
        return [run_call(call, self.language).text for call in self.calls]


class _Part(NamedTuple):
    """What is asked for (`asked` stands alone, `joined` after others), its call, and how its result is told."""

    asked: str
    call: ToolCall
    told: Callable[[str], str]


@cache
def _words(language: Language, is_held_out: bool) -> tuple[str, ...]:
    """The words of the lexicon that letters are asked of."""
    tables = (lexicon.SPECIES, lexicon.THINGS, lexicon.FOODS, lexicon.COLORS, lexicon.WEEKDAYS, lexicon.PLACES)
    words = [word.en if language == "en" else word.zh for table in tables for word in table]
    words += [name.text for name in (*lexicon.CHILD_NAMES[language], *lexicon.PET_NAMES[language])]
    chosen = [word for word in dict.fromkeys(words) if len(word) > 1 and " " not in word]
    return tuple(word for word in chosen if (_share(word) < 0.1) == is_held_out)


def _share(text: str) -> float:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") / 2**32


def _problem(choice: Choice) -> Problem:
    """Operands of two to four digits, held out or not as the split wants it."""
    while True:
        operation = choice.pick(("+", "+", "-", "×"))
        if operation == "×":
            first, second = choice.integer(12, 999), choice.integer(12, 99)
        else:
            first, second = sorted((choice.integer(21, 9999), choice.integer(21, 999)), reverse=True)
        if held_out(operation, first, second) == (choice.split != "train"):
            return Problem(operation, first, second)


def _sum(choice: Choice) -> _Part:
    problem = _problem(choice)
    spoken = problem.expression if choice.chance(0.5) else problem.spoken(choice.language)
    asked = f"what is {spoken}" if choice.language == "en" else f"{spoken}等于多少"
    expression = problem.expression.replace("×", "*")
    return _Part(
        asked, ToolCall("calculator", {"expression": expression}), lambda result: f"{problem.expression} = {result}"
    )


def _letters(choice: Choice) -> _Part:
    """A question about the letters of a word."""
    english = choice.language == "en"
    ask = choice.pick((_length, _reverse, _count, _letter, _upper))
    if ask is _upper:  # there are no capital letters in Chinese: the word is an English one
        return ask(choice, choice.pick(_words("en", choice.split != "train")), english)
    return ask(choice, choice.pick(_words(choice.language, choice.split != "train")), english)


def _length(_: Choice, word: str, english: bool) -> _Part:
    return _Part(
        f'how many letters are in "{word}"' if english else f"“{word}”有几个字",
        ToolCall("length", {"text": word}),
        lambda result: f'"{word}" has {result} letters' if english else f"“{word}”有{result}个字",
    )


def _reverse(_: Choice, word: str, english: bool) -> _Part:
    return _Part(
        f'what is "{word}" backwards' if english else f"“{word}”倒过来怎么写",
        ToolCall("reverse", {"text": word}),
        lambda result: f'"{word}" backwards is {result}' if english else f"“{word}”倒过来是{result}",
    )


def _count(choice: Choice, word: str, english: bool) -> _Part:
    letter = word[choice.integer(0, len(word) - 1)]
    return _Part(
        f'how often is "{letter}" in "{word}"' if english else f"“{word}”里有几个“{letter}”",
        ToolCall("count", {"text": word, "part": letter}),
        lambda result: f'"{letter}" is in "{word}" {result} times' if english else f"“{word}”里有{result}个“{letter}”",
    )


def _letter(choice: Choice, word: str, english: bool) -> _Part:
    place = choice.integer(1, min(len(word), len(_ORDINALS["en"])))
    ordinal = _ORDINALS["en" if english else "zh"][place - 1]
    return _Part(
        f'what is the {ordinal} letter of "{word}"' if english else f"“{word}”的{ordinal}个字是什么",
        ToolCall("letter", {"text": word, "position": place}),
        lambda result: f'the {ordinal} letter of "{word}" is "{result}"' if english else f"{ordinal}个字是“{result}”",
    )


def _upper(_: Choice, word: str, english: bool) -> _Part:
    return _Part(
        f'what is "{word}" in capital letters' if english else f"“{word}”用大写怎么写",
        ToolCall("upper", {"text": word}),
        lambda result: f'"{word}" in capital letters is {result}' if english else f"“{word}”用大写是{result}",
    )


def sum_task(choice: Choice) -> ToolTask:
    """A calculation with numbers of two digits, asked for as in any conversation.

    That is more than a small model can do in its head, and less than fine-tuning has shown it to call a tool for.
    """
    while True:
        first, second = sorted((choice.integer(12, 99), choice.integer(12, 99)), reverse=True)
        problem = Problem(choice.pick(OPERATIONS), first, second)
        if held_out(*problem) == (choice.split != "train"):
            break
    call = ToolCall("calculator", {"expression": problem.expression.replace("×", "*")})
    ending = "." if choice.language == "en" else "。"
    answer = f"{problem.expression} = {problem.answer}{ending}"
    return ToolTask(ask_to_calculate(choice, problem), (call,), answer, (str(problem.answer),), choice.language)


def tool_task(choice: Choice) -> ToolTask:
    """A question, or in one case of eight two of them at once."""
    english = choice.language == "en"
    parts = [choice.pick((_sum, _letters))(choice) for _ in range(2 if choice.chance(0.125) else 1)]
    asked = (", and " if english else "，").join(part.asked for part in parts)
    calls = tuple(part.call for part in parts)
    results = [run_call(call).text for call in calls]
    truths = tuple(_truth(call, result, choice.language) for call, result in zip(calls, results, strict=True))
    told = (", and " if english else "，").join(part.told(result) for part, result in zip(parts, results, strict=True))
    ending = "" if told.endswith(("。", ".")) else "." if english else "。"
    return ToolTask(
        _sentence(asked) + ("?" if english else "？"), calls, _sentence(told) + ending, truths, choice.language
    )


def _truth(call: ToolCall, result: str, language: Language) -> str:
    """What a right answer holds: the result; a single letter, which stands in many words, with its quotation marks."""
    if call.name != "letter":
        return result
    return f'"{result}"' if language == "en" else f"“{result}”"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def messages(choice: Choice, task: ToolTask, declared_share: float = DECLARED_SHARE) -> list[dict[str, Any]]:
    """The question as a conversation; a share of them declares the tools it needs and one more."""
    asked: list[dict[str, Any]] = [{"role": "user", "content": task.question}]
    if not choice.chance(declared_share):
        return asked
    names = dict.fromkeys([call.name for call in task.calls] + [choice.pick(tuple(TOOLS))])
    declarations = [TOOLS[name].declaration(task.language) for name in choice.sample(tuple(names), len(names))]
    system = "Use a tool where it helps." if task.language == "en" else "需要时请使用工具。"
    return [{"role": "system", "content": system, "tools": json.dumps(declarations, ensure_ascii=False)}, *asked]


def solved(asked: list[dict[str, Any]], task: ToolTask) -> list[dict[str, Any]]:
    """The conversation `asked`, continued with the calls, what they return and the answer."""
    calls = [{"name": call.name, "arguments": call.arguments} for call in task.calls]
    called = {"role": "assistant", "content": "", "tool_calls": json.dumps(calls, ensure_ascii=False)}
    results = [{"role": "tool", "content": result} for result in task.results]
    said = {"role": "assistant", "content": task.answer}
    return [*asked, called, *results, said]
