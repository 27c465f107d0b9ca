"""The processes that train one run together: what one of them has to ask the others. Alone, every answer is its own.

Each process holds the whole model and computes the gradient of its own rows of every batch; the gradients are summed
and all take the same update. So every decision has to be the same everywhere: one that depends on a clock, a disk, a
signal or a file is asked of the first process (`of_first`, `by_first`, `agree`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from minimind.training.control import Control

Json = TypeVar("Json")
"""Anything that JSON carries: None, bool, int, float, str, lists and dictionaries of them; tuples arrive as lists."""
Result = TypeVar("Result")


class StoppedEarly(Exception):
    """The run was told to stop before its first step."""


class Group:
    """A run's processes as one of them sees them; this class is a process that trains alone.

    rank     0 … size-1: which one this is; the first one records, evaluates and saves
    size     how many there are
    """

    rank = 0
    size = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that records, evaluates and saves."""
        return self.rank == 0

    def of_first(self, value: Json) -> Json:
        """The first process's `value`."""
        return value

    def by_first(self, work: Callable[[], Json]) -> Json:
        """What `work` returns in the first process; the others do not do it. A UserError is raised in all of them."""
        return work()

    def agree(self, control: Control, stop: bool) -> Control:
        """The first process's wishes; with want = "stop" where any process was told to `stop`."""
        return control._replace(want="stop") if stop else control

    def total(self, value: float) -> float:
        """The sum of every process's `value`."""
        return value

    def total_scalars(self, scalars: Mapping[str, float]) -> dict[str, float]:
        """The sums, by name, of every process's `scalars`."""
        return dict(scalars)

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace the gradient of each parameter by the sum of all processes' gradients of it."""

    def vary(self, seed: int, step: int) -> None:
        """Let the processes' dropout differ: those after the first draw update `step`'s from a generator of its own."""

    def in_turn(self, work: Callable[[], Result]) -> Result:
        """What `work` returns; the first process does it before the others, who find its files then."""
        return work()

    def begin(self) -> None:
        """From now on a process that stands still is ended."""

    def leave(self) -> None:
        """The work is done: nothing is exchanged any more."""
