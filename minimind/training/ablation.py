"""Two settings of a run compared as an experiment: the same seeds, weights, data order and steps, and one interval.

The question is not which of two curves ended lower, but whether the difference would come again with other seeds. So
both arms are trained for every seed, side by side, and the differences of the pairs are what is judged: what a seed
gives to both arms falls out. Student 1908, "The Probable Error of a Mean"; Bouthillier et al. 2021, "Accounting for
Variance in Machine Learning Benchmarks", section 4.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch

from minimind.config import TrainConfig
from minimind.data.packing import Batch
from minimind.errors import UserError
from minimind.events import Band, Claim, Event, Level, Note, Progress, Scalars, Table, Text
from minimind.training.prepare import build_job
from minimind.training.update import Updater

FIRST, SECOND = "a", "b"
MOST_SEEDS = 20
_SAME = ("objective", "data", "data_megabytes", "tokenizer", "steps", "sequence_length")
"""What must not differ: the arms are measured on the same held-out text after the same steps."""
_QUANTILES = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093),
)
"""The 0.975 quantile of Student's t for 1 … 19 degrees of freedom."""


class Interval(NamedTuple):
    """A mean of paired differences with its 95 % interval; infinite from a single pair."""

    mean: float
    low: float
    high: float


def paired_interval(first: Sequence[float], second: Sequence[float]) -> Interval:
    """The mean of second - first over pairs, and its 95 % interval by Student's t.

    Raises ValueError for unequal lengths, none, or more than 20 pairs.
    """
    differences = [b - a for a, b in zip(first, second, strict=True)]
    if not 1 <= len(differences) <= MOST_SEEDS:
        raise ValueError(f"{len(differences)} pairs: 1 to {MOST_SEEDS}")
    mean = statistics.fmean(differences)
    if not any(differences):
        return Interval(0.0, 0.0, 0.0)
    if len(differences) == 1 or not math.isfinite(mean):
        return Interval(mean, -math.inf, math.inf)
    half = _QUANTILES[len(differences) - 2] * statistics.stdev(differences) / math.sqrt(len(differences))
    return Interval(mean, mean - half, mean + half)


def verdict(interval: Interval, seeds: int) -> Claim:
    """What the differences say: one arm is better, no difference at all, or nothing that seeds would not explain."""
    measured = {"difference": interval.mean, "low": interval.low, "high": interval.high, "seeds": float(seeds)}
    if interval == Interval(0.0, 0.0, 0.0):
        text = Text("no difference: both arms end the same, to the last digit", "没有差别：两组结果逐位相同")
        return Claim("difference", text, measured, None)
    spread = f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
    if interval.low <= 0 <= interval.high:
        text = Text(
            f"inconclusive: the held-out loss of b minus a is {spread}; other seeds may say the opposite",
            f"无定论：b 减 a 的留出集损失为 {spread}；换一批种子可能得到相反的结果",
        )
        return Claim("difference", text, measured, None)
    better = FIRST if interval.mean > 0 else SECOND
    text = Text(
        f"{better} is better: the held-out loss of b minus a is {spread} (95 % of {seeds} pairs)",
        f"{better} 更好：b 减 a 的留出集损失为 {spread}（{seeds} 对，95 % 区间）",
    )
    return Claim("difference", text, measured, True)


@dataclass(slots=True)
class _Arm:
    """One arm of one seed; `curve` maps a step to the held-out loss after it."""

    updater: Updater
    batches: Sequence[Batch]
    random: torch.Tensor = field(default_factory=torch.get_rng_state)
    curve: dict[int, float] = field(default_factory=dict)
    tokens: int = 0

    def advance(self, step: int, steps: int, *, measure: bool) -> dict[str, float]:
        """One update with this arm's own random numbers; measured before the first and where asked."""
        torch.set_rng_state(self.random)
        update = self.updater.update(step, steps)
        self.tokens += update.tokens
        if measure:
            self.measure(step + 1)
        self.random = torch.get_rng_state()
        return update.scalars

    def measure(self, step: int) -> None:
        """Note the held-out loss after `step` updates."""
        found = self.updater.objective.evaluate(self.updater.working, self.batches)
        self.curve[step] = found["validation_loss"]


def check_arms(first: TrainConfig, second: TrainConfig, seeds: Sequence[int]) -> None:
    """Raises UserError where the two cannot be compared."""
    for name in _SAME:
        if getattr(first, name) != getattr(second, name):
            raise UserError(
                f"{name} differs between the arms: they are measured on the same text after the same steps",
                f"两组的 {name} 不同：比较必须在同样的文本上、经过同样的步数",
            )
    if first.steps is None:
        raise UserError("steps is missing: say how many updates each arm gets", "缺少 steps：请指定每组更新多少步")
    if not 1 <= len(seeds) <= MOST_SEEDS or len(set(seeds)) != len(seeds):
        raise UserError(
            f"seeds: give 1 to {MOST_SEEDS} different ones", f"seeds：请给出 1 到 {MOST_SEEDS} 个互不相同的种子"
        )


def differences_between(first: TrainConfig, second: TrainConfig) -> Mapping[str, tuple[object, object]]:
    """The settings in which two configs differ, with both values."""
    before, after = first.to_dict(), second.to_dict()
    return {name: (value, after[name]) for name, value in before.items() if value != after[name]}


def ablate(first: TrainConfig, second: TrainConfig, seeds: Sequence[int], cache: Path) -> Iterator[Event]:
    """Train both for every seed, and say what differs and whether that holds.

    Charts: one a seed while it trains, then both arms' means over the seeds with their spread, and the mean paired
    difference with its 95 % interval. Raises UserError for what cannot be compared or trained.
    """
    check_arms(first, second, seeds)
    steps = first.steps or 0
    changed = differences_between(first, second)
    yield Table(
        "differences",
        (Text("setting", "设置"), Text("a", "a"), Text("b", "b")),
        tuple((name, str(a), str(b)) for name, (a, b) in changed.items()),
        Text("In what the arms differ", "两组的不同之处"),
    )
    if not changed:
        yield Note(Text("a and b are the same: whatever differs is chance", "a 与 b 完全相同：若有差别，只能是偶然"))
    curves: dict[str, list[dict[int, float]]] = {FIRST: [], SECOND: []}
    tokens = {FIRST: 0, SECOND: 0}
    for number, seed in enumerate(seeds):
        arms = {name: _begin(config, seed, cache) for name, config in ((FIRST, first), (SECOND, second))}
        # Both are measured by the first arm's method and batches.
        arms[SECOND].batches = arms[FIRST].batches
        yield from _race(arms, seed, steps, first.evaluate_every, done=number * steps, total=len(seeds) * steps)
        for name, arm in arms.items():
            curves[name].append(arm.curve)
            tokens[name] += arm.tokens
    yield from _summary(curves, tokens, seeds)


def _begin(config: TrainConfig, seed: int, cache: Path) -> _Arm:
    job, _ = build_job(config.replace(seed=seed), cache=cache)
    updater = Updater(job)
    batches = [b.to(job.precision.device) for b in job.objective.validation(job.data.validation, job.config)]
    arm = _Arm(updater, batches)
    arm.measure(0)
    arm.random = torch.get_rng_state()
    return arm


def _race(arms: Mapping[str, _Arm], seed: int, steps: int, every: int, *, done: int, total: int) -> Iterator[Event]:
    """Both arms of one seed, step by step."""
    chart = f"seed {seed}"
    for step in range(steps):
        measure = (step + 1) % every == 0 or step + 1 == steps
        losses = {name: arm.advance(step, steps, measure=measure).get("loss", math.nan) for name, arm in arms.items()}
        yield Scalars(step + 1, losses, chart=chart)
        yield Progress(done + step + 1, total, Text(f"seed {seed}", f"种子 {seed}"))


def _summary(
    curves: Mapping[str, list[dict[int, float]]], tokens: Mapping[str, int], seeds: Sequence[int]
) -> Iterator[Event]:
    measured = sorted(curves[FIRST][0])
    for name in (FIRST, SECOND):
        for step in measured:
            yield Scalars(step, {name: statistics.fmean(c[step] for c in curves[name])}, chart="validation_loss")
        low, high = ([pick(c[step] for c in curves[name]) for step in measured] for pick in (min, max))
        yield Band("validation_loss", name, tuple(map(float, measured)), tuple(low), tuple(high))
    intervals = {
        step: paired_interval([c[step] for c in curves[FIRST]], [c[step] for c in curves[SECOND]]) for step in measured
    }
    for step, interval in intervals.items():
        yield Scalars(step, {"b - a": interval.mean}, chart="difference")
    finite = {step: i for step, i in intervals.items() if math.isfinite(i.low)}
    if finite:
        lows, highs = tuple(i.low for i in finite.values()), tuple(i.high for i in finite.values())
        yield Band("difference", "b - a", tuple(map(float, finite)), lows, highs)
    yield Level("difference", "0", 0.0)
    last = measured[-1]
    rows = tuple((str(s), a[last], b[last], b[last] - a[last]) for s, a, b in zip(seeds, *curves.values(), strict=True))
    heads = (Text("seed", "种子"), Text("a", "a"), Text("b", "b"), Text("b - a", "b − a"))
    yield Table("seeds", heads, rows, Text("Held-out loss at the end", "结束时的留出集损失"))
    if tokens[FIRST] != tokens[SECOND]:
        yield Note(
            Text(
                f"the arms read different amounts: a {tokens[FIRST]:,} tokens, b {tokens[SECOND]:,}",
                f"两组读到的数据量不同：a {tokens[FIRST]:,} 个词元，b {tokens[SECOND]:,} 个",
            )
        )
    yield verdict(intervals[last], len(seeds))
