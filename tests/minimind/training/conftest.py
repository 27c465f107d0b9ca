"""A small model, a little data and a recorder that listens, for all tests of the loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from minimind.config import MODEL_PRESETS, PRESET_TOKENIZERS, ModelConfig, TrainConfig
from minimind.data import tasks
from minimind.data.tokenizer import Tokenizer
from minimind.model.files import model_files
from minimind.model.transformer import MiniMind
from minimind.training import checkpoint, loop
from minimind.training.job import Job
from minimind.training.loop import Trainer
from minimind.training.prepare import build_job, tokenizer_files
from tests.minimind.training.listening import TRAINED, Listener, MakeTrainer

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
    "max_new_tokens": 8,
    "evaluation_tokens": 200,
    "evaluate_every": 4,
    "sample_every": 100_000,
    "save_every": 5,
    "steps": 12,
    "dtype": "float32",
    "device": "cpu",
}


@pytest.fixture(scope="session")
def token_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tokenised data that all tests share."""
    return tmp_path_factory.mktemp("tokens")


@pytest.fixture(scope="session")
def trained_tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a model of the tiny architecture, as something to start from or to learn from."""
    torch.manual_seed(7)
    model = MiniMind(TINY)
    files = model_files(model, {"objective": "sft"}) | dict(tokenizer_files(Tokenizer.load("nano-2048")))
    directory = tmp_path_factory.mktemp("models") / "tiny"
    checkpoint.write_directory(directory, files, step=1)
    return directory


@pytest.fixture
def make_job(token_cache: Path, trained_tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """Build a job with the tiny model and `SETTINGS`, changed by the arguments."""
    monkeypatch.setitem(MODEL_PRESETS, "tiny", TINY)
    monkeypatch.setitem(PRESET_TOKENIZERS, "tiny", "nano-2048")
    monkeypatch.setattr(loop, "SAMPLE_TOKENS", 3)
    monkeypatch.setattr(tasks, "_TRAIN", 256)
    monkeypatch.setattr(tasks, "_VALIDATION", 64)

    def make(start: Path | None = None, **settings: Any) -> Job:
        settings |= {name: str(trained_tiny) for name, value in settings.items() if value == TRAINED}
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
