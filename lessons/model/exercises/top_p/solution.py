"""Top-p, or nucleus sampling: keep the likeliest tokens that together reach p."""

import torch
from torch import Tensor


def top_p(logits: Tensor, p: float) -> Tensor:
    """Probabilities [vocabulary] from logits [vocabulary], only the nucleus kept; the rest gets 0.

    The nucleus is the smallest set of likeliest tokens whose probabilities reach p: the one that crosses p is in it,
    so there is always at least one. p = 1 keeps all.
    """
    # hole: return logits.softmax(-1)
    # 1. probabilities, sorted from the largest down; remember where each came from
    # 2. a token stays when the sum of those before it is still below p
    # 3. put the kept ones back to their places, and let them sum to 1
    probabilities, order = logits.softmax(-1).sort(descending=True)  # 2 × [vocabulary]
    before = probabilities.cumsum(-1) - probabilities  # [vocabulary]
    nucleus = probabilities * (before < p)  # [vocabulary]
    kept = torch.zeros_like(nucleus).scatter(-1, order, nucleus)  # [vocabulary]
    return kept / kept.sum()  # [vocabulary]
    # end hole
