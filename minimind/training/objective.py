"""What every training method must offer the loop, and how one is found by name."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from minimind.config import SampleConfig, TrainConfig
from minimind.data.packing import Batch, Position
from minimind.data.shards import DataKind, TokenDataset
from minimind.errors import UserError
from minimind.inference.engine import Engine, Token
from minimind.model.transformer import MiniMind


class Objective(Protocol):
    """A training method. A file in ``minimind/training/objectives`` has one, called ``objective``.

    kind      how its data are prepared
    prompts   what the model is asked now and then while it trains
    """

    @property
    def kind(self) -> DataKind: ...

    @property
    def prompts(self) -> tuple[str, ...]: ...

    def batches(
        self, data: TokenDataset, config: TrainConfig, position: Position | None = None, *, epochs: int | None = None
    ) -> Iterator[Batch]:
        """Micro-batches from `position` on, the same ones however often the run was interrupted."""
        ...

    def loss(self, model: MiniMind, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The mean over the batch's counted tokens, to be minimised, and scalars to record (with ``loss`` in nats)."""
        ...

    def respond(self, engine: Engine, prompt: str, config: SampleConfig) -> Iterator[Token]:
        """What the model makes of one of the `prompts`."""
        ...


def find_objective(name: str) -> Objective:
    """The training method `name`. Raises UserError where there is none."""
    try:
        module = importlib.import_module(f"minimind.training.objectives.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"minimind.training.objectives.{name}":
            raise
        raise UserError(f"objective = {name!r}: no such method", f"objective = {name!r}：没有这种训练方法") from None
    objective: Objective = module.objective
    return objective
