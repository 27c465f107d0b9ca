"""Several networks trained side by side: the same seeds, batches, optimiser and steps, and one difference.

All arms of a seed take each step together, so that their curves race on the screen. Tensors that two arms have in
common, by name and shape, start equal: the first arm's.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from minimind.data.packing import IGNORED
from minimind.events import Band, Event, Progress, Scalars, Table, Text
from minimind.lab.text import ByteText, evaluate
from minimind.model.transformer import MiniMind

Draw = Callable[[torch.Generator], tuple[Tensor, Tensor]]
"""Tokens and labels, both [batch, time], label -100 where nothing is to be predicted."""
Measure = Callable[[MiniMind], float]
POINT_STEPS = 5
"""A point of a curve is the mean training loss of this many steps."""


@dataclass(frozen=True)
class Arm:
    """One network of a comparison: how it is made for a seed, and in which setting it differs from the first arm.

    `changes` maps a setting's name to its value here; the first arm gives the same names with its own values.
    `learning_rate` and `warm_up` stand in for the plan's where they are what is compared.
    """

    name: str
    build: Callable[[int], MiniMind]
    changes: Mapping[str, str] = field(default_factory=dict)
    learning_rate: float | None = None
    warm_up: int | None = None


@dataclass(frozen=True)
class Plan:
    """What all arms share. `measures` are taken of every trained network; the first is the result compared by default.

    AdamW (0.9, 0.95) without weight decay, a constant learning rate after `warm_up` steps of linear increase, gradients
    clipped to a norm of `clip` (None: not). `evaluate_every` adds points of the first measure to the chart ``chart``
    + ``_held_out``; 0 measures only at the end.
    """

    draw: Draw
    measures: Mapping[str, Measure]
    steps: int
    seeds: int = 1
    learning_rate: float = 3e-3
    warm_up: int = 0
    clip: float | None = 1.0
    chart: str = "loss"
    evaluate_every: int = 0


@dataclass
class Results:
    """What came out: `measured[measure][arm]` has a number for each seed, `curves[arm]` the first seed's points.

    `models` are the networks of the first seed, trained. A number is infinite where the loss stopped being one.
    """

    measured: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    models: dict[str, MiniMind] = field(default_factory=dict)

    def of(self, arm: str, measure: str = "") -> list[float]:
        """The numbers of an arm, one a seed; of the first measure by default."""
        return self.measured[measure or next(iter(self.measured))][arm]

    def mean(self, arm: str, measure: str = "") -> float:
        """The mean over seeds."""
        return statistics.fmean(self.of(arm, measure))


def on_text(text: ByteText, steps: int, *, seeds: int = 1, batch: int = 16, time: int = 64) -> Plan:
    """The usual plan: predict the next byte of `text`, and measure the held-out loss in nats a byte.

    `dataclasses.replace` changes the rest of it.
    """
    batches = text.evaluation(batch, time)
    return Plan(
        draw=lambda generator: text.batch(generator, batch, time),
        measures={"held_out": lambda model: evaluate(model, batches)},
        steps=steps,
        seeds=seeds,
    )


def train_arms(arms: Sequence[Arm], plan: Plan) -> Generator[Event, None, Results]:
    """Train every arm with every seed and measure it. Yields progress, the first seed's curves, and bands over seeds."""
    results = Results({name: {arm.name: [] for arm in arms} for name in plan.measures})
    points: dict[str, list[list[float]]] = {arm.name: [] for arm in arms}
    total = plan.steps * plan.seeds * len(arms)
    for seed in range(plan.seeds):
        models = _paired(arms, seed)
        yield from _train_seed(arms, models, plan, seed, total, points)
        for name, measure in plan.measures.items():
            for arm in arms:
                last = points[arm.name][seed][-1]
                number = measure(models[arm.name]) if math.isfinite(last) else math.inf
                results.measured[name][arm.name].append(number if math.isfinite(number) else math.inf)
                yield Progress(min(total, (seed + 1) * plan.steps * len(arms)), total)
        if seed == 0:
            results.models = models
            xs = [_x(index, plan.steps) for index in range(len(points[arms[0].name][0]))]
            results.curves = {arm.name: list(zip(xs, points[arm.name][0], strict=True)) for arm in arms}
        else:
            yield from _bands(arms, plan, points)
    return results


def _paired(arms: Sequence[Arm], seed: int) -> dict[str, MiniMind]:
    """The untrained networks: tensors of the first arm, where another has one of the same name and shape, are copied."""
    models = {arm.name: arm.build(seed) for arm in arms}
    first = models[arms[0].name].state_dict()
    with torch.no_grad():
        for model in models.values():
            for name, tensor in model.state_dict().items():
                if name in first and first[name].shape == tensor.shape:
                    tensor.copy_(first[name])
    return models


def _train_seed(
    arms: Sequence[Arm],
    models: dict[str, MiniMind],
    plan: Plan,
    seed: int,
    total: int,
    points: dict[str, list[list[float]]],
) -> Generator[Event, None, None]:
    generator = torch.Generator().manual_seed(seed)
    optimizers = {
        arm.name: torch.optim.AdamW(
            models[arm.name].parameters(), lr=arm.learning_rate or plan.learning_rate, betas=(0.9, 0.95), weight_decay=0
        )
        for arm in arms
    }
    recent: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for arm in arms:
        points[arm.name].append([])
    done = seed * plan.steps * len(arms)
    for step in range(1, plan.steps + 1):
        tokens, labels = plan.draw(generator)
        for arm in arms:
            rate = _rate(arm, plan, step)
            recent[arm.name].append(_step(models[arm.name], optimizers[arm.name], tokens, labels, rate, plan.clip))
            done += 1
            yield Progress(done, total)
        if step % POINT_STEPS == 0 or step == plan.steps:
            for arm in arms:
                points[arm.name][seed].append(statistics.fmean(recent[arm.name]))
                recent[arm.name].clear()
            if seed == 0:
                yield Scalars(step, {arm.name: points[arm.name][0][-1] for arm in arms}, chart=plan.chart)
        if seed == 0 and plan.evaluate_every and (step % plan.evaluate_every == 0 or step == plan.steps):
            measure = next(iter(plan.measures.values()))
            values = {}
            for arm in arms:
                values[arm.name] = measure(models[arm.name])
                yield Progress(done, total)
            yield Scalars(step, values, chart=f"{plan.chart}_held_out")


def _rate(arm: Arm, plan: Plan, step: int) -> float:
    """The learning rate of step 1, 2, …: rising linearly to its full value at the end of the warm-up."""
    full = plan.learning_rate if arm.learning_rate is None else arm.learning_rate
    warm_up = plan.warm_up if arm.warm_up is None else arm.warm_up
    return full * min(1.0, step / max(1, warm_up))


def _step(
    model: MiniMind, optimizer: torch.optim.Optimizer, tokens: Tensor, labels: Tensor, rate: float, clip: float | None
) -> float:
    """One update; returns the loss before it."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    logits = model(tokens)  # [batch, time, vocabulary]
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED)  # []
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item()


def _x(index: int, steps: int) -> float:
    return min((index + 1) * POINT_STEPS, steps)


def _bands(arms: Sequence[Arm], plan: Plan, points: dict[str, list[list[float]]]) -> Generator[Event, None, None]:
    for arm in arms:
        rows = points[arm.name]
        xs = tuple(_x(index, plan.steps) for index in range(len(rows[0])))
        columns = list(zip(*rows, strict=True))
        yield Band(plan.chart, arm.name, xs, tuple(map(min, columns)), tuple(map(max, columns)))


def differences(arms: Sequence[Arm]) -> Table:
    """What sets each arm apart from the first: a line for each setting that differs, and the sizes.

    Raises ValueError where an arm changes a setting for which the first gives no value.
    """
    first = arms[0]
    rows: list[tuple[str | float, ...]] = []
    for arm in arms:
        missing = set(arm.changes) - set(first.changes)
        if missing:
            raise ValueError(f"the first arm does not say its {sorted(missing)}")
        size = float(arm.build(0).parameter_count())
        changed = {name: value for name, value in arm.changes.items() if value != first.changes[name]}
        said = ", ".join(f"{name}: {first.changes[name]} → {value}" for name, value in changed.items()) or "—"
        rows.append((arm.name, said, size))
    columns = (Text("arm", "组"), Text("what differs", "不同之处"), Text("parameters", "参数量"))
    return Table("differences", columns, tuple(rows), Text("The only difference", "唯一的不同"))


def results_table(arms: Sequence[Arm], results: Results, title: Text, labels: Mapping[str, Text]) -> Table:
    """The mean of every measure of each arm, and the lowest and highest seed of the first measure."""
    names = list(results.measured)
    spread = (Text("lowest seed", "最低的种子"), Text("highest seed", "最高的种子"))
    columns = (Text("arm", "组"), *(labels.get(name, Text(name, name)) for name in names), *spread)
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (
            arm.name,
            *(results.mean(arm.name, name) for name in names),
            min(results.of(arm.name)),
            max(results.of(arm.name)),
        )
        for arm in arms
    )
    return Table("results", columns, rows, title)


def trained_copy(model: MiniMind) -> MiniMind:
    """An independent copy of a trained network, for taking apart."""
    return copy.deepcopy(model).eval()
