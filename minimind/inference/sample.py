"""From scores to the next token: a few pure functions on a vector of logits, applied one after the other.

Each takes logits [vocabulary] and returns logits [vocabulary]; a token that is ruled out has -inf.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from minimind.config import SampleConfig
from minimind.errors import UserError


def repetition_penalty(logits: Tensor, history: Iterable[int], penalty: float) -> Tensor:
    """Make every token of `history` less likely for a penalty above 1: positive scores shrink, negative ones grow.

    Dividing a negative score would make its token likelier, so those are multiplied.
    Keskar et al. 2019, "CTRL", section 4.1, with the sign taken care of.
    """
    if penalty == 1:
        return logits
    seen = torch.tensor(sorted(set(history)), dtype=torch.long, device=logits.device)  # [seen]
    scores = logits[seen]  # [seen]
    return logits.index_copy(0, seen, torch.where(scores > 0, scores / penalty, scores * penalty))  # [vocabulary]


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature (> 0): below 1 the likeliest tokens gain, above 1 the distribution flattens.

    The highest score becomes 0, so that however small the temperature is, nothing overflows.
    """
    smallest = torch.finfo(logits.dtype).tiny  # a double may be less, and would round to a division by zero
    return (logits - logits.max()) / max(temperature, smallest)  # [vocabulary]


def top_k_filter(logits: Tensor, k: int) -> Tensor:
    """Keep exactly the `k` highest scores (0: all). Fan et al. 2018, "Hierarchical Neural Story Generation"."""
    if k == 0 or k >= len(logits):
        return logits
    kept = logits.topk(k)  # values and indices [k]
    return torch.full_like(logits, -math.inf).index_copy(0, kept.indices, kept.values)  # [vocabulary]


def top_p_filter(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of likeliest tokens whose probabilities reach `p`, the one that crosses it included.

    At least one token stays. Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.
    """
    if p >= 1:
        return logits
    ordered = logits.sort(descending=True, stable=True)  # values and indices [vocabulary]
    probabilities = ordered.values.softmax(0)  # [vocabulary]
    before = probabilities.cumsum(0) - probabilities  # [vocabulary], what the likelier ones already hold
    dropped = before >= p  # [vocabulary]
    dropped[0] = False
    return logits.index_fill(0, ordered.indices[dropped], -math.inf)  # [vocabulary]


def refuse_undefined(logits: Tensor) -> None:
    """Raise UserError where a score is not a number."""
    if bool(logits.isnan().any()):
        raise UserError(
            "the model's scores are not numbers: it has diverged; use an earlier checkpoint",
            "模型给出的分数不是数字：它已经发散，请换用更早的检查点",
        )


def token_distribution(logits: Tensor, history: Iterable[int], config: SampleConfig) -> Tensor:
    """The probabilities [vocabulary] from which the next token is drawn, made from `logits` [vocabulary].

    At temperature 0 the likeliest token has all of it. `history` are the tokens that the repetition penalty is about.
    Raises UserError where a score is not a number.
    """
    refuse_undefined(logits)
    logits = repetition_penalty(logits, history, config.repetition_penalty)  # [vocabulary]
    if config.temperature == 0:
        return torch.zeros_like(logits).index_fill(0, logits.argmax(), 1.0)  # [vocabulary]
    logits = apply_temperature(logits, config.temperature)  # [vocabulary]
    return top_p_filter(top_k_filter(logits, config.top_k), config.top_p).softmax(0)  # [vocabulary]


def next_token(
    logits: Tensor, history: Iterable[int], config: SampleConfig, generator: torch.Generator | None = None
) -> int:
    """Choose the next token from `logits` [vocabulary]: the likeliest at temperature 0, else a draw by `generator`.

    Arguments and errors as in `token_distribution`.
    """
    probabilities = token_distribution(logits, history, config)  # [vocabulary]
    if config.temperature == 0:
        return int(probabilities.argmax())
    return int(torch.multinomial(probabilities, 1, generator=generator))
