"""A bigram model: how likely is each token after each other one?"""

import torch
from torch import Tensor


def bigram(tokens: Tensor, vocabulary: int, smoothing: float = 1.0) -> Tensor:
    """Probabilities [vocabulary, vocabulary] from tokens [length]: row = the token before, column = the one after.

    Every pair counts as seen `smoothing` times more often than it was; each row sums to 1.
    """
    # hole: return torch.zeros(vocabulary, vocabulary)
    # 1. the tokens before and the tokens after, as two vectors of the same length
    # 2. count each pair in a table [vocabulary, vocabulary]
    # 3. add the smoothing, then divide each row by its sum
    before, after = tokens[:-1], tokens[1:]  # 2 × [length - 1]
    counts = torch.bincount(before * vocabulary + after, minlength=vocabulary * vocabulary)  # [vocabulary²]
    table = counts.view(vocabulary, vocabulary) + smoothing  # [vocabulary, vocabulary]
    return table / table.sum(1, keepdim=True)  # [vocabulary, vocabulary]
    # end hole
