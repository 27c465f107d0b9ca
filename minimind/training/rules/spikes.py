"""Find the jumps of a loss that come with a jump of the gradient norm."""

from __future__ import annotations

import statistics
from typing import NamedTuple

from minimind.training.rules.statistics import Points, noise

_TRAIL = 40
_SIGMA = 7.0
_SHARE = 0.08
_GRADIENT = 3.0
_ONE_JUMP = 10
"""Points: jumps closer than this count as one."""


class Spike(NamedTuple):
    """A jump of the loss: where it is highest, from what usual value, and how much the gradient grew beside its usual."""

    step: int
    loss: float
    usual: float
    gradient: float


def find_spikes(loss: Points, norms: Points) -> list[Spike]:
    """The jumps of `loss` by more than 7 standard deviations and 8 % above the median of the 40 points before it, with
    a gradient norm (`norms`) of at least 3 times its own median there.
    """
    gradients = dict(zip(norms.x, norms.y, strict=True))
    found: list[Spike] = []
    last_index = -_ONE_JUMP
    for index in range(_TRAIL, len(loss)):
        spike = _spike_at(loss, gradients, index)
        if spike is None:
            continue
        if index - last_index < _ONE_JUMP and found:
            found[-1] = max(found[-1], spike, key=lambda one: one.loss)
        else:
            found.append(spike)
        last_index = index
    return found


def _spike_at(loss: Points, gradients: dict[float, float], index: int) -> Spike | None:
    value, before = loss.y[index], loss.y[index - _TRAIL : index]
    if value < min(before) * (1 + _SHARE):  # spares nearly every point the sorting
        return None
    usual = statistics.median(before)
    if value < usual * (1 + _SHARE) or value < usual + _SIGMA * noise(before):
        return None
    norms = [gradients[x] for x in loss.x[index - _TRAIL : index] if x in gradients]
    near = [gradients[x] for x in loss.x[index - 1 : index + 2] if x in gradients]
    growth = max(near) / max(statistics.median(norms), 1e-12) if norms and near else 0.0
    return Spike(int(loss.x[index]), value, usual, growth) if growth >= _GRADIENT else None
