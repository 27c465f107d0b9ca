"""Rules about learning from preferences and from rewards."""

from __future__ import annotations

import statistics

from minimind.events import Text
from minimind.figures import number, percent
from minimind.training.rules.finding import Finding, Record
from minimind.training.rules.statistics import Points, trend

_LESSON = "alignment"
_LEAST_POINTS = 48
_CHANCE = 0.55
_GREW = 0.1
"""Reward margin: what a run that learns passes early."""
_FELL = 0.5
"""Reward (beta times the log-probability gained on the reference) whose loss is worth a word."""
_DEGENERATE = 0.5


def preference_margin(record: Record) -> Finding | None:
    """DPO: the margin does not grow, or it grows only because the rejected answer falls faster than the chosen one.

    The second is called likelihood displacement (Razin et al. 2024, "Unintentional Unalignment"): the model then
    gives the probability it takes away to answers nobody has seen.
    """
    margin = record.curve("margin")
    if len(margin) < _LEAST_POINTS:
        return None
    return _no_margin(record, margin) or _displacement(record, margin)


def _no_margin(record: Record, margin: Points) -> Finding | None:
    found = trend(margin.y)
    accuracy = record.curve("accuracy").y
    share = statistics.fmean(accuracy[-_LEAST_POINTS:]) if len(accuracy) else 0.0
    recent = statistics.fmean(margin.y[-_LEAST_POINTS // 2 :])
    if found is None or max(found.high, recent) > _GREW or share > _CHANCE + 0.1:
        return None
    return Finding(
        "preference-margin",
        "warning",
        Text("the preferred answers do not gain", "被偏好的回答没有占上风"),
        Text(
            f"the reward margin is {recent:.3f} after {record.step} steps, and {percent(share)} of the pairs are ranked "
            "right: no better than chance",
            f"{record.step} 步之后奖励差只有 {recent:.3f}，排对的样本占 {percent(share)}：与瞎猜无异",
        ),
        Text(
            "raise learning_rate threefold; then see that chosen and rejected differ in the data",
            "把 learning_rate 提高到三倍；再检查数据里 chosen 与 rejected 是否真有差别",
        ),
        _LESSON,
        None,
        {"margin": recent, "accuracy": share},
    )


def _displacement(record: Record, margin: Points) -> Finding | None:
    chosen, rejected = record.curve("chosen_reward"), record.curve("rejected_reward")
    if len(chosen) < _LEAST_POINTS or len(rejected) < _LEAST_POINTS:
        return None
    changes = [trend(points.y) for points in (chosen, rejected)]
    if any(change is None or change.high > -_FELL for change in changes):
        return None
    fell, fell_more = (_ends(points) for points in (chosen, rejected))
    return Finding(
        "preference-margin",
        "warning",
        Text("both answers become less likely", "两种回答都变得更不可能"),
        Text(
            f"the reward of the chosen answers fell from {number(fell[0])} to {number(fell[1])}, that of the rejected ones "
            f"from {number(fell_more[0])} to {number(fell_more[1])}: both lose log-probability against the reference, and "
            "the margin grows only because one loses more",
            f"被选回答的奖励从 {number(fell[0])} 降到 {number(fell[1])}，被拒回答从 {number(fell_more[0])} 降到 "
            f"{number(fell_more[1])}：相对参考模型，两者的对数概率都在下降，差距变大只因为后者降得更多",
        ),
        Text(
            "lower learning_rate or raise dpo_beta, stop earlier, or train a little on the chosen answers first (sft)",
            "调低 learning_rate 或调高 dpo_beta，早些停止，或先用被选回答做一点 sft",
        ),
        _LESSON,
        (int(margin.x[0]), int(margin.x[-1])),
        {
            "chosen_first": fell[0],
            "chosen_last": fell[1],
            "rejected_first": fell_more[0],
            "rejected_last": fell_more[1],
        },
    )


def _ends(points: Points) -> tuple[float, float]:
    """The means of the first and of the last tenth."""
    length = max(len(points) // 10, 1)
    return statistics.fmean(points.y[:length]), statistics.fmean(points.y[-length:])


def degenerate_groups(record: Record) -> Finding | None:
    """Most groups of answers all got the same reward: they teach nothing, for their advantages are zero."""
    shares = record.curve("degenerate_groups")
    if len(shares) < 10:
        return None
    recent = shares.y[-20:]
    share = statistics.fmean(recent)
    if share < _DEGENERATE:
        return None
    rewards = record.curve("reward").y
    reward = statistics.fmean(rewards[-20:]) if len(rewards) else 0.0
    return Finding(
        "degenerate-groups",
        "warning",
        Text("most groups teach nothing", "多数组学不到东西"),
        Text(
            f"in {percent(share)} of the groups every answer got the same reward (mean {number(reward)}): their advantages "
            "are zero and the step is spent for nothing",
            f"{percent(share)} 的组里每个回答得分相同（平均奖励 {number(reward)}）：优势全为零，这一步白费了",
        ),
        Text(
            "a low reward: easier tasks or more SFT; a high one: harder tasks or the end; between: larger groups or a "
            "higher temperature",
            "奖励低：换更容易的题或多做 SFT；奖励高：换更难的题或结束训练；介于其间：增大组或提高温度",
        ),
        _LESSON,
        (int(shares.x[-len(recent)]), int(shares.x[-1])),
        {"degenerate_share": share, "reward": reward},
    )
