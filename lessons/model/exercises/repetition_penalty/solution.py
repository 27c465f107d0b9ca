"""The repetition penalty: what was said already becomes less likely."""

import torch
from torch import Tensor


def repetition_penalty(logits: Tensor, history: Tensor, penalty: float) -> Tensor:
    """Logits [vocabulary] in which each token that occurs in history [length] is made less likely.

    A positive score is divided by the penalty (> 1), a negative one multiplied by it: both move down. However often a
    token occurred, it is penalised once (Keskar et al. 2019, "CTRL", section 4.1).
    """
    # hole: return logits
    # 1. the tokens that occurred, each once
    # 2. their scores: divided where positive, multiplied where negative
    # 3. a copy of the logits with these scores in their places
    seen = torch.unique(history)  # [seen]
    scores = logits[seen]  # [seen]
    lowered = torch.where(scores > 0, scores / penalty, scores * penalty)  # [seen]
    return logits.scatter(0, seen, lowered)  # [vocabulary]
    # end hole
