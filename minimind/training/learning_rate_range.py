"""The learning rate range test: which peak rates a model can be trained with, from one short run in which it rises."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from minimind.errors import UserError
from minimind.events import Event, Note, Progress, Scalars, Table, Text
from minimind.reinforcement_config import REINFORCEMENT
from minimind.training.job import Job
from minimind.training.objective import find_objective
from minimind.training.update import Updater

LOWEST, HIGHEST = 1e-5, 1.0
UPDATES = 100
_SMOOTHING = 0.9
_BLOWN_UP = 1.5
"""Times the lowest loss beyond which a higher rate can only be worse."""
_NEAR = 5
"""Updates to either side over which a slope is measured; so many times two must be survived to say anything."""
AXIS, CHART = "log10_learning_rate", "learning_rate_range"


@dataclass(frozen=True, slots=True)
class RateRange:
    """What a test found, all of them learning rates.

    suggested   where the smoothed loss falls fastest for a given factor of the rate
    highest     where it stops falling: beyond it the rate does harm
    blown_up    where it had risen to 1.5 times its lowest and the test ended; None where it never did
    """

    suggested: float
    highest: float
    blown_up: float | None

    def reason(self) -> Text:
        """Why that rate is suggested."""
        best, most = f"{self.suggested:.2g}", f"{self.highest:.2g}"
        end = Text("", "")
        if self.blown_up is not None:
            end = Text(f" and blew up at {self.blown_up:.2g}", f"，到 {self.blown_up:.2g} 时发散")
        return Text(
            f"learning_rate {best}: there the loss fell fastest; it stopped falling at {most}{end.en}. A run stays near "
            "its peak where the test passes by, so keep well below that",
            f"建议 learning_rate 取 {best}：此处损失下降最快；到 {most} 时不再下降{end.zh}。"
            "正式训练会长时间停留在峰值附近，而测试只是一掠而过，因此应明显低于后者",
        )


def smoothed(losses: Sequence[float]) -> list[float]:
    """The exponential moving average of `losses` (weight 0.9), corrected for its start."""
    average, found = 0.0, []
    for number, loss in enumerate(losses, 1):
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        found.append(average / (1 - _SMOOTHING**number))
    return found


def judge(rates: Sequence[float], losses: Sequence[float], *, blew_up: bool) -> RateRange:
    """What the `losses` of updates at rising `rates` say. Raises UserError where there are too few.

    The rates rise by the same factor each time. Smith 2017, "Cyclical Learning Rates for Training Neural Networks",
    section 3.3; that the steepest fall is a good peak is a rule of thumb, and held here: 3.4e-3 was found for AdamW and
    6.7e-3 for Muon on the nano model, where 3e-3 and 6e-3 to 1e-2 train best.
    """
    if len(losses) < 2 * _NEAR + 1:
        raise UserError(
            f"the loss blew up after {len(losses)} updates, at a learning rate of {rates[-1]:.2g}: start lower",
            f"仅 {len(losses)} 次更新、学习率为 {rates[-1]:.2g} 时损失就已发散：请从更低的学习率开始",
        )
    smooth = smoothed(losses)
    inner = range(_NEAR, len(smooth) - _NEAR)
    steepest = min(inner, key=lambda index: smooth[index + _NEAR] - smooth[index - _NEAR])
    turns = (
        index
        for index in range(steepest, len(smooth))
        if all(smooth[index] <= later for later in smooth[index + 1 : index + 1 + 2 * _NEAR])
    )
    return RateRange(rates[steepest], rates[next(turns)], rates[-1] if blew_up else None)


def find_learning_rate(
    job: Job, *, updates: int = UPDATES, lowest: float = LOWEST, highest: float = HIGHEST
) -> Iterator[Event]:
    """Train a copy of the job's model while the rate rises from `lowest` to `highest` by the same factor each update.

    Yields Scalars (over the logarithm of the rate) and Progress, at the end a Table whose last row is the suggested
    rate, and a Note with the reason; see `RateRange`. The job, its model and the random generators stay as they were.
    Raises UserError where the loss blows up at once, and for methods whose loss does not say how good the model is.
    """
    objective = job.config.objective
    if objective in REINFORCEMENT:
        raise UserError(
            f"the loss of {objective} does not say how well it learns: try rates in short runs and compare the rewards",
            f"{objective} 的损失并不反映学得好不好：请用几次短训练尝试不同学习率并比较奖励",
        )
    devices = [job.precision.device] if job.precision.device.type == "cuda" else []
    before = random.getstate()
    with torch.random.fork_rng(devices=devices):
        copied = replace(
            job,
            config=job.config.replace(schedule="constant", warmup=0.0, ema=0.0),
            model=copy.deepcopy(job.model),
            objective=find_objective(job.config.objective),
        )
        updater = Updater(copied)
        rates: list[float] = []
        losses: list[float] = []
        blew_up = False
        for number in range(updates):
            updater.optimizer.peak = lowest * (highest / lowest) ** (number / max(updates - 1, 1))
            update = updater.update(number, updates)
            if update.overflowed:
                continue
            rates.append(updater.optimizer.peak)
            loss = update.scalars["loss"]
            smooth = smoothed([*losses, loss])
            blew_up = not update.applied or smooth[-1] > _BLOWN_UP * min(smooth)
            if blew_up:
                break
            losses.append(loss)
            yield Progress(number + 1, updates, Text("raising the learning rate", "逐步提高学习率"))
            values = {"loss": loss, "smoothed_loss": smooth[-1]}
            yield Scalars(math.log10(rates[-1]), values, AXIS, CHART)
    random.setstate(before)
    found = judge(rates, losses, blew_up=blew_up)
    yield _table(found)
    yield Note(found.reason())


def _table(found: RateRange) -> Table:
    """The rates of `found` by name; the suggested one is last."""
    rows: list[tuple[str | float, ...]] = [("highest", found.highest)]
    if found.blown_up is not None:
        rows.append(("blown_up", found.blown_up))
    rows.append(("suggested", found.suggested))
    columns = (Text("where", "位置"), Text("learning rate", "学习率"))
    return Table(CHART, columns, tuple(rows), Text("learning rates", "学习率"))
