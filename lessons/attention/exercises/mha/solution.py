"""Multi-head causal self-attention with rotary positions and shared key/value heads: the whole part."""

import torch
from torch import Tensor, nn

from minimind.model.transformer import apply_rotary


class MultiHeadAttention(nn.Module):
    def __init__(self, hidden: int, heads: int, groups: int) -> None:
        super().__init__()
        self.head = hidden // heads
        self.q_proj = nn.Linear(hidden, heads * self.head, bias=False)
        self.k_proj = nn.Linear(hidden, groups * self.head, bias=False)
        self.v_proj = nn.Linear(hidden, groups * self.head, bias=False)
        self.o_proj = nn.Linear(heads * self.head, hidden, bias=False)

    def forward(self, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """Mix positions of `x` [batch, time, hidden]; `cosine`, `sine` [1, 1, time, head/2] are for apply_rotary."""
        # hole: return x
        # 1. project, cut into heads: [batch, heads or groups, time, head]
        # 2. turn queries and keys: apply_rotary(queries, cosine, sine)
        # 3. give every query head its group's keys and values
        # 4. scores, causal mask, softmax, weighted sum; merge the heads; o_proj
        batch, time, _ = x.shape
        queries = self.q_proj(x).view(batch, time, -1, self.head).transpose(1, 2)  # [batch, heads, time, head]
        keys = self.k_proj(x).view(batch, time, -1, self.head).transpose(1, 2)  # [batch, groups, time, head]
        values = self.v_proj(x).view(batch, time, -1, self.head).transpose(1, 2)  # [batch, groups, time, head]
        queries, keys = apply_rotary(queries, cosine, sine), apply_rotary(keys, cosine, sine)  # shapes stay
        times = queries.shape[1] // keys.shape[1]
        keys, values = keys.repeat_interleave(times, 1), values.repeat_interleave(times, 1)  # 2 × [batch, heads, …]
        scores = queries @ keys.transpose(-2, -1) / self.head**0.5  # [batch, heads, time, time]
        future = torch.ones(time, time, dtype=torch.bool).triu(1)  # [time, time]
        mixed = scores.masked_fill(future, -torch.inf).softmax(-1) @ values  # [batch, heads, time, head]
        result: Tensor = self.o_proj(mixed.transpose(1, 2).reshape(batch, time, -1))  # [batch, time, hidden]
        return result
        # end hole
