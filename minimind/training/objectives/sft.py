"""Supervised fine-tuning: learn to answer from conversations, by predicting what the assistant says in them."""

from __future__ import annotations

from collections.abc import Iterator

from minimind.config import SampleConfig
from minimind.data.corpus import FIXED_QUESTIONS
from minimind.data.shards import DataKind
from minimind.inference.engine import Engine, Token
from minimind.training.objectives.pretrain import Pretrain


class FineTune(Pretrain):
    """-mean log p(token | the conversation before it), over the tokens that an assistant wrote and nothing else.

    The prepared data carry that mask as labels of -100; the loss itself is that of pretraining.
    Ouyang et al. 2022, "Training language models to follow instructions with human feedback", section 3.5.
    """

    kind: DataKind = "sft"
    prompts = FIXED_QUESTIONS

    def respond(self, engine: Engine, prompt: str, config: SampleConfig) -> Iterator[Token]:
        """Answer the prompt as the user's turn of a conversation."""
        return engine.chat([{"role": "user", "content": prompt}], config)


objective = FineTune
