"""A small model, a little data and a recorder that listens, for all tests of the loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from minimind.config import MODEL_PRESETS, PRESET_TOKENIZERS, ModelConfig, TrainConfig
from minimind.events import Event, Mark, Scalars
from minimind.training import checkpoint, loop
from minimind.training.control import Control
from minimind.training.loop import Job, Trainer
from minimind.training.prepare import build_job

TINY = ModelConfig(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=64,
    vocab_size=2048,
    max_position_embeddings=512,
    dropout=0.1,
)
SETTINGS: dict[str, Any] = {
    "model": "tiny",
    "data_megabytes": 0.03,
    "batch_size": 2,
    "sequence_length": 64,
    "evaluation_tokens": 200,
    "evaluate_every": 4,
    "sample_every": 100_000,
    "save_every": 5,
    "steps": 12,
    "dtype": "float32",
    "device": "cpu",
}


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


@pytest.fixture(scope="session")
def token_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenised data that all tests share."""
    return tmp_path_factory.mktemp("tokens")


@pytest.fixture
def make_job(token_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """Build a job with the tiny model and `SETTINGS`, changed by the arguments."""
    monkeypatch.setitem(MODEL_PRESETS, "tiny", TINY)
    monkeypatch.setitem(PRESET_TOKENIZERS, "tiny", "nano-2048")
    monkeypatch.setattr(loop, "SAMPLE_TOKENS", 3)

    def make(start: Path | None = None, **settings: Any) -> Job:
        return build_job(TrainConfig.from_dict(SETTINGS | settings), cache=token_cache, start=start)[0]

    return make


@pytest.fixture
def make_trainer(make_job: Callable[..., Job]) -> MakeTrainer:
    """Build a trainer of such a job; it goes on from the newest checkpoint in `checkpoints` if there is one."""

    def make(checkpoints: Path | None = None, **settings: Any) -> tuple[Trainer, Listener]:
        listener = Listener()
        start = checkpoint.latest(checkpoints) if checkpoints else None
        job = make_job(start, **settings)
        trainer = Trainer(job, listener, checkpoints, steps=job.config.steps or 1)
        if start is not None:
            trainer.resume(start)
        return trainer, listener

    return make
