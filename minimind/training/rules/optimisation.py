"""Rules about the optimisation: does it still move, does it jump, is the learning rate right?"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from minimind.events import Text
from minimind.figures import number, percent
from minimind.training.rules.finding import Finding, Record
from minimind.training.rules.statistics import Points, block_means, noise, trend

_LESSON = "pretraining"
_FLAT = 0.01
"""A change of less than this share of its level, with 95 % confidence, is none."""
_PLATEAU_SHARE = 0.4
_STILL_HIGH = 0.3
_LEAST_POINTS = 60
_UNLEARNT = 0.97
_REMEMBERED = 0.05
"""Nats: below this loss there is nothing left to learn from the data."""


def plateau(record: Record) -> Finding | None:
    """The loss (or the reward) has stood still for the last 40 % of the steps although the rate is still high.

    A test of equivalence: the whole 95 % interval of the change lies within ±1 % of the level (for a reward: within a
    tenth of its own spread), so that mere noise never looks like a plateau.
    """
    name = "reward" if record.explores else "loss"
    points = record.curve(name)
    window = points.after(record.step * (1 - _PLATEAU_SHARE)).after(record.warmup_end)
    rates = record.curve("learning_rate")
    if len(window) < _LEAST_POINTS or not len(rates):
        return None
    recent = rates.after(window.x[0])
    if not len(recent) or statistics.fmean(recent.y) < _STILL_HIGH * max(rates.y):
        return None
    found = trend(window.y)
    if found is None or (not record.explores and found.level < _REMEMBERED):
        return None
    allowed = 0.1 * statistics.pstdev(points.y) if record.explores else _FLAT * abs(found.level)
    if not (-allowed < found.low and found.high < allowed) or _still_generalises(record, window.x[0]):
        return None
    first, last = int(window.x[0]), int(window.x[-1])
    level = number(found.level)
    what = Text("reward", "奖励") if record.explores else Text("loss", "损失")
    learnt = record.explores or found.level < _UNLEARNT * points.y[0]
    return Finding(
        "plateau",
        "warning",
        Text(f"the {what.en} stands still", f"{what.zh}停滞不动"),
        Text(
            f"since step {first} the {what.en} has stayed at {level} (change {found.change:+.3f} ± {found.error:.3f}) "
            f"while the learning rate is still {percent(recent.y[-1] / max(rates.y))} of its peak",
            f"从第 {first} 步起，{what.zh}一直停在 {level}（变化 {found.change:+.3f} ± {found.error:.3f}），"
            f"而学习率仍有峰值的 {percent(recent.y[-1] / max(rates.y))}",
        ),
        _PLATEAU_REWARD if record.explores else _PLATEAU_LOSS if learnt else _NOT_LEARNING,
        "alignment" if record.explores else _LESSON,
        (first, last),
        {"level": found.level, "change": found.change, "error": found.error, "learning_rate": recent.y[-1]},
    )


_PLATEAU_LOSS = Text(
    "halve the learning rate of the live run; if that moves nothing, the model is as good as its size and data allow",
    "把这次训练的学习率减半试试；若仍不动，说明模型在这个规模和数据下已到头",
)
_NOT_LEARNING = Text(
    "it has hardly learnt anything: raise learning_rate tenfold, and see with minimind data mask that something is trained on",
    "几乎什么都没学到：把 learning_rate 提高到十倍，并用 minimind data mask 确认确实有词元参与训练",
)
_PLATEAU_REWARD = Text(
    "look at the samples: if all are equally right or wrong, change the difficulty; else raise the group size or the rate",
    "看看样例：若全对或全错，就调整题目难度；否则增大组内样本数或学习率",
)


def _still_generalises(record: Record, since: float) -> bool:
    """Whether the held-out loss has fallen by more than what counts as flat."""
    held_out = record.curve("validation_loss").after(since)
    return len(held_out) >= 2 and held_out.y[-1] < held_out.y[0] * (1 - _FLAT)


_SETTLED = 0.08


def spike(record: Record) -> Finding | None:
    """The loss jumped together with the gradient norm."""
    if record.explores:
        return None
    found = record.spikes
    if not found:
        return None
    worst = max(found, key=lambda one: one.loss - one.usual)
    after = record.curve("loss").after(worst.step).y
    settled = statistics.median(after[-10:]) if len(after) >= 20 else worst.usual
    lasting = settled > worst.usual * (1 + _SETTLED)
    count = len(found)
    return Finding(
        "spike",
        "error" if lasting else "info" if count == 1 else "warning",
        Text(
            "the loss jumps" if not lasting else "the loss jumped and has not come back",
            "损失突然跳高" if not lasting else "损失跳高后没有恢复",
        ),
        Text(
            f"at step {worst.step} the loss went from {number(worst.usual)} to {number(worst.loss)} with a gradient norm "
            f"{worst.gradient:.1f} times the usual one ({count} such {'jump' if count == 1 else 'jumps'} in all)",
            f"第 {worst.step} 步，损失从 {number(worst.usual)} 跳到 {number(worst.loss)}，"
            f"梯度范数是平时的 {worst.gradient:.1f} 倍（这样的跳变共 {count} 次）",
        ),
        Text(
            "one that comes back is harmless; several: lower clip or the learning rate, and look at the data read at that step",
            "能恢复的单次跳变无碍；若反复出现，请调低 clip 或学习率，并检查那一步读到的数据",
        ),
        _LESSON,
        (found[0].step, found[-1].step),
        {
            "count": float(count),
            "loss": worst.loss,
            "usual_loss": worst.usual,
            "gradient_growth": worst.gradient,
            "settled_loss": settled,
        },
    )


_NOT_FINITE = frozenset({"not-finite", "rolled-back"})
"""Codes of the alerts that a loss or a gradient was no number, and that the run went back because of it."""
_MANY_SPIKES = 3
_STEPS_A_SPIKE = 300
_RISE = 0.05
_LATER_FALL = 0.05
_SHRINK = 1.5
_KEPT_PACE = 0.8


def rate_too_high(record: Record) -> Finding | None:
    """The learning rate is more than the run bears.

    Any of: updates that were not finite; a loss above that of the first step; three spikes or more; a loss that rises again for
    good; gradients and progress that got better as the rate fell.
    """
    if record.explores:
        return None
    peak = max(record.curve("learning_rate").y, default=0.0)
    not_finite = sum(alert.code in _NOT_FINITE for alert in record.alerts)
    sign = (
        _not_finite_sign(not_finite)
        or _above_start_sign(record)
        or _spike_sign(record)
        or _rise_sign(record)
        or _late_sign(record)
    )
    if sign is None or peak == 0.0:
        return None
    text, evidence = sign
    return Finding(
        "rate-too-high",
        "error" if not_finite else "warning",
        Text("the learning rate is too high", "学习率过高"),
        Text(f"{text.en} (peak rate {number(peak)})", f"{text.zh}（学习率峰值 {number(peak)}）"),
        Text(
            f"start again with learning_rate {number(peak / 3)}, or lower that of the live run",
            f"请以 learning_rate {number(peak / 3)} 重新训练，或直接调低这次训练的学习率",
        ),
        _LESSON,
        None,
        {"learning_rate": peak, **evidence},
    )


_Sign = tuple[Text, dict[str, float]]


def _not_finite_sign(count: int) -> _Sign | None:
    if not count:
        return None
    text = Text(f"updates were not finite ({count} alerts)", f"更新出现非有限数（告警 {count} 次）")
    return text, {"not_finite": float(count)}


def _above_start_sign(record: Record) -> _Sign | None:
    """A tenth of the run lay clearly above the first step's loss: worse than not having trained."""
    losses = record.curve("loss").y
    if not record.predicts or len(losses) < _LEAST_POINTS:
        return None
    first, highest = losses[0], max(block_means(losses[1:]))
    if highest < first * (1 + 2 * _RISE):
        return None
    text = Text(
        f"the loss rose from {number(first)} at the first step to {number(highest)}",
        f"损失从第一步的 {number(first)} 升到了 {number(highest)}",
    )
    return text, {"first_loss": first, "highest_loss": highest}


def _spike_sign(record: Record) -> _Sign | None:
    count = len(record.spikes)
    if count < max(_MANY_SPIKES, len(record.curve("loss")) / _STEPS_A_SPIKE):
        return None
    return Text(f"the loss jumped {count} times", f"损失跳高了 {count} 次"), {"spikes": float(count)}


def _rise_sign(record: Record) -> _Sign | None:
    """The loss rises again and stays up: the mean of the last quarter's blocks against the lowest block before."""
    points = record.curve("loss").after(record.warmup_end)
    if len(points) < _LEAST_POINTS:
        return None
    means = block_means(points.y)
    lowest = min(means[:-3])
    last = means[-3:]
    error = noise(points.y) / (len(points) / len(means)) ** 0.5
    if min(last) < lowest * (1 + _RISE) or min(last) < lowest + 4 * error:
        return None
    now = statistics.fmean(last)
    text = Text(
        f"the loss rose again from {number(lowest)} to {number(now)}", f"损失从 {number(lowest)} 又升到 {number(now)}"
    )
    return text, {"lowest_loss": lowest, "loss": now}


def _late_sign(record: Record) -> _Sign | None:
    """While the rate was above half its peak gradients were large and progress slow; both got better as the rate fell.

    Where the rate is right it is the other way round: gradients stay or grow as it falls, and most is learnt early.
    """
    rates = record.curve("learning_rate")
    high = [x for x, y in zip(rates.x, rates.y, strict=True) if y >= 0.5 * max(rates.y)] if len(rates) else []
    if not high:
        return None
    start, end = high[0] + 0.4 * (high[-1] - high[0]), high[-1]
    held, later = record.curve("loss").between(start, end), record.curve("loss").after(end)
    norms = record.curve("gradient_norm")
    large, small = norms.between(start, end).y, norms.after(end).y
    if min(len(held), len(later), len(large), len(small)) < _LEAST_POINTS // 2:
        return None
    shrink = statistics.median(large) / max(statistics.median(small), 1e-12)
    before, after = block_means(held.y), block_means(later.y)
    slow = (before[0] - before[-1]) / len(held)
    fast = (before[-1] - after[-1]) / len(later)
    if shrink < _SHRINK or fast < _KEPT_PACE * slow or after[-1] > before[-1] * (1 - _LATER_FALL):
        return None
    text = Text(
        f"the loss was still {number(before[-1])} when the rate had halved, and fell to {number(after[-1])} only as the "
        f"rate fell, with gradients {shrink:.1f} times smaller",
        f"学习率减半时损失仍有 {number(before[-1])}，学习率继续下降后才降到 {number(after[-1])}，梯度也缩小到 1/{shrink:.1f}",
    )
    return text, {"loss_at_half_rate": before[-1], "final_loss": after[-1], "gradient_shrink": shrink}


_STEADY = 0.72
_LEAST_STEPS = 100


def rate_too_low(record: Record) -> Finding | None:
    """The loss falls as in a straight line: each step goes the same short way, and none has reached the bend.

    Compares the fall per unit of learning rate times steps in the second third of that sum with the first third; where
    the rate is right the first steps are by far the best ones.
    """
    if not record.predicts:
        return None
    loss, rates = record.curve("loss"), record.curve("learning_rate")
    if len(loss) < _LEAST_STEPS or len(rates) != len(loss):
        return None
    third = _thirds(rates)
    noisy = noise(loss.y)
    levels = [statistics.fmean(_around(loss.y, index)) for index in third]
    first, second = levels[0] - levels[1], levels[1] - levels[2]
    error = noisy * (2 / len(_around(loss.y, third[1]))) ** 0.5
    if (
        rate_too_high(record) is not None
        or first < 6 * error
        or second < _STEADY * first
        or levels[2] < 0.5 * levels[0]
    ):
        return None
    peak = max(rates.y)
    return Finding(
        "rate-too-low",
        "warning",
        Text("the learning rate is too low", "学习率过低"),
        Text(
            f"the loss falls in a straight line ({number(levels[0])}, {number(levels[1])}, {number(levels[2])}) and has "
            f"not reached the bend where progress slows (peak rate {number(peak)})",
            f"损失几乎沿直线下降（{number(levels[0])}、{number(levels[1])}、{number(levels[2])}），"
            f"还没有到达进步变慢的拐弯处（学习率峰值 {number(peak)}）",
        ),
        Text(
            f"try learning_rate {number(3 * peak)}: a short run tells, or the range test does",
            f"试试 learning_rate {number(3 * peak)}：跑一小段，或做一次学习率范围测试就知道",
        ),
        _LESSON,
        None,
        {"learning_rate": peak, "first_fall": first, "second_fall": second},
    )


def _thirds(rates: Points) -> tuple[int, int, int]:
    """The indices at the start, at one third and at two thirds of the sum of the learning rates."""
    total = sum(rates.y)
    reached, marks = 0.0, [0]
    for index, rate in enumerate(rates.y):
        reached += rate
        if len(marks) < 3 and reached >= total * len(marks) / 3:
            marks.append(index)
    return marks[0], marks[1], marks[2]


def _around(values: Sequence[float], index: int) -> Sequence[float]:
    """A twentieth of the values, with `index` in their middle."""
    half = max(len(values) // 40, 2)
    start = min(max(index - half, 0), len(values) - 2 * half)
    return values[start : start + 2 * half]
