"""Prompts of different lengths in one batch, so that all of them can be continued at once."""

import torch
from torch import Tensor


def rollout_batch(prompts: list[list[int]], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens, positions [batch, time] and mask [batch, 1, time, time].

    time is the length of the longest prompt; every prompt ends in the last
    column, so that one look at the last position gives all the next tokens.
    Positions count the prompt's own tokens from 0. mask is True where a
    position may look: at tokens of its prompt, not at later ones, never at
    padding. pad may also be a token of a prompt.
    """
    # hole: return torch.tensor([p[-1:] for p in prompts]), torch.zeros(1, 1), torch.ones(1, 1, 1, 1) > 0
    # 1. padding goes in front of the shorter prompts
    # 2. real [batch, time]: True from where the prompt begins
    #    (by its length, not by looking for pad)
    # 3. position = column - where the prompt begins, 0 for padding
    # 4. mask: not later (tril) and real; padding looks at itself,
    #    since a row without any True has no softmax
    time = max(len(prompt) for prompt in prompts)
    padding = torch.tensor([time - len(prompt) for prompt in prompts])  # [batch]
    rows = [[pad] * (time - len(prompt)) + prompt for prompt in prompts]
    tokens = torch.tensor(rows)  # [batch, time]
    columns = torch.arange(time)  # [time]
    real = columns >= padding[:, None]  # [batch, time]
    positions = (columns - padding[:, None]).clamp(min=0)  # [batch, time]
    causal = torch.ones(time, time, dtype=torch.bool).tril()  # [time, time]
    mask = causal & real[:, None]  # [batch, time, time]
    mask = mask | torch.eye(time, dtype=torch.bool)  # [batch, time, time]
    return tokens, positions, mask[:, None]
    # end hole
