"""A race on text: several small models read the same bytes, with what counting reaches drawn beside them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from minimind.events import Event, Level, Text
from minimind.lab.arms import Arm, Measure, Results, differences, on_text, results_table, train_arms
from minimind.lab.floors import ngram_loss, uniform_loss
from minimind.lab.text import byte_text
from minimind.lab.tiny import BATCH_SIZES, SIZES, Size, tiny_model
from minimind.model.transformer import MiniMind

CHART = "loss"
NAMES: Mapping[str, Text] = {
    "step": Text("step", "步"),
    CHART: Text("Training loss", "训练损失"),
    f"{CHART}_held_out": Text("Held-out loss", "留出集损失"),
    "uniform": Text("all alike", "均匀"),
    "frequencies": Text("frequencies", "字节频率"),
    "bigram": Text("bigram", "二元模型"),
}
"""What people call the charts, axes and lines of a race."""


@dataclass(frozen=True)
class Race:
    """Arms of `size` and how they are trained; `measures` are taken besides the held-out loss, called as in `labels`."""

    arms: Sequence[Arm]
    steps: int
    seeds: int
    size: Size = "T0"
    learning_rate: float = 3e-3
    measures: Mapping[str, Measure] = field(default_factory=dict)
    labels: Mapping[str, Text] = field(default_factory=dict)
    points: int = 8


def run_race(race: Race) -> Generator[Event, None, Results]:
    """Show what differs, train, and show what came out: the held-out loss in nats a byte, measure ``held_out``."""
    text = byte_text()
    yield differences(race.arms)
    floors = {"uniform": uniform_loss(), "frequencies": ngram_loss(text.train, text.held_out, 1)}
    floors["bigram"] = ngram_loss(text.train, text.held_out, 2)
    for chart in (CHART, f"{CHART}_held_out"):
        for name, value in floors.items():
            yield Level(chart, name, value)
    batch, time = BATCH_SIZES[race.size], SIZES[race.size]["max_position_embeddings"]
    plan = on_text(text, race.steps, seeds=race.seeds, batch=batch, time=time)
    plan = replace(
        plan,
        learning_rate=race.learning_rate,
        evaluate_every=max(1, race.steps // race.points),
        measures={**plan.measures, **race.measures},
        chart=CHART,
    )
    results = yield from train_arms(race.arms, plan)
    labels = {"held_out": Text("mean over seeds", "各种子平均"), **race.labels}
    yield results_table(race.arms, results, Text("Held-out loss (nats a byte)", "留出集损失（nats/字节）"), labels)
    return results


def bigram_loss() -> float:
    """What counting pairs of bytes reaches on the held-out text, in nats a byte."""
    text = byte_text()
    return ngram_loss(text.train, text.held_out, 2)


def variant(
    size: Size, change: Callable[[MiniMind], object] | None, layers: int | None = None
) -> Callable[[int], MiniMind]:
    """How to build, for a seed, a model of `size` (and `layers`, where they are not the size's) that `change` altered."""
    depth = {} if layers is None else {"num_hidden_layers": layers}
    return lambda seed: tiny_model(size, seed=seed, change=change, **depth)
