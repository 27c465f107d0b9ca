"""GRPO: reinforcement learning without a critic; an answer is judged by the others to the same question."""

from __future__ import annotations

from torch import Tensor

from minimind.training.policy import PolicyGradient, Surrogate, clipped_surrogate
from minimind.training.rollouts import RolloutBatch


class GroupRelativePolicyOptimization(PolicyGradient):
    """-min(ρ·A, clip(ρ, 1 - clip_low, 1 + clip_high)·A) at each token, the mean over each answer, then over answers.

    A is the answer's reward in standard deviations above its group's mean, ρ = π/π_old. Clipping takes away the reason
    to move further where one update has made a token much likelier or less likely than when it was drawn.
    Shao et al. 2024, "DeepSeekMath", section 4.1, equation 3. Its clip range is symmetric; a clip_high above clip_low
    is that of Yu et al. 2025, "DAPO", section 3.1.
    """

    def token_weight(self, length: int) -> float:
        """Every answer counts the same, however long."""
        return 1.0 / length

    def surrogate(self, batch: RolloutBatch, log_probabilities: Tensor) -> Surrogate:
        """The clipped objective of PPO with the group's advantages."""
        return clipped_surrogate(
            log_probabilities,
            batch.old_log_probabilities,
            batch.advantages,
            self._config.clip_low,
            self._config.clip_high,
        )


objective = GroupRelativePolicyOptimization
