"""Sums, differences and products, with one problem in ten kept out of the training split.

Whether a problem is held out follows from its hash, so that no bookkeeping is needed: a model that answers
held-out problems has learned to calculate, one that answers only the others has learned them by heart.
"""

import hashlib
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

OPERATIONS = ("+", "-", "×")
HELD_OUT_SHARE = 0.10
_NAMES = {
    "+": ("plus", "加"),
    "-": ("minus", "减"),
    "×": ("times", "乘"),
}


class Problem(NamedTuple):
    """`first operation second`; differences are never negative."""

    operation: str
    first: int
    second: int

    @property
    def answer(self) -> int:
        """The value of the expression."""
        if self.operation == "+":
            return self.first + self.second
        return self.first - self.second if self.operation == "-" else self.first * self.second

    @property
    def expression(self) -> str:
        """The problem in digits ("3 + 4")."""
        return f"{self.first} {self.operation} {self.second}"

    def spoken(self, language: str) -> str:
        """The problem with its operation as a word ("3 plus 4", "3加4")."""
        if language == "en":
            return f"{self.first} {_NAMES[self.operation][0]} {self.second}"
        return f"{self.first}{_NAMES[self.operation][1]}{self.second}"


@cache
def held_out(operation: str, first: int, second: int) -> bool:
    """True for the ~10 % of problems that the training split never shows.

    a + b and b + a are one problem, as are a × b and b × a. So are c − a, c − b and a + b = c: a difference is
    judged by the sum it undoes, or the held-out sum could be read off a difference.
    """
    if operation == "-":
        operation, first, second = "+", first - second, second
    low, high = sorted((first, second))
    digest = hashlib.blake2b(f"{operation} {low} {high}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") < HELD_OUT_SHARE * 2**32


def problems(operation: str, limit: int, *, is_held_out: bool) -> Iterator[Problem]:
    """Every problem with operands 0…limit that is (or is not) held out, in a fixed order."""
    for first in range(limit + 1):
        for second in range(first + 1 if operation == "-" else limit + 1):
            if held_out(operation, first, second) == is_held_out:
                yield Problem(operation, first, second)
