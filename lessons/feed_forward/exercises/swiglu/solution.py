"""SwiGLU from scratch: down(SiLU(gate(x)) ⊙ up(x))."""

import torch.nn.functional as F
from torch import Tensor, nn


class SwiGLU(nn.Module):
    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        # hole: pass
        # three linear layers without bias: gate_proj and up_proj from hidden to size, down_proj from size to hidden
        self.gate_proj = nn.Linear(hidden, size, bias=False)
        self.up_proj = nn.Linear(hidden, size, bias=False)
        self.down_proj = nn.Linear(size, hidden, bias=False)
        # end hole

    def forward(self, x: Tensor) -> Tensor:
        """Transform x [..., hidden]; the shape stays. F.silu is allowed."""
        # hole: return x
        # 1. the gate decides: SiLU of one projection, [..., size]
        # 2. the other projection is what may pass, [..., size]
        # 3. number by number, then back to [..., hidden]
        gate = F.silu(self.gate_proj(x))  # [..., size]
        passed = gate * self.up_proj(x)  # [..., size]
        result: Tensor = self.down_proj(passed)  # [..., hidden]
        return result
        # end hole
