"""CISPO: as GRPO, but no token is ever left out: the importance weight is clipped, not the update."""

from __future__ import annotations

from torch import Tensor

from minimind.training.policy import PolicyGradient, Surrogate
from minimind.training.rollouts import RolloutBatch


class ClippedImportancePolicyOptimization(PolicyGradient):
    """-sg(min(ρ, importance_limit))·A·log π at each token, the mean over all tokens of all answers.

    sg stops the gradient: ρ = π/π_old only weighs. Tokens that an update has made much likelier go on to be learned,
    among them the rare ones on which a chain of thought turns.
    MiniMax 2025, "MiniMax-M1: Scaling Test-Time Compute Efficiently with Lightning Attention", section 3.1, equations 4
    and 5 (the limit is its 1 + ε_high; like there, nothing bounds the weight from below).
    """

    def token_weight(self, length: int) -> float:
        """Every token counts the same: a long answer more than a short one."""
        del length
        return 1.0

    def surrogate(self, batch: RolloutBatch, log_probabilities: Tensor) -> Surrogate:
        """REINFORCE with bounded importance weights."""
        limit = self._config.importance_limit
        ratio = (log_probabilities.detach() - batch.old_log_probabilities).exp()  # [batch, time]
        weights = ratio.clamp(max=limit)  # [batch, time]
        return Surrogate(-weights * batch.advantages * log_probabilities, ratio > limit)


objective = ClippedImportancePolicyOptimization
