"""What a rule says, and what it is given to judge by. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from minimind.events import Text
from minimind.training.rules.spikes import Spike, find_spikes
from minimind.training.rules.statistics import Points
from minimind.training.run_view import RunView

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""Worst first."""
_LARGEST = 1e30
"""A figure beyond it has exploded; its square would be no number any more. NaN is not below it either."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict on a run.

    code       the rule's name, stable
    title      a few words for a list
    text       the verdict in plain words, with its numbers
    advice     the next thing to do
    lesson     slug of the lesson that explains it
    steps      the first and the last step it is about; None where it is about the whole run
    evidence   the numbers behind it, by name
    """

    code: str
    severity: Severity
    title: Text
    text: Text
    advice: Text
    lesson: str
    steps: tuple[int, int] | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)


class Record:
    """What one run recorded, as the rules ask for it."""

    def __init__(self, view: RunView) -> None:
        """`view` has been refreshed to the end of what is there. Raises UserError for an unreadable run."""
        self.config = view.config
        self.alerts = tuple(view.alerts)
        self._view = view
        self._curves: dict[str, Points] = {}
        planned = [mark.detail.get("steps") for mark in view.marks if mark.what == "started"]
        told = [steps for steps in planned if isinstance(steps, (int, float)) and math.isfinite(steps) and steps > 0]
        self.planned = float(told[-1]) if told else None
        self.warmup_end = self.config.warmup * (self.planned or 0.0)

    def curve(self, name: str) -> Points:
        """The finite part of the curve `name`; without points where there is no such curve."""
        if name not in self._curves:
            series = self._view.series.get(name)
            pairs = zip(series.x, series.y, strict=True) if series is not None else ()
            kept = [(x, y) for x, y in pairs if abs(y) < _LARGEST]
            self._curves[name] = Points([x for x, _ in kept], [y for _, y in kept])
        return self._curves[name]

    @property
    def step(self) -> int:
        """The last recorded step."""
        return self._view.step

    @property
    def explores(self) -> bool:
        """Whether the model learns from its own answers (reinforcement learning): its loss says little then."""
        return len(self.curve("reward")) > 0

    @property
    def predicts(self) -> bool:
        """Whether the loss is the cross-entropy of given text, so that its level and shape mean something."""
        return self.config.objective in ("pretrain", "sft", "distillation")

    @cached_property
    def spikes(self) -> list[Spike]:
        """Where the loss jumped together with the gradient norm, after the warm-up."""
        return find_spikes(self.curve("loss").after(self.warmup_end), self.curve("gradient_norm"))
