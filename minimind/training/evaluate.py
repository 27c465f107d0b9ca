"""What a model is worth while it trains: its loss on text it never saw, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch

from minimind.config import SampleConfig
from minimind.data.packing import IGNORED, Batch
from minimind.data.tokenizer import Tokenizer
from minimind.events import Sample
from minimind.inference.engine import Engine
from minimind.model.transformer import MiniMind

if TYPE_CHECKING:
    from minimind.training.objective import Objective


class HeldOut(NamedTuple):
    """The mean loss in nats a token, and the same information in bits a byte of text (comparable across vocabularies)."""

    loss: float
    bits_per_byte: float
    tokens: float


def counted(batch: Batch) -> int:
    """How many labels of `batch` the loss counts."""
    return int((batch.labels != IGNORED).sum())


def first_tokens(batches: Iterable[Batch], tokens: int, weigh: Callable[[Batch], float] = counted) -> list[Batch]:
    """The first batches that together weigh at least `tokens` counted labels (fewer where there are no more)."""
    taken, found = [], 0.0
    for batch in batches:
        taken.append(batch)
        found += weigh(batch)
        if found >= tokens:
            break
    return taken


@contextmanager
def evaluating(model: MiniMind) -> Iterator[None]:
    """Switch dropout off, and back to what it was."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@torch.no_grad()
def held_out(model: MiniMind, objective: Objective, batches: Iterable[Batch]) -> HeldOut:
    """The loss of `model` on `batches`, every token weighing the same however it was batched.

    Bits a byte are the summed nats / ln 2 over the bytes of the predicted tokens. NaN where no label counts.
    """
    nats, tokens, size = 0.0, 0.0, 0
    with evaluating(model):
        for batch in batches:
            number = objective.weight(batch)
            nats += objective.loss(model, batch)[1]["loss"] * number
            tokens += number
            size += batch.trained_bytes
    if tokens == 0:
        return HeldOut(math.nan, math.nan, 0.0)
    return HeldOut(nats / tokens, nats / math.log(2) / size if size else math.nan, tokens)


def samples(model: MiniMind, tokenizer: Tokenizer, objective: Objective, step: int, *, length: int) -> Iterator[Sample]:
    """What `model` writes after each of the objective's prompts, at most `length` tokens, always drawn the same way.

    Generators of its own leave those of the training alone.
    """
    with evaluating(model):
        engine = Engine(model, tokenizer)
        config = SampleConfig(max_new_tokens=length, temperature=0.5, seed=0)
        for prompt in objective.prompts:
            text = "".join(token.text for token in objective.respond(engine, prompt, config))
            yield Sample(step, prompt, text, name=prompt)
