"""One text while it is written: what is chosen from the model's scores, and how it is told."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from minimind.config import SampleConfig
from minimind.data.tokenizer import Tokenizer
from minimind.inference.sample import next_token, token_distribution

Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True, slots=True)
class Token:
    """One step of writing. The last one of a stream has `finish`.

    `text` is what the token completes (a character may take several tokens, so it can be empty). `probability` is the
    model's own for this token, before temperature and filters; `alternatives` are the likeliest tokens of that
    distribution, as labels. `seconds` counts from the request. `attention` has a row for each layer: how much the
    position that predicted this token looked at each earlier one, averaged over heads (only where asked for). A
    cancelled stream ends with a token that has neither id nor probability.
    """

    id: int | None
    text: str
    probability: float | None
    alternatives: tuple[tuple[str, float], ...] = ()
    seconds: float = 0.0
    finish: Finish | None = None
    attention: tuple[tuple[float, ...], ...] = ()


Stream: TypeAlias = Generator[Token, None, None]
"""Tokens as they are written; `close` ends it early."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A token that was guessed. `distribution` [vocabulary] is what it was drawn from; None: it was not drawn."""

    token: int
    distribution: Tensor | None = None


class Writing:
    """A text from its prompt to its end. `take` is called with the scores of each position, in order."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        config: SampleConfig,
        *,
        stop_ids: frozenset[int],
        limit: int,
        top: int = 0,
    ) -> None:
        """At most `limit` tokens are written; each carries the `top` likeliest alternatives."""
        self.tokens = list(prompt)
        """Prompt and what is written."""
        self.finish: Finish | None = None
        self.generator = torch.Generator()
        if config.seed is None:
            self.generator.seed()
        else:
            self.generator.manual_seed(config.seed)
        self._tokenizer = tokenizer
        self._config = config
        self._stop_ids = stop_ids
        self._end = len(prompt) + limit
        self._top = top
        self._history = set(prompt) - stop_ids
        self._decoder = tokenizer.stream_decoder()
        self._began = time.monotonic()

    @property
    def room(self) -> int:
        """How many more tokens may be written."""
        return self._end - len(self.tokens)

    def take(self, logits: Tensor, draft: Draft | None = None, attention: Iterable[Tensor] = ()) -> Token:
        """Choose the next token from `logits` [vocabulary] and say it; `draft` is what was guessed to come here.

        A guess changes nothing about the distribution of what is chosen. `attention` has the weights
        [batch, heads, time, length] of each layer, to be shown with the token. Raises UserError where a score is not a
        number.
        """
        chosen = self._choose(logits, draft)
        self.tokens.append(chosen)
        self._history.add(chosen)
        ended = chosen in self._stop_ids
        self.finish = "stop" if ended else "length" if self.room == 0 else None
        text = ("" if ended else self._decoder.push(chosen)) + (self._decoder.finish() if self.finish else "")
        probability, alternatives = self._distribution(logits, chosen)
        looked = tuple(tuple(layer[0, :, -1].mean(0).tolist()) for layer in attention)
        return Token(chosen, text, probability, alternatives, self._seconds(), self.finish, looked)

    def cancel(self) -> Token:
        """The last token of a text that is broken off."""
        self.finish = "cancelled"
        return Token(None, self._decoder.finish(), None, seconds=self._seconds(), finish="cancelled")

    def _choose(self, logits: Tensor, draft: Draft | None) -> int:
        if draft is None or draft.distribution is None:
            return next_token(logits, self._history, self._config, self.generator)
        target = token_distribution(logits, self._history, self._config)  # [vocabulary]
        return accept_or_replace(target, draft.distribution, draft.token, self.generator)

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _distribution(self, logits: Tensor, chosen: int) -> tuple[float, tuple[tuple[str, float], ...]]:
        probabilities = logits.softmax(0)  # [vocabulary]
        if not self._top:
            return float(probabilities[chosen]), ()
        best = probabilities.topk(min(self._top, len(probabilities)))
        alternatives = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        labelled = tuple((self._tokenizer.token_label(token), share) for token, share in alternatives)
        return float(probabilities[chosen]), labelled


def accept_or_replace(target: Tensor, guess: Tensor, token: int, generator: torch.Generator | None = None) -> int:
    """A draw from `target` [vocabulary], given that `token` was drawn from `guess` [vocabulary].

    `token` itself with probability min(1, target/guess), else a draw from what target has more of than guess: together
    that is exactly target, whatever guess is. Leviathan, Kalman and Matias 2023, "Fast Inference from Transformers via
    Speculative Decoding", section 2.3 and appendix A.1.
    """
    if float(torch.rand(1, generator=generator)) * float(guess[token]) < float(target[token]):
        return token
    rest = (target - guess).clamp(min=0)  # [vocabulary]
    # Rounding may leave nothing where the two are equal.
    return int(torch.multinomial(rest if bool(rest.any()) else target, 1, generator=generator))
