"""The loss of a language model."""

import torch
from torch import Tensor


def cross_entropy(logits: Tensor, labels: Tensor, ignored: int = -100) -> Tensor:
    """Mean of −ln softmax(logits)[label] in nats, a single number.

    Takes logits [positions, vocabulary] and labels [positions]; positions whose label is `ignored` do not count.
    """
    # hole: return logits.new_zeros(())
    # 1. keep only the positions that have a label
    # 2. ln Σ e^z, safely: subtract the largest score before the exponentials, add it again after the logarithm
    # 3. minus the score of the label, averaged over the positions
    counted = labels != ignored  # [positions]
    scores, answers = logits[counted], labels[counted]  # [counted, vocabulary], [counted]
    largest = scores.amax(-1, keepdim=True)  # [counted, 1]
    log_sum = (scores - largest).exp().sum(-1).log() + largest.squeeze(-1)  # [counted]
    chosen = torch.gather(scores, -1, answers[:, None]).squeeze(-1)  # [counted]
    return (log_sum - chosen).mean()  # []
    # end hole
