"""Many answers at once for training: drawn from the model's own distribution, each token with its log-probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from minimind.inference.batch import open_readers
from minimind.inference.engine import Engine
from minimind.inference.sample import refuse_undefined

CACHE_BYTES = 1 << 30
"""Keys and values that are held at the same time: of more texts than fit, some are written after the others."""


class Drawn(NamedTuple):
    """What was written after a prompt.

    `tokens` include the one that ended it where it `finished`; `log_probabilities` (nats) are those of the distribution
    that each was drawn from, `entropies` (nats) its entropy.
    """

    tokens: list[int]
    log_probabilities: list[float]
    entropies: list[float]
    finished: bool


def draw_answers(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    temperature: float,
    generator: torch.Generator,
) -> list[Drawn]:
    """One answer to each of `prompts`, from softmax(scores / temperature) over the whole vocabulary; 0: the likeliest.

    Equal prompts are read once. All draws come from `generator` (on the CPU), one number a text and round, so that the
    same generator state gives the same answers. Nothing is filtered: training needs the probability of what was
    drawn. A prompt must leave room for one token. Raises ValueError where it does not and where there are no prompts,
    UserError where the model's scores are no numbers.
    """
    limits = [min(max_new_tokens, engine.context - len(prompt)) for prompt in prompts]
    if not prompts or min(limits) < 1:
        raise ValueError(f"prompts must be one or more, each of fewer than {engine.context} tokens")
    capacity = max(len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True))
    together = max(1, CACHE_BYTES // (capacity * _cache_bytes(engine)))
    drawn: list[Drawn] = []
    for start in range(0, len(prompts), together):
        some = slice(start, start + together)
        drawn += _draw_together(engine, prompts[some], limits[some], capacity, temperature, generator)
    return drawn


def _cache_bytes(engine: Engine) -> int:
    """The size of a position's keys and values in all layers."""
    config, weight = engine.config, engine.model.lm_head.weight
    return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_size * weight.element_size()


def _draw_together(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    limits: Sequence[int],
    capacity: int,
    temperature: float,
    generator: torch.Generator,
) -> list[Drawn]:
    """As `draw_answers`, where all caches fit; answer i has at most `limits[i]` tokens."""
    drawn = [Drawn([], [], [], False) for _ in prompts]
    readers = open_readers(engine, [list(prompt) for prompt in prompts], capacity)
    logits = readers.begin()  # [texts, vocabulary]
    active = list(range(len(prompts)))
    while True:
        refuse_undefined(logits)
        tokens, chances, spread = _draw(logits[:, : engine.tokenizer.vocab_size], temperature, generator)
        left = []
        for text, token, chance, entropy in zip(active, tokens, chances, spread, strict=True):
            one = drawn[text]
            one.tokens.append(token)
            one.log_probabilities.append(chance)
            one.entropies.append(entropy)
            if token in engine.stop_ids:
                drawn[text] = one._replace(finished=True)
            elif len(one.tokens) < limits[text]:
                left.append(text)
        if not left:
            return drawn
        active = left
        logits = readers.read(active, [drawn[text].tokens[-1] for text in active])  # [texts, vocabulary]


def _draw(logits: Tensor, temperature: float, generator: torch.Generator) -> tuple[list[int], list[float], list[float]]:
    """A token for each row of `logits` [texts, vocabulary], its log-probability and the distribution's entropy."""
    scores = (logits / temperature if temperature > 0 else logits).log_softmax(-1)  # [texts, vocabulary]
    probabilities = scores.exp()  # [texts, vocabulary]
    entropy = torch.special.entr(probabilities).sum(-1)  # [texts]
    if temperature > 0:
        heights = probabilities.cumsum(-1)  # [texts, vocabulary]
        drawn = torch.rand(len(logits), 1, generator=generator)  # [texts, 1]
        chosen = torch.searchsorted(heights, drawn * heights[:, -1:], right=True)  # [texts, 1]
        chosen = chosen.clamp(max=logits.shape[1] - 1)  # [texts, 1]
    else:
        chosen = scores.argmax(-1, keepdim=True)  # [texts, 1]
    return chosen[:, 0].tolist(), scores.gather(1, chosen)[:, 0].tolist(), entropy.tolist()
