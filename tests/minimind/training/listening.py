"""A recorder that keeps what it hears."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from minimind.events import Event, Mark, Scalars
from minimind.training.control import Control
from minimind.training.loop import Trainer

TRAINED = "TRAINED"
METHODS: dict[str, dict[str, Any]] = {
    "pretrain": {"objective": "pretrain"},
    "sft": {"objective": "sft"},
    "sft-lora": {"objective": "sft", "model": TRAINED, "tune": "lora", "learning_rate": 0.05},
    "dpo": {"objective": "dpo", "sequence_length": 128, "learning_rate": 1e-3},
    "dpo-lora": {"objective": "dpo", "model": TRAINED, "tune": "lora", "sequence_length": 128},
    "distillation": {"objective": "distillation", "teacher": TRAINED},
}
_SAMPLING: dict[str, Any] = {"batch_size": 2, "group_size": 3, "max_new_tokens": 6}
METHODS_WITH_SAMPLING: dict[str, dict[str, Any]] = {
    "ppo": {"objective": "ppo", "batch_size": 2, "minibatches": 2, "max_new_tokens": 6},
    "tools": {"objective": "tools", "data": ("embedded-tools",), "sequence_length": 200, **_SAMPLING},
}
"""Settings of each method without sampling, and of those with it that need others; the fixtures put the path of a model in the place of TRAINED."""


def needs(objective: str) -> dict[str, Any]:
    """The settings with which the method `objective` can be tried on the tiny model."""
    return (METHODS | METHODS_WITH_SAMPLING).get(objective, {"objective": objective, **_SAMPLING})


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

    def learning_rates(self, step: int) -> list[float]:
        """Those of every update that led to `step`: more than one where the run went back."""
        return [
            event.values["learning_rate"]
            for event in self.events
            if isinstance(event, Scalars) and event.x == step and "learning_rate" in event.values
        ]

    def marks(self, what: str) -> list[int]:
        return [event.step for event in self.events if isinstance(event, Mark) and event.what == what]


class MakeTrainer(Protocol):
    def __call__(self, checkpoints: Path | None = None, **settings: Any) -> tuple[Trainer, Listener]: ...


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    """A copy of the weights and of the optimiser's state."""
    optimizer = trainer.updater.optimizer
    named = dict(optimizer.model.named_parameters()) | optimizer.state_tensors()
    return {name: tensor.detach().clone() for name, tensor in named.items()}


def assert_same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> None:
    """To the last bit."""
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def stop_after(step: int) -> Callable[[int], Control]:
    """The wish to stop from `step` on."""
    return lambda now: Control(want="stop" if now >= step else "run")
