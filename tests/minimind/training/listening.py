"""A recorder that keeps what it hears."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from minimind.events import Event, Mark, Scalars
from minimind.training.control import Control
from minimind.training.loop import Trainer


class Listener:
    """Keeps what is recorded; answers with the wishes that a test sets."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.wish: Callable[[int], Control] = lambda step: Control()
        self.synced = 0

    def record(self, event: Event) -> None:
        self.events.append(event)

    def control(self) -> Control:
        return self.wish(self.step)

    def sync(self) -> None:
        self.synced += 1

    @property
    def step(self) -> int:
        return max((int(event.x) for event in self.events if isinstance(event, Scalars)), default=0)

    def series(self, name: str) -> dict[int, float]:
        """The recorded values of one curve by step."""
        return {
            int(event.x): event.values[name]
            for event in self.events
            if isinstance(event, Scalars) and name in event.values
        }

    def marks(self, what: str) -> list[int]:
        return [event.step for event in self.events if isinstance(event, Mark) and event.what == what]


class MakeTrainer(Protocol):
    def __call__(self, checkpoints: Path | None = None, **settings: Any) -> tuple[Trainer, Listener]: ...
