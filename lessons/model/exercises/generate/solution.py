"""Writing: the model's own words become its input, one token after another."""

import torch
from torch import Tensor, nn


def generate(
    model: nn.Module,
    tokens: Tensor,
    count: int,
    context: int,
    end: int,
) -> Tensor:
    """Continue tokens [batch, time] greedily by at most count tokens.

    model(tokens) gives scores [batch, time, vocabulary] and may be shown at
    most context tokens at once: the latest. A row that has written the token
    end goes on with end; when every row has, writing stops. Returns prompt
    and continuation [batch, time + written], without building a graph.
    """
    # hole: return tokens
    # 1. torch.no_grad(), and a flag for every row: has it ended?
    # 2. scores of the last position only, for the last `context` tokens
    # 3. the likeliest token, or `end` where the row has ended
    # 4. append it, note who has ended now, stop when all have
    ended = torch.zeros(len(tokens), dtype=torch.bool)  # [batch]
    with torch.no_grad():
        for _ in range(count):
            logits = model(tokens[:, -context:])[:, -1]  # [batch, vocabulary]
            chosen = logits.argmax(-1)  # [batch]
            chosen = torch.where(ended, end, chosen)  # [batch]
            tokens = torch.cat((tokens, chosen[:, None]), dim=1)
            ended = ended | (chosen == end)  # [batch]
            if ended.all():
                break
    return tokens
    # end hole
