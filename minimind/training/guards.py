"""What guards a run against numbers gone astray: when an update is healthy, when the run must go back, when to give up.

Everything that a judgement rests on stands in `Guards`, which every checkpoint keeps, and in the update itself: a
resumed run judges as an uninterrupted one does.

    no counted token     the update is left out
    not finite           the update is left out; MOST_NOT_FINITE in a row and the run goes back
    spike                the loss far beyond its recent spread while the gradient norm has grown; MOST_SPIKES in a row
                         and the run goes back
    weights not finite   never saved; the run goes back
    out of memory        the update is taken once more with micro-batches cut into twice as many pieces, and all later
                         ones too: the same global batch, data order and loss, up to rounding and dropout

Going back means: weights, optimiser, generators and schedule of the last good checkpoint, half the learning rate from
there on, and the data that were read in between left out. A checkpoint that then gives no healthy update either is not
trusted again: the next time the run goes further back. That is done MOST_ROLLBACKS times, then the run gives up.
Chowdhery et al. 2022, "PaLM", section 5.1 (restart from a checkpoint before the spike and skip the data around it);
Leys et al. 2013, "Detecting outliers", for the spread: the median distance from the median.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Literal

from minimind.events import Text

if TYPE_CHECKING:
    from minimind.training.update import Update

MOST_NOT_FINITE = 3
"""Updates in a row that may be left out because a loss or a gradient is no number."""
MOST_SPIKES = 5
"""Updates in a row whose loss may lie far beyond its recent spread."""
MOST_ROLLBACKS = 3
"""How often a run goes back before it gives up: the learning rate is an eighth of what was asked for then."""
WINDOW = 32
"""Healthy updates that say what is usual."""

_LEAST = 16
"""Healthy updates before a spike can be told from the fall of a young run."""
_FAR = 6.0
"""Spreads above the median from which a loss is a spike. 1.4826 median distances are one standard deviation."""
_SPREAD = 1.4826
_LEAST_SPREAD, _LEAST_SHARE = 0.05, 0.02
"""The spread is taken as at least this many nats, and this share of the median: a flat curve has no outliers."""
_GROWN = 2.0
"""How many times the usual gradient norm goes with a spike: a loss that rises alone may be other data."""

Judgement = Literal["healthy", "empty", "not-finite", "spike"]


@dataclass(slots=True)
class Guards:
    """What is remembered of a run's health.

    losses, norms   of the newest healthy updates, at most WINDOW, oldest first
    healthy_step    the last step that was healthy
    not_finite, spikes   updates since then that were not finite, and that were spikes
    empty           updates without a counted token, in the whole run
    rollbacks       how often the run went back, and `rate_share`, what is left of the learning rate since
    parts           into how many pieces each micro-batch is cut so that it fits into memory
    """

    losses: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    healthy_step: int = 0
    not_finite: int = 0
    spikes: int = 0
    empty: int = 0
    rollbacks: int = 0
    rate_share: float = 1.0
    parts: int = 1

    @property
    def must_go_back(self) -> bool:
        """Whether too many updates in a row were not healthy."""
        return self.not_finite >= MOST_NOT_FINITE or self.spikes >= MOST_SPIKES

    def judge(self, step: int, update: Update) -> Judgement:
        """Look at the update that led to `step`, and remember it."""
        if update.weight == 0:
            self.empty += 1
            return "empty"
        loss, norm = update.scalars.get("loss", 0.0), update.gradient_norm
        if not update.applied:
            self.not_finite += 1
            return "not-finite"
        if self._is_spike(loss, norm):
            self.spikes += 1
            return "spike"
        self.healthy_step, self.not_finite, self.spikes = step, 0, 0
        self.losses = [*self.losses, loss][-WINDOW:]
        self.norms = [*self.norms, norm][-WINDOW:]
        return "healthy"

    def _is_spike(self, loss: float, norm: float) -> bool:
        if len(self.losses) < _LEAST:
            return False
        middle = median(self.losses)
        spread = _SPREAD * median(abs(value - middle) for value in self.losses)
        spread = max(spread, _LEAST_SPREAD, _LEAST_SHARE * abs(middle))
        return loss > middle + _FAR * spread and norm > _GROWN * median(self.norms)

    def go_back(self, to: Guards) -> Guards:
        """What is remembered after going back to where `to` was remembered."""
        return Guards(
            losses=to.losses,
            norms=to.norms,
            healthy_step=to.healthy_step,
            empty=self.empty,
            rollbacks=self.rollbacks + 1,
            rate_share=self.rate_share / 2,
            parts=self.parts,
        )


def left_out(step: int, update: Update) -> Text:
    """The sentence about one update that was not finite."""
    where, _ = _where(step, update)
    return Text(f"an update was not finite and is left out ({where})", f"有一次更新出现非有限数，已跳过（{where}）")


def nothing_counts(step: int) -> Text:
    """The sentence about an update without a counted token."""
    return Text(
        f"no token of step {step} counts for the loss: the step is left out (said once)",
        f"第 {step} 步没有任何词元计入损失：这一步已跳过（只提示一次）",
    )


def why_back(guards: Guards, step: int, update: Update) -> Text:
    """Why the run must go back, after the update that led to `step`."""
    where, place = _where(step, update)
    if guards.not_finite >= MOST_NOT_FINITE:
        count = guards.not_finite
        return Text(
            f"{count} updates in a row were not finite ({where}; data up to {place})",
            f"连续 {count} 次更新出现非有限数（{where}；数据读到 {place}）",
        )
    count, usual, norm = guards.spikes, median(guards.losses), median(guards.norms)
    return Text(
        f"the loss jumped from about {usual:.3g} and stayed up for {count} updates while the gradient norm grew from "
        f"about {norm:.3g} ({where}; data up to {place})",
        f"损失从约 {usual:.3g} 突然升高并持续了 {count} 次更新，同时梯度范数从约 {norm:.3g} 变大（{where}；数据读到 {place}）",
    )


def smaller_pieces(batch_size: int, accumulation_steps: int, before: int, parts: int) -> Text:
    """The sentence about micro-batches that did not fit into memory in `before` pieces and now are cut into `parts`."""
    was, rows = (-(-batch_size // pieces) for pieces in (before, parts))
    micro_steps = accumulation_steps * parts
    return Text(
        f"not enough memory for {was} sequences at a time: from here on {rows} at a time and {micro_steps} micro-steps an "
        "update, the same global batch",
        f"内存（显存）不够一次处理 {was} 条序列：此后每次 {rows} 条、每次更新 {micro_steps} 个微步，全局批量不变",
    )


def weights_astray(step: int) -> Text:
    """Why the run must go back where its weights are no numbers."""
    return Text(
        f"the weights are no longer finite at step {step}: they are not saved",
        f"第 {step} 步的权重已出现非有限数：不予保存",
    )


def went_back(why: Text, guards: Guards, step: int, learning_rate: float) -> Text:
    """The sentence about having gone back to `step`, with a peak of `learning_rate` from there on."""
    count = guards.rollbacks
    return Text(
        f"{why.en}: the run goes back to step {step}, at half the learning rate (peak {learning_rate:g}) and without the "
        f"data read since ({count} of at most {MOST_ROLLBACKS} times)",
        f"{why.zh}：回退到第 {step} 步，学习率减半（峰值 {learning_rate:g}），并跳过此后读过的数据"
        f"（第 {count} 次，最多 {MOST_ROLLBACKS} 次）",
    )


def gives_up(why: Text, guards: Guards) -> Text:
    """The last sentence of a run that cannot or may not go back."""
    count = guards.rollbacks
    after = Text(f" after going back {count} times", f"，此前已回退 {count} 次") if count else Text("", "")
    return Text(
        f"{why.en}{after.en}: the last good checkpoint is kept; try a lower learning_rate, a smaller clip or dtype float32",
        f"{why.zh}{after.zh}：最后一个正常的检查点还在；请调低 learning_rate、减小 clip，或改用 dtype float32",
    )


def _where(step: int, update: Update) -> tuple[str, str]:
    loss, at = update.scalars.get("loss", math.nan), update.position
    return (
        f"step {step}, loss {loss:g}, gradient norm {update.gradient_norm:g}, learning rate {update.learning_rate:g}",
        f"epoch {at.epoch}, window {at.window}, row {at.row}",
    )
