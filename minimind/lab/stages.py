"""Several trainings in one experiment, with one progress from beginning to end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from minimind.events import Event, Progress

Result = TypeVar("Result")


def stage(run: Generator[Event, None, Result], number: int, count: int) -> Generator[Event, None, Result]:
    """`run` as the `number`-th of `count` equal stages, from 0: its progress fills that part of the whole."""
    while True:
        try:
            event = next(run)
        except StopIteration as end:
            result: Result = end.value
            return result
        if isinstance(event, Progress) and event.total:
            event = Progress(number + event.done / event.total, count, event.label)
        yield event
