"""What every training method offers the loop, and how one is found by name."""

from __future__ import annotations

import importlib
import itertools
import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from minimind.config import SampleConfig, TrainConfig
from minimind.data import packing, shards
from minimind.data.packing import IGNORED, Batch, Position
from minimind.data.shards import DataKind, Prepared, ReportProgress, TokenDataset
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.events import Event, Text
from minimind.inference.engine import Engine, Token
from minimind.model.transformer import MiniMind
from minimind.training.acceleration import Precision
from minimind.training.evaluate import first_tokens, held_out


@dataclass(frozen=True, slots=True)
class Setting:
    """What a method finds when a run begins: `model` (float32, on `device`) is the one that is trained and saved.

    `precision` is how it computes: a frozen model beside it computes alike.
    """

    config: TrainConfig
    model: MiniMind
    tokenizer: Tokenizer
    precision: Precision

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.precision.device


class Objective(ABC):
    """A training method, made anew for each run. A file in ``minimind/training/objectives`` has one: ``objective``.

    kind      how its data are prepared
    prompts   what the model is asked now and then while it trains
    rows_together   how many successive rows of a batch must stay together where several processes share it
    """

    kind: DataKind
    prompts: tuple[str, ...]
    rows_together: int = 1

    def prepare(self, setting: Setting) -> None:
        """Make ready what the method needs besides the model (a frozen reference, a teacher, a critic).

        Called once, before there is an optimiser; may change which of the model's parameters require a gradient.
        Raises UserError for what is missing or does not fit.
        """
        del setting  # most methods need nothing else

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """Float32 parameters trained beside the model's, by names of their own; saved and resumed with the run."""
        return {}

    def prepare_data(
        self,
        config: TrainConfig,
        tokenizer: Tokenizer,
        *,
        cache: Path,
        embedded_bytes: int | None = None,
        progress: ReportProgress | None = None,
    ) -> Prepared:
        """The data of a run, in the form that `batches` takes; arguments as in `build_job`. Raises UserError."""
        return shards.prepare(
            config.data,
            tokenizer,
            kind=self.kind,
            cache_directory=cache,
            embedded_bytes=embedded_bytes or round(config.data_megabytes * 1e6),
            allow_bad=config.allow_bad,
            progress=progress,
        )

    def fit_batch_size(self, data: TokenDataset, config: TrainConfig) -> tuple[int, Text | None]:
        """The batch size to use, and a note where that is not the one asked for."""
        return packing.fit_batch_size(data, config.batch_size, config.sequence_length)

    def updates_per_epoch(self, data: TokenDataset, config: TrainConfig) -> float:
        """How many updates it takes to go through the data once."""
        batches = list(itertools.islice(self.batches(data, config, epochs=1), 8))
        read = statistics.fmean(batch.useful_tokens for batch in batches) * config.accumulation_steps
        return (data.token_count - len(data)) / read

    def epochs(self, data: TokenDataset, tokens: int, position: Position | None) -> float:
        """How often the data were gone through when `tokens` were trained on and the data go on at `position`."""
        del position
        return tokens / max(data.token_count, 1)

    @abstractmethod
    def batches(
        self, data: TokenDataset, config: TrainConfig, position: Position | None = None, *, epochs: int | None = None
    ) -> Iterator[Batch]:
        """Micro-batches from `position` on, the same ones however often the run was interrupted."""

    def weight(self, batch: Batch) -> float:
        """What a micro-batch counts beside others of the same update, and in a mean over held-out ones."""
        return float((batch.labels != IGNORED).sum())

    @abstractmethod
    def loss(self, model: MiniMind, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The mean over what `weight` counts, to be minimised, and scalars to record (with ``loss``)."""

    @abstractmethod
    def respond(self, engine: Engine, prompt: str, config: SampleConfig) -> Iterator[Token]:
        """What the model makes of one of the `prompts`."""

    def evaluated(self, batch: Batch) -> float:
        """What a held-out batch counts towards ``evaluation_tokens``."""
        return self.weight(batch)

    def validation(self, data: TokenDataset, config: TrainConfig) -> Sequence[Batch]:
        """What `evaluate` measures on, the same throughout a run."""
        return first_tokens(self.batches(data, config, epochs=1), config.evaluation_tokens, self.evaluated)

    def evaluate(self, model: MiniMind, batches: Sequence[Batch]) -> dict[str, float]:
        """How good the model is on data it is not trained on; ``validation_loss``, lower is better, is among it."""
        result = held_out(model, self, batches)
        return {"validation_loss": result.loss, "validation_bits_per_byte": result.bits_per_byte}

    def updated(self, scalars: Mapping[str, float]) -> None:
        """Hear what an update was: the scalars of `loss`, weighed over its micro-batches and all processes."""
        del scalars

    def state_tensors(self) -> dict[str, Tensor]:
        """What the method must remember besides its parameters (its generator, a rollout in use)."""
        return {}

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state_tensors` gave; called before `batches` is asked for the batches after a checkpoint."""
        del tensors

    def events(self, step: int) -> Iterator[Event]:
        """What is worth telling after update `step` besides scalars (texts with their rewards)."""
        del step
        yield from ()


def find_objective(name: str) -> Objective:
    """A fresh instance of the training method `name`. Raises UserError where there is none."""
    try:
        module = importlib.import_module(f"minimind.training.objectives.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"minimind.training.objectives.{name}":
            raise
        raise UserError(f"objective = {name!r}: no such method", f"objective = {name!r}：没有这种训练方法") from None
    made: Objective = module.objective()
    return made
