"""YaRN: read a longer text than the model was trained on, by turning the slow rotary pairs more slowly still."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from minimind.config import ModelConfig


def yarn_table(positions: Tensor, frequencies: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """Cosine and sine as `transformer.rotary_table` makes them, for stretched `frequencies` [head/2].

    Takes `positions` [batch or 1, time]. Both are multiplied by ``config.attention_factor``, which thereby enters the
    attention scores squared; MiniMind leaves it at 1.
    """
    angles = positions[:, None, :, None].float() * stretched(frequencies, config)  # [batch or 1, 1, time, head/2]
    factor = config.attention_factor
    return angles.cos() * factor, angles.sin() * factor  # 2 × [batch or 1, 1, time, head/2]


def stretched(frequencies: Tensor, config: ModelConfig) -> Tensor:
    """The rotary `frequencies` [head/2] (radians a position) for a context ``config.rope_scaling_factor`` times longer.

    A model whose ``max_position_embeddings`` is within the context it was trained on keeps its frequencies.
    """
    if config.max_position_embeddings <= config.original_max_position_embeddings:
        return frequencies  # [head/2]
    stretch = _stretch_by_parts if config.rope_scaling_type == "yarn" else _stretch_of_minimind2
    return stretch(frequencies, config)  # [head/2]


def _stretch_by_parts(frequencies: Tensor, config: ModelConfig) -> Tensor:
    """Pairs that turn more than β_fast times in the trained context stay, those below β_slow turns slow down s-fold.

    In between the two are mixed along a ramp over the pair's index.
    Peng et al. 2023, "YaRN: Efficient Context Window Extension of Large Language Models", definition 2.
    """
    pairs = frequencies.shape[0]

    def pair_that_turns(times: float) -> float:
        """The (fractional) index of the pair that turns `times` times in the trained context."""
        trained = config.original_max_position_embeddings
        return pairs * math.log(trained / (2 * math.pi * times)) / math.log(config.rope_theta)

    first = max(math.floor(pair_that_turns(config.beta_fast)), 0)
    last = min(math.ceil(pair_that_turns(config.beta_slow)), pairs - 1)
    index = torch.arange(pairs, dtype=torch.float32, device=frequencies.device)  # [head/2]
    ramp = ((index - first) / max(last - first, 0.001)).clamp(0, 1)  # [head/2]
    return frequencies * (1 - ramp + ramp / config.rope_scaling_factor)  # [head/2]


def _stretch_of_minimind2(frequencies: Tensor, config: ModelConfig) -> Tensor:
    """What MiniMind2 first shipped under that name: pairs that turn at least once are slowed a little each.

    Their factor is (βs - β + 1) / (βs), with β growing from β_slow at the first pair to β_fast at the last; every other
    pair slows down s-fold.
    """
    pairs, times = frequencies.shape[0], config.rope_scaling_factor
    index = torch.arange(pairs, dtype=torch.float32, device=frequencies.device)  # [head/2]
    beta = config.beta_slow + (config.beta_fast - config.beta_slow) * index / max(pairs - 1, 1)  # [head/2]
    turns = 2 * math.pi / frequencies <= config.original_max_position_embeddings  # [head/2]
    return frequencies * torch.where(turns, (beta * times - beta + 1) / (beta * times), 1 / times)  # [head/2]
