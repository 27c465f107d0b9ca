"""Multi-head causal self-attention, the whole part."""

import torch
from torch import Tensor, nn

from minimind.model.transformer import apply_rotary


class MultiHeadAttention(nn.Module):
    def __init__(self, hidden: int, heads: int, groups: int) -> None:
        super().__init__()
        self.head = hidden // heads
        shared = groups * self.head
        self.q_proj = nn.Linear(hidden, hidden, bias=False)
        self.k_proj = nn.Linear(hidden, shared, bias=False)
        self.v_proj = nn.Linear(hidden, shared, bias=False)
        self.o_proj = nn.Linear(hidden, hidden, bias=False)

    def forward(
        self,
        x: Tensor,
        cosine: Tensor,
        sine: Tensor,
    ) -> Tensor:
        """Mix the positions of x [batch, time, hidden].

        cosine, sine: [1, 1, time, head/2], for apply_rotary
        """
        # hole: return x
        # 1. project and cut into heads:
        #    [batch, heads or groups, time, head]
        # 2. apply_rotary(queries, cosine, sine), and the keys
        # 3. give every query head its group's keys and values
        # 4. scores, causal mask, softmax, weighted sum
        # 5. merge the heads, then o_proj
        batch, time, _ = x.shape
        size = (batch, time, -1, self.head)
        queries = self.q_proj(x).view(size).transpose(1, 2)
        keys = self.k_proj(x).view(size).transpose(1, 2)
        values = self.v_proj(x).view(size).transpose(1, 2)

        queries = apply_rotary(queries, cosine, sine)
        keys = apply_rotary(keys, cosine, sine)
        times = queries.shape[1] // keys.shape[1]
        keys = keys.repeat_interleave(times, 1)
        values = values.repeat_interleave(times, 1)
        # all three: [batch, heads, time, head]

        scores = queries @ keys.transpose(-2, -1) / self.head**0.5
        future = torch.ones(time, time, dtype=torch.bool).triu(1)
        scores = scores.masked_fill(future, -torch.inf)
        mixed = scores.softmax(-1) @ values
        merged = mixed.transpose(1, 2).reshape(batch, time, -1)
        result: Tensor = self.o_proj(merged)
        return result  # [batch, time, hidden]
        # end hole
