"""``python -m lessons mine`` and ``exercise NAME use``: train a small model with the parts one has written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from lessons.exercise import Exercise
from lessons.lesson import load_lessons
from lessons.part_runner import outcome, train_with_parts, usable_parts
from lessons.progress import Progress
from minimind.commands.output import Output
from minimind.errors import UserError
from minimind.events import Alert, Claim, Event, Note, Table, to_dict


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("mine", help="train with all the parts you wrote / 用你写的全部部件训练")
    parser.set_defaults(run=train_mine)


def train_mine(_arguments: argparse.Namespace, output: Output) -> int:
    """Put every part that passed into one model and train it beside ours. Raises UserError where there is none."""
    exercises = usable_parts(load_lessons(), Progress.load())
    if not exercises:
        raise UserError(
            "no exercise with a part for the model has passed yet: python -m lessons list shows them",
            "还没有通过任何能装进模型的练习：用 python -m lessons list 查看",
        )
    return train(exercises, output, together=True)


def train(exercises: Sequence[Exercise], output: Output, *, together: bool) -> int:
    """Train and tell; exit status 1 where the curves part or something stopped it."""
    kept: list[Event] = []
    for event in train_with_parts(exercises, together=together):
        if output.as_json:
            output.emit(to_dict(event), "")
        elif isinstance(event, (Note, Alert)):
            output.say(event.text)
        if isinstance(event, (Claim, Table, Alert)):
            kept.append(event)
    said = outcome(kept)
    if said is not None and not output.as_json:
        output.emit({}, said)
    return 0 if any(isinstance(event, Claim) and event.holds for event in kept) else 1
