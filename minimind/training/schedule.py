"""How the learning rate moves over a run: pure functions of the step, so that a resumed run needs no stored scheduler."""

from __future__ import annotations

import math

from minimind.config import TrainConfig


def learning_rate_share(
    step: int, steps: int, warmup: float, minimum: float, schedule: str = "cosine", decay: float = 0.2
) -> float:
    """The learning rate of update `step` (0 … steps-1) as a share of its peak, in [0, 1].

    Rises linearly over the first `warmup` share of the steps. After that:

    cosine     falls along half a cosine to `minimum`, which the last step reaches. Loshchilov and Hutter 2017, "SGDR",
               equation 5 (without restarts)
    linear     falls along a line to `minimum`. Defazio et al. 2023, "When, Why and How Much?", section 3
    wsd        stays, and falls over the last `decay` share of the steps as 1 - √progress. Hu et al. 2024, "MiniCPM",
               section 4.2; the form of the fall is that of Hägele et al. 2024, "Scaling Laws and Compute-Optimal
               Training Beyond Fixed Training Durations", section 3
    constant   stays
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    begins = max(rising, steps - round(decay * steps)) if schedule == "wsd" else rising
    progress = min(max((step - begins) / max(steps - 1 - begins, 1), 0.0), 1.0)
    falls = {
        "cosine": 0.5 * (1 + math.cos(math.pi * progress)),
        "linear": 1 - progress,
        "wsd": 1 - math.sqrt(progress),
        "constant": 1.0,
    }
    return minimum + (1 - minimum) * falls[schedule]


def scheduled_share(step: int, steps: int, config: TrainConfig) -> float:
    """`learning_rate_share` with the settings of `config`."""
    return learning_rate_share(step, steps, config.warmup, config.minimum_learning_rate, config.schedule, config.decay)
