"""Temperature and top-k: which tokens may be drawn, and how likely each is."""

import torch
from torch import Tensor


def temperature_top_k(logits: Tensor, temperature: float, k: int) -> Tensor:
    """Probabilities [vocabulary] from logits [vocabulary]: divided by temperature, only the k largest kept.

    Tokens outside the k largest get 0, the rest sums to 1. A k of 0, or above the vocabulary, keeps all tokens;
    of equal logits at the border as many are kept as there are.
    """
    # hole: return logits.softmax(-1)
    # 1. divide by the temperature
    # 2. find the k-th largest score, and set what is below it to minus infinity
    # 3. softmax at the end, so that what is left sums to 1
    scores = logits / temperature  # [vocabulary]
    if 0 < k < len(scores):
        border = torch.topk(scores, k).values[-1]  # []
        scores = scores.masked_fill(scores < border, -torch.inf)  # [vocabulary]
    return scores.softmax(-1)  # [vocabulary]
    # end hole
