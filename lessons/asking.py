"""Asking a question on the command line."""

from __future__ import annotations

import sys
from typing import Any

from lessons.quiz import LETTERS, Answer, ExplainQuestion, MatchQuestion, Question, Verdict
from minimind.commands.output import Output
from minimind.errors import UserError


def ask(bound: Question, place: str, seed: int, output: Output) -> tuple[Answer, bool] | None:
    """Ask one question that is bound to its runs: the answer and whether it was right; None when the input ended."""
    language = output.language
    choices = [choice.text.of(language) for choice in bound.shown(seed)]
    left = [pair.left.of(language) for pair in bound.pairs] if isinstance(bound, MatchQuestion) else []
    lines = [f"{place}  {bound.prompt.of(language)}"]
    lines += [f"{number:>4}  {line}" for number, line in enumerate(bound.code.splitlines(), 1)]
    lines += [f"  {number}  {item}" for number, item in enumerate(left, 1)]
    lines += [f"  {letter}  {choice}" for letter, choice in zip(LETTERS, choices, strict=False)]
    data = {"question": bound.id, "type": bound.kind, "prompt": bound.prompt.of(language), "choices": choices}
    output.emit(data | {"left": left, "code": bound.code}, "\n".join(lines))
    while True:
        output.say(f"({bound.how.of(language)})")
        line = sys.stdin.readline()
        if not line:
            return None
        try:
            answer = bound.parse(line.strip(), seed)
        except UserError as error:
            output.say(error.text)
            continue
        verdict = bound.check(answer)
        correct = verdict.correct if verdict.correct is not None else _judge_oneself(verdict, output)
        _tell_verdict(bound, verdict, correct, output)
        return answer, correct


def _judge_oneself(verdict: Verdict, output: Output) -> bool:
    """Whether the learner says that their explanation covered the rubric."""
    for point in verdict.rubric:
        output.say(f"  - {point.of(output.language)}")
    output.say(output.pick("Did you say all of this? (y/n)", "这些都说到了吗？（y/n）"))
    return sys.stdin.readline().strip().lower() in {"y", "yes", "是"}


def _tell_verdict(question: Question, verdict: Verdict, correct: bool, output: Output) -> None:
    language = output.language
    reasons = [reason.of(language) for reason in verdict.reasons]
    data: dict[str, Any] = {"question": question.id, "correct": correct, "expected": verdict.expected.of(language)}
    data |= {"reasons": reasons, "explanation": verdict.explanation.of(language)}
    lines = [output.pick("✓ right", "✓ 正确") if correct else output.pick("✗ not yet", "✗ 不对")]
    lines += [f"  {reason}" for reason in reasons]
    if not correct and not isinstance(question, ExplainQuestion):
        lines.append(output.pick("  Answer: ", "  答案：") + verdict.expected.of(language))
    output.emit(data, "\n".join([*lines, f"  {verdict.explanation.of(language)}", ""]))
