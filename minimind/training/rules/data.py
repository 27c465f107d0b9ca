"""Rules about the data: is enough of it trained on, is it read too often, does what is learnt hold on other text?"""

from __future__ import annotations

import math
import statistics

from minimind.events import Text
from minimind.figures import number, percent
from minimind.training.rules.finding import Finding, Record

_FEW_TRAINED, _SOME_TRAINED = 0.1, 0.2
_MANY_EPOCHS = 4.0
"""Up to four passes are nearly as good as new data (Muennighoff et al. 2023, "Scaling Data-Constrained Language
Models", section 5)."""
_RISE = 0.02
_GAP = 0.25
_GAP_NATS = 0.15
_RECENT = 0.25


def mask_share(record: Record) -> Finding | None:
    """Few of the tokens read are trained on: the rest is computed for nothing."""
    shares = record.curve("trained_share").y
    if record.explores or len(shares) < 10:
        return None
    share = statistics.fmean(shares)
    if share >= _SOME_TRAINED:
        return None
    return Finding(
        "mask-share",
        "warning" if share < _FEW_TRAINED else "info",
        Text("few tokens are trained on", "参与训练的词元太少"),
        Text(
            f"only {percent(share)} of the tokens read count in the loss: the rest is prompts, tool results or answers "
            "that were cut off",
            f"读到的词元只有 {percent(share)} 计入损失：其余是提示、工具结果，或被截断的回答",
        ),
        Text(
            "look at samples with minimind data mask; raise sequence_length if answers are cut off, or take data with "
            "longer answers",
            "用 minimind data mask 看看样本；若回答被截断就加大 sequence_length，否则换回答更长的数据",
        ),
        "finetuning",
        None,
        {"trained_share": share, "lowest": min(shares)},
    )


def repeated_data(record: Record) -> Finding | None:
    """The same documents are read more often than it helps."""
    epochs = record.curve("epoch")
    if record.explores or not len(epochs):
        return None
    read = epochs.y[-1]
    planned = read * record.planned / epochs.x[-1] if record.planned and epochs.x[-1] > 0 else read
    if max(read, planned) <= _MANY_EPOCHS or record.step < 20:
        return None
    worse = _rise_of_held_out(record) is not None
    return Finding(
        "repeated-data",
        "warning" if worse or read > _MANY_EPOCHS else "info",
        Text("the data are read again and again", "同样的数据读了太多遍"),
        Text(
            f"each document has been read {read:.1f} times, and will have been {max(read, planned):.0f} times at the end: "
            "beyond about four passes a model learns the texts by heart",
            f"每篇文档已读 {read:.1f} 遍，结束时将达 {max(read, planned):.0f} 遍：大约四遍之后，模型就是在背书",
        ),
        Text(
            "take more data (data_megabytes, more files) or fewer steps",
            "请增加数据（data_megabytes 或更多文件），或减少步数",
        ),
        "data",
        None,
        {"epochs": read, "planned_epochs": max(read, planned)},
    )


def held_out_gap(record: Record) -> Finding | None:
    """The held-out loss rises again, or lies far above the training loss: the model learns these texts, not the language."""
    loss, held_out = record.curve("loss"), record.curve("validation_loss")
    if record.explores or not record.predicts or len(held_out) < 3 or len(loss) < 20:
        return None
    now = held_out.y[-1]
    recent = loss.after(record.step * (1 - _RECENT)).y or loss.y[-5:]
    trained = statistics.fmean(recent)
    if trained > loss.y[0]:  # it diverges: that is another rule's matter
        return None
    rise = _rise_of_held_out(record)
    wide = now - trained > max(_GAP * now, _GAP_NATS) and record.step > 50
    if rise is None and not wide:
        return None
    best_step, best = rise or (int(held_out.x[-1]), min(held_out.y))
    risen = Text(
        f"the held-out loss was lowest at step {best_step} ({number(best)}) and is {number(now)} now, while the training "
        f"loss went on falling to {number(trained)}",
        f"留出集损失在第 {best_step} 步最低（{number(best)}），现在是 {number(now)}，而训练损失还在降（{number(trained)}）",
    )
    apart = Text(
        f"the held-out loss ({number(now)}) lies far above the training loss ({number(trained)})",
        f"留出集损失（{number(now)}）远高于训练损失（{number(trained)}）",
    )
    return Finding(
        "held-out-gap",
        "warning",
        Text("it learns by heart", "模型在死记硬背")
        if rise
        else Text("training and held-out loss part", "训练与留出集损失拉开"),
        risen if rise else apart,
        Text(
            f"take the checkpoint of step {best_step} or the nearest before; then more data, fewer epochs or a smaller rate"
            if rise
            else "more or more varied data, fewer epochs; see that both parts are of the same kind of text",
            f"改用第 {best_step} 步或之前最近的检查点；然后增加数据、减少轮数或调低学习率"
            if rise
            else "请增加数据或使其更多样，减少轮数；并确认两部分是同一类文本",
        ),
        "evaluation",
        (best_step, int(held_out.x[-1])),
        {"held_out_loss": now, "best_held_out_loss": best, "best_step": float(best_step), "training_loss": trained},
    )


def _rise_of_held_out(record: Record) -> tuple[int, float] | None:
    """Step and value of the lowest held-out loss, where the last two lie more than 2 % above it; else None."""
    held_out = record.curve("validation_loss")
    if len(held_out) < 4:
        return None
    best = min(range(len(held_out)), key=lambda index: held_out.y[index])
    limit = held_out.y[best] + _RISE * abs(held_out.y[best])
    if best >= len(held_out) - 2 or min(held_out.y[-2:]) <= limit or math.isnan(limit):
        return None
    return int(held_out.x[best]), held_out.y[best]
