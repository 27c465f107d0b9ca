"""Actor and critic: a network that expects rewards, advantages measured against it, and its loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind.model.transformer import RMSNorm


class Critic(nn.Module):
    """How much reward is still to come, judged by what a frozen language model makes of the text so far.

    A small network of its own on the last hidden states of the reference that PPO needs anyway: nothing it learns
    disturbs the policy, its input never moves under it, and it costs one product a layer. It begins at 0 everywhere.
    """

    def __init__(self, hidden_size: int, width: int) -> None:
        super().__init__()
        self.norm = RMSNorm(hidden_size)
        self.first = nn.Linear(hidden_size, width)
        self.second = nn.Linear(width, width)
        self.value = nn.Linear(width, 1)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., hidden] of the reference → values float32 [...]."""
        x = F.silu(self.first(self.norm(hidden.float())))  # [..., width]
        x = F.silu(self.second(x))  # [..., width]
        values: Tensor = self.value(x)[..., 0]  # [...]
        return values


def generalized_advantages(
    rewards: Sequence[float], values: Sequence[float], gamma: float, lambda_: float
) -> tuple[list[float], list[float]]:
    """The advantage of each action of one episode that has ended, and the return that the critic should have expected.

    `rewards[t]` came after action t, `values[t]` was expected before it; after the last action nothing is expected.
    delta_t = r_t + gamma · V_{t+1} - V_t and A_t = delta_t + gamma · lambda · A_{t+1}; the return is A_t + V_t.
    Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage Estimation", equation 16.
    """
    advantages = [0.0] * len(rewards)
    advantage = following = 0.0
    for time in reversed(range(len(rewards))):
        delta = rewards[time] + gamma * following - values[time]
        advantage = advantages[time] = delta + gamma * lambda_ * advantage
        following = values[time]
    return advantages, [advantage + value for advantage, value in zip(advantages, values, strict=True)]


def clipped_value_loss(values: Tensor, old: Tensor, returns: Tensor, weights: Tensor, clip: float) -> Tensor:
    """½ max((V - R)², (V_old + clip(V - V_old, ± `clip`) - R)²), averaged with `weights`: [].

    A value that has moved by more than `clip` from what was expected when the episode was played gains nothing by
    moving further. Schulman et al. 2017, as their published code has it.
    """
    bounded = old + (values - old).clamp(-clip, clip)  # [...]
    return 0.5 * (torch.maximum((values - returns) ** 2, (bounded - returns) ** 2) * weights).sum()  # []


def explained_variance(values: Sequence[float], returns: Sequence[float]) -> float:
    """1 - Var(R - V) / Var(R): 1 where the critic knows every return, 0 where it is no better than a constant.

    0 where all returns are equal.
    """
    expected, found = torch.tensor(values), torch.tensor(returns)  # 2 × [actions]
    spread = float(found.var(correction=0))
    return 1 - float((found - expected).var(correction=0)) / spread if spread > 1e-12 else 0.0
