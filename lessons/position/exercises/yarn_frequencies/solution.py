"""YaRN: pairs that turned often in the trained context stay, slow ones are slowed, with a ramp between."""

import math

import torch
from torch import Tensor


def yarn_frequencies(
    head_size: int, base: float, trained: int, factor: float, beta_fast: float = 32.0, beta_slow: float = 1.0
) -> Tensor:
    """The frequencies [head/2] for a context `factor` times longer than the `trained` one."""
    pairs = head_size // 2
    frequencies = base ** (-torch.arange(pairs).float() / pairs)  # [head/2]

    def pair_that_turns(times: float) -> float:
        """The index, not rounded, of the pair that makes that many turns in the trained context."""
        return pairs * math.log(trained / (2 * math.pi * times)) / math.log(base)

    # hole: return frequencies
    # 1. first = floor of the pair that turns beta_fast times, not below 0
    #    last = ceil of the pair that turns beta_slow times, not above pairs - 1
    # 2. a ramp over the pair's index: 0 up to first, 1 from last on, linear between (last - first at least 0.001)
    # 3. ramp 0 keeps the frequency, ramp 1 divides it by factor, between the two frequencies are mixed
    first = max(math.floor(pair_that_turns(beta_fast)), 0)
    last = min(math.ceil(pair_that_turns(beta_slow)), pairs - 1)
    ramp = ((torch.arange(pairs).float() - first) / max(last - first, 0.001)).clamp(0, 1)  # [head/2]
    return frequencies * (1 - ramp) + frequencies / factor * ramp  # [head/2]
    # end hole
