"""Curves for the rules to judge: recorded from real small trainings, or generated with the noise of such."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from minimind.config import TrainConfig
from minimind.events import Alert, Mark
from minimind.training.diagnose import Finding, diagnose
from minimind.training.series import Series

Curves = Mapping[str, Sequence[float] | Sequence[tuple[float, float]]]

RECORDED: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("recorded_curves.json").read_text(encoding="utf-8")
)
"""Trainings of a network of 2 layers and 32 channels for 250 steps on the embedded corpus: by what was wrong and the
peak learning rate."""


def judged(curves: Curves, *, alerts: Sequence[Alert] = (), **settings: Any) -> list[Finding]:
    """What the rules say of `curves`: values at steps 1, 2, …, or pairs of step and value."""
    series: dict[str, Series] = {}
    for name, values in curves.items():
        series[name] = Series()
        for index, value in enumerate(values):
            series[name].append(*(value if isinstance(value, (tuple, list)) else (index + 1, value)))
    steps = int(series["loss"].x[-1])
    planned = settings.pop("planned", steps)
    view: Any = SimpleNamespace(
        config=TrainConfig.from_dict({"steps": planned} | settings),
        alerts=list(alerts),
        marks=[Mark("started", 0, {"steps": planned})],
        series=series,
        step=steps,
    )
    return diagnose(view)


def codes(curves: Curves, **settings: Any) -> list[str]:
    """The names of the findings, worst first."""
    return [finding.code for finding in judged(curves, **settings)]


def healthy(seed: int, steps: int = 400, *, floor: float = 1.8, heavy: bool = False) -> dict[str, list[float]]:
    """A power law from ln 6400 towards `floor` with correlated noise, a cosine schedule, a busy machine.

    `heavy` draws the noise from Student's t with 5 degrees of freedom: more outliers than a normal distribution has.
    """
    draw = random.Random(seed)
    exponent, noise, busy = draw.uniform(0.35, 0.6), draw.uniform(0.01, 0.06), draw.uniform(0.02, 0.1)
    loss, norms, rates, speeds = [], [], [], []
    drift = load = 0.0
    for step in range(1, steps + 1):
        drift = 0.3 * drift + draw.gauss(0, 1)
        load = 0.9 * load + 0.44 * draw.gauss(0, 1)
        shock = draw.gauss(0, 1) / math.sqrt(draw.gammavariate(2.5, 1 / 2.5)) if heavy else draw.gauss(0, 1)
        usual = floor + (8.76 - floor) * (1 + step / (0.02 * steps)) ** -exponent
        loss.append(usual + noise * (0.5 * drift + shock))
        norms.append(0.6 * math.exp(0.15 * draw.gauss(0, 1) + (0.1 * shock if heavy else 0.0)))
        rates.append(3e-3 * min(1, step / (0.03 * steps)) * (0.55 + 0.45 * math.cos(math.pi * step / steps)))
        speeds.append(20_000 * math.exp(busy * load))
    return {
        "loss": loss,
        "gradient_norm": norms,
        "learning_rate": rates,
        "tokens_per_second": speeds,
        "tokens": [4096.0 * step for step in range(1, steps + 1)],
        "data_wait": [0.02] * steps,
        "trained_share": [0.9] * steps,
        "epoch": [step / steps for step in range(1, steps + 1)],
    }
