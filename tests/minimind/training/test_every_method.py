"""What every training method must survive: being stopped and resumed, also around a return to an earlier checkpoint.

A method joins as soon as its name stands in OBJECTIVES; `listening.METHODS` has what it needs on the tiny model.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from minimind.config import OBJECTIVES
from minimind.training import rollouts, tool_episodes
from minimind.training.loop import Trainer
from minimind.training.update import Update
from tests.minimind.training.listening import Listener, MakeTrainer, assert_same, needs, stop_after, weights

STEPS = 7
SETTINGS: dict[str, Any] = {
    "steps": STEPS,
    "save_every": 2,
    "evaluate_every": 4,
    "evaluation_tokens": 64,
    "keep_checkpoints": 1,
}


@pytest.fixture(autouse=True)
def rewards_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that has learned nothing gets the same reward for everything: these are for the letters it writes."""

    def letters(_what: object, said: object) -> dict[str, float]:
        text = said if isinstance(said, str) else getattr(said, "answer", "")
        return {"letters": float(sum(map(ord, text)) % 101), "others": 0.0}

    monkeypatch.setattr(rollouts, "reward_parts", letters)
    monkeypatch.setattr(tool_episodes, "tool_reward_parts", letters)


def go_astray(trainer: Trainer) -> None:
    """Let the updates to steps 4, 5 and 6 count as not finite, until the run has gone back."""
    real = trainer.updater.update

    def update(step: int, steps: int) -> Update:
        made = real(step, steps)
        astray = step in (3, 4, 5) and trainer.state.guards.rollbacks == 0
        return made._replace(applied=False, weight=1.0, gradient_norm=math.nan) if astray else made

    trainer.updater.update = update  # type: ignore[method-assign]


def all_of(trainer: Trainer) -> dict[str, Tensor]:
    """Weights, optimiser, and what the method trains and remembers beside them."""
    extra = {name: value.detach().clone() for name, value in trainer.updater.optimizer.extra.items()}
    return weights(trainer) | extra | trainer.job.objective.state_tensors()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_going_back_and_resuming_give_the_same_bits(objective: str, make_trainer: MakeTrainer, tmp_path: Path) -> None:
    """Stopped amid the updates that go astray and after going back: weights, generators, rollouts, curves and state."""

    more = {"updates_per_rollout": 2} if objective == "tools" else {}  # then it is stopped within a rollout too

    def make(name: str) -> tuple[Trainer, Listener]:
        trainer, listener = make_trainer(tmp_path / name, **needs(objective) | SETTINGS | more)
        go_astray(trainer)
        return trainer, listener

    straight, heard = make("straight")
    before = weights(straight)
    assert straight.run().outcome == "finished"
    assert heard.marks("rolled-back") == [2]
    curves: dict[str, dict[int, float]] = {"loss": {}, "validation_loss": {}, "reward": {}, "validation_reward": {}}
    for when in ("amid", "after", "never"):  # the bad updates it is stopped
        trainer, listener = make("interrupted")
        listener.wish = stop_after_going_back(trainer) if when == "after" else stop_after(5 if when == "amid" else 99)
        trainer.run()
        for name, values in curves.items():
            values |= listener.series(name)
        random.seed(0)
        torch.manual_seed(0)
    assert curves == {name: heard.series(name) for name in curves}
    assert_same(all_of(trainer), all_of(straight))
    assert trainer.state.guards == straight.state.guards
    assert trainer.state.position == straight.state.position
    assert any(not torch.equal(tensor, before[name]) for name, tensor in weights(straight).items() if name in before)


def stop_after_going_back(trainer: Trainer) -> Any:
    return lambda _step: stop_after(0 if trainer.state.guards.rollbacks else 99)(1)
