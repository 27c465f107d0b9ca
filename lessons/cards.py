"""When something learned should be asked again: one review card each, scheduled by FSRS. No torch, no terminal.

The schedule is that of the library ``fsrs`` (Free Spaced Repetition Scheduler, Open Spaced Repetition) for a chance of
0.9 to remember, without its steps of minutes: what was answered today is never due again before tomorrow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from fsrs import Card, Rating, Scheduler
from fsrs.card import CardDict

RETENTION = 0.9
"""The share of cards that should still be known on the day they are due."""
DAILY = 15
"""How many cards are asked in a day, unless somebody wants more."""
_SCHEDULER = Scheduler(desired_retention=RETENTION, learning_steps=(), relearning_steps=(), enable_fuzzing=False)


@dataclass(frozen=True, slots=True)
class ReviewCard:
    """What FSRS knows of one question, and whether the latest answer was right."""

    card: Card
    right: bool

    @property
    def due(self) -> datetime:
        """When it should be asked again."""
        return self.card.due

    def is_due(self, when: datetime) -> bool:
        """Whether it should be asked on the day of `when`, as the calendar here has it."""
        return self.card.due.astimezone().date() <= when.astimezone().date()

    def recall(self, when: datetime) -> float:
        """The chance that it is remembered at `when`, 0…1."""
        return float(_SCHEDULER.get_card_retrievability(self.card, when))

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {**self.card.to_dict(), "right": self.right}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ReviewCard:
        """The inverse of `to_dict`. Raises KeyError, TypeError or ValueError for something else."""
        return cls(Card.from_dict(cast("CardDict", data)), bool(data["right"]))


def rated(before: ReviewCard | None, *, correct: bool, retried: bool, when: datetime) -> ReviewCard:
    """The card after an answer: wrong is FSRS's *again*, right is *good*, right after a wrong try is *hard*."""
    rating = Rating.Again if not correct else Rating.Hard if retried else Rating.Good
    card = Card(card_id=0, due=when) if before is None else before.card
    card, _ = _SCHEDULER.review_card(card, rating, when)
    return ReviewCard(card, correct)


def now() -> datetime:
    """The time, as FSRS wants it."""
    return datetime.now(UTC)
