"""Pretraining: predict every next token of raw text."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from minimind.config import SampleConfig, TrainConfig
from minimind.data import packing
from minimind.data.corpus import FIXED_PROMPTS
from minimind.data.packing import Batch, Position
from minimind.data.shards import DataKind, TokenDataset
from minimind.inference.engine import Engine, Token
from minimind.model.transformer import MiniMind
from minimind.training.loss import next_token_loss
from minimind.training.objective import Objective


class Pretrain(Objective):
    """-mean log p(token | the tokens before it in its document), over all tokens and the end of the text.

    Bengio et al. 2003, "A Neural Probabilistic Language Model", section 2; Radford et al. 2018, equation 1.
    """

    kind: DataKind = "pretrain"
    prompts = FIXED_PROMPTS

    def batches(
        self, data: TokenDataset, config: TrainConfig, position: Position | None = None, *, epochs: int | None = None
    ) -> Iterator[Batch]:
        """Rows packed with whole documents; see `packing.batches`."""
        return packing.batches(data, config.batch_size, config.sequence_length, config.seed, position, epochs=epochs)

    def loss(self, model: MiniMind, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The cross-entropy of the next token."""
        return next_token_loss(model, batch)

    def respond(self, engine: Engine, prompt: str, config: SampleConfig) -> Iterator[Token]:
        """Continue the prompt as text."""
        return engine.complete(prompt, config)


objective = Pretrain
