"""Reading ahead: guess the next few tokens cheaply, let the model check all of them in one step.

A step reads every weight once however many positions it checks, so a right guess is a token for nearly nothing. What
is written stays what the model would have written: the same tokens when greedy, the same distribution when drawn
(`writing.accept_or_replace`). Guesses come from the text itself (`PromptLookup`) or from a smaller model
(`DraftModel`). Leviathan, Kalman and Matias 2023, "Fast Inference from Transformers via Speculative Decoding"; Saxena
2023, "Prompt Lookup Decoding".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from minimind.config import SampleConfig
from minimind.errors import UserError
from minimind.inference.sample import token_distribution
from minimind.inference.writing import Draft, Writing

if TYPE_CHECKING:
    from minimind.inference.engine import Engine

DRAFTS = 5
"""Guesses checked at once: with more, products are no longer limited by reading weights."""
LONGEST_NGRAM, SHORTEST_NGRAM = 3, 2


class Proposer(Protocol):
    """Guesses how a text goes on."""

    def propose(
        self, tokens: Sequence[int], most: int, config: SampleConfig, generator: torch.Generator
    ) -> list[Draft]:
        """At most `most` guesses for what follows `tokens`, one after the other; none where it has no idea."""
        ...


class PromptLookup:
    """Guesses that a few tokens which occurred before go on as they did then: names, quotations, code, repetition."""

    def __init__(self) -> None:
        self._read: list[int] = []
        self._places: dict[tuple[int, ...], int] = {}

    def propose(
        self,
        tokens: Sequence[int],
        most: int,
        config: SampleConfig,  # noqa: ARG002 (a proposer's signature)
        generator: torch.Generator,  # noqa: ARG002
    ) -> list[Draft]:
        """What followed the latest earlier occurrence of the last 3 (else 2) tokens."""
        self._follow(tokens)
        for length in range(LONGEST_NGRAM, SHORTEST_NGRAM - 1, -1):
            place = self._places.get(tuple(tokens[-length:])) if len(tokens) > length else None
            if place is not None:
                return [Draft(token) for token in tokens[place : place + most]]
        return []

    def _follow(self, tokens: Sequence[int]) -> None:
        """Note for each n-gram before the last token where it goes on; of several occurrences, the latest."""
        known = len(self._read)
        if list(tokens[:known]) != self._read:
            self._read, self._places, known = [], {}, 0
        for end in range(max(known, 1), len(tokens)):
            for length in range(SHORTEST_NGRAM, min(LONGEST_NGRAM, end) + 1):
                self._places[tuple(tokens[end - length : end])] = end
        self._read = list(tokens)


class DraftModel:
    """Guesses by a smaller model that was trained with the same tokenizer."""

    def __init__(self, draft: Engine, target: Engine) -> None:
        """`draft` guesses for `target`. Raises UserError where their tokenizers differ."""
        if draft.tokenizer.sha256 != target.tokenizer.sha256:
            raise UserError(
                "the draft model has another tokenizer than the model: use one that was trained with the same",
                "草稿模型的分词器与目标模型不同：请换用同一分词器训练的模型",
            )
        self._engine = draft

    def propose(
        self, tokens: Sequence[int], most: int, config: SampleConfig, generator: torch.Generator
    ) -> list[Draft]:
        """Draws of the smaller model, by the same settings."""
        text, drafts = list(tokens), []
        for _ in range(min(most, self._engine.context - len(text))):
            logits = self._engine.scores(text)  # [vocabulary]
            distribution = token_distribution(logits, text, config)  # [vocabulary]
            drawn = int(torch.multinomial(distribution, 1, generator=generator))
            drafts.append(Draft(drawn, distribution))
            text.append(drawn)
        return drafts


class Lookahead:
    """The guesses for one text and the scores that the model has for them already."""

    def __init__(self, engine: Engine, writing: Writing, proposer: Proposer | None, config: SampleConfig) -> None:
        self._engine = engine
        self._writing = writing
        self._proposer = proposer
        self._config = config
        self._drafts: list[Draft] = []
        self._scores: list[Tensor] = []  # after each guess that may still hold, [vocabulary] each
        self.proposed = 0
        self.accepted = 0

    @property
    def draft(self) -> Draft | None:
        """The guess for the position that is chosen next."""
        return self._drafts[0] if self._drafts else None

    def advance(self) -> Tensor:
        """The scores [vocabulary] after the token that was just written: known, if it was the guess, else computed."""
        chosen = self._writing.tokens[-1]
        if self._drafts and self._drafts.pop(0).token == chosen:
            self.accepted += 1
        else:
            self._drafts, self._scores = [], []
        if not self._scores:
            self._drafts = self._guess()
            self._engine.rewind(len(self._writing.tokens) - 1)
            guessed = [draft.token for draft in self._drafts]
            self._scores = list(self._engine.read([chosen, *guessed]))
        return self._scores.pop(0)  # [vocabulary]

    def _guess(self) -> list[Draft]:
        most = min(DRAFTS, self._writing.room - 1)
        if self._proposer is None or most < 1:
            return []
        drafts = self._proposer.propose(self._writing.tokens, most, self._config, self._writing.generator)
        self.proposed += len(drafts)
        return drafts
