"""``python -m lessons review``: the cards that are due today, and how well each concept is known."""

from __future__ import annotations

import argparse
import secrets

from lessons import cards
from lessons.asking import ask
from lessons.cards import DAILY
from lessons.lesson import load_lessons
from lessons.progress import Progress, changing
from lessons.review import Concept, ReviewItem, concepts, due_items, keep_answer
from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.errors import UserError


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("review", help="answer the cards that are due / 复习到期的卡片")
    parser.add_argument("--most", type=int, default=DAILY, metavar="N", help="cards a day / 每天几张")
    parser.add_argument("--list", action="store_true", help="only say what is due / 只列出该复习什么")
    parser.set_defaults(run=review)


def review(arguments: argparse.Namespace, output: Output) -> int:
    """Ask what is due until it is answered or the input ends, the wrong ones again; then the score by concept."""
    if arguments.most < 1:
        raise UserError("--most is at least 1", "--most 至少是 1")
    lessons = load_lessons()
    progress = Progress.load()
    for note in progress.notes:
        output.say(note)
    due = due_items(progress, lessons, cards.now(), arguments.most)
    data = {"due": [item.question.id for item in due]}
    output.emit(data, output.pick(f"cards due: {len(due)}", f"该复习的卡片：{len(due)} 张"))
    if not arguments.list:
        wrong = _ask_all(due, output, retried=False)
        while wrong:
            output.say(output.pick("once more, those that were wrong:", "答错的再来一次："))
            wrong = _ask_all(wrong, output, retried=True)
    scores = concepts(Progress.load(), lessons, cards.now())
    rows = [(f"  {item.term}", f"{item.right}/{item.asked}", f"{item.recall:.0%}") for item in scores]
    output.emit({"concepts": [_plain(item) for item in scores]}, in_columns(rows))
    return 0


def _ask_all(items: tuple[ReviewItem, ...], output: Output, *, retried: bool) -> tuple[ReviewItem, ...]:
    """Ask these; returns those that were wrong, none when the input ended."""
    wrong = []
    for number, item in enumerate(items, 1):
        recordings = Progress.load().lesson(item.lesson.slug).recordings(item.lesson)
        given = ask(item.question.bind(recordings), f"{number}/{len(items)}", secrets.randbelow(2**31), output)
        if given is None:
            return ()
        answer, correct = given
        with changing() as progress:
            keep_answer(progress, item, answer, correct=correct, retried=retried)
        if not correct:
            wrong.append(item)
    return tuple(wrong)


def _plain(score: Concept) -> dict[str, float | str]:
    return {"term": score.term, "right": score.right, "asked": score.asked, "recall": round(score.recall, 3)}
