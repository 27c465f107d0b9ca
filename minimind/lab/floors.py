"""What a predictor reaches that only counts: the lines every learnt curve should be compared with."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def uniform_loss(vocabulary: int = 256) -> float:
    """ln(vocabulary): the loss, in nats, of calling every token equally likely."""
    return math.log(vocabulary)


def ngram_loss(train: Tensor, held_out: Tensor, order: int, vocabulary: int = 256) -> float:
    """The loss in nats a token, on `held_out` [length], of the n-gram model of `train` [length].

    `order` 1 knows how often each token occurs, 2 and 3 how often after the one or two before it. Each order is
    smoothed by the one below as by a Dirichlet prior of weight 1, the lowest by the uniform distribution (MacKay and
    Peto 1995, "A Hierarchical Dirichlet Language Model"). Raises ValueError for an order other than 1, 2 or 3.
    """
    if order not in (1, 2, 3):
        raise ValueError("order is 1, 2 or 3")
    probability = torch.full((len(held_out) - order + 1,), 1 / vocabulary, dtype=torch.float64)  # [predictions]
    for length in range(1, order + 1):
        grams, contexts = _counts(train, length, vocabulary), _counts(train, length - 1, vocabulary)
        keys = _keys(held_out, length, vocabulary)[order - length :]  # [predictions]
        seen = grams[keys].double()  # [predictions]
        before = contexts[keys // vocabulary].double()  # [predictions]
        probability = (seen + probability) / (before + 1)  # [predictions]
    return float(-probability.log().mean())


def _keys(tokens: Tensor, length: int, vocabulary: int) -> Tensor:
    """Each run of `length` tokens as one number, in base `vocabulary`, the last token its lowest digit."""
    keys = torch.zeros(len(tokens) - max(length, 1) + 1, dtype=torch.long)  # [runs]
    for place in range(length):
        keys = keys * vocabulary + tokens[place : place + len(keys)]  # [runs]
    return keys


def _counts(tokens: Tensor, length: int, vocabulary: int) -> Tensor:
    """How often each run of `length` tokens occurs; for length 0 how many tokens there are."""
    if length == 0:
        return torch.tensor([len(tokens)])  # [1]
    return torch.bincount(_keys(tokens, length, vocabulary), minlength=vocabulary**length)  # [vocabulary ** length]
