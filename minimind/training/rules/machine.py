"""Rules about the machine: does it wait, does it slow down?"""

from __future__ import annotations

import statistics

from minimind.events import Text
from minimind.figures import percent, quantity
from minimind.training.rules.finding import Finding, Record

_WAITING = 0.2
_RECENT_POINTS = 100
_DROP = 0.7
_LASTING_SECONDS = 30.0
_LEAST_POINTS = 80


def data_wait(record: Record) -> Finding | None:
    """The steps wait for batches: the device is idle in the meantime."""
    shares = record.curve("data_wait")
    if record.explores or len(shares) < 20:
        return None
    share = statistics.median(shares.y[-_RECENT_POINTS:])
    if share < _WAITING:
        return None
    return Finding(
        "data-wait",
        "warning",
        Text("it waits for data", "训练在等数据"),
        Text(
            f"{percent(share)} of each step goes into making the batch, during which the device idles",
            f"每一步有 {percent(share)} 的时间花在准备批次上，这段时间设备是空闲的",
        ),
        Text(
            "put the data on a local disk; fewer, larger batches (batch_size) cost less to make",
            "请把数据放在本地磁盘上；批次少而大（batch_size）准备起来更省时",
        ),
        "data",
        None,
        {"data_wait": share},
    )


def throughput_drop(record: Record) -> Finding | None:
    """Tokens a second have fallen by 30 % and stay down for half a minute: the last fifth of the points against the best fifth before.

    Reinforcement learning is left out: its answers grow and shrink as it learns.
    """
    speed = record.curve("tokens_per_second")
    if record.explores or len(speed) < _LEAST_POINTS:
        return None
    length = len(speed) // 5
    parts = [statistics.median(speed.y[start : start + length]) for start in range(0, length * 5, length)]
    best, now = max(parts[:-1]), statistics.median(speed.y[-length:])
    tokens = record.curve("tokens").after(speed.x[-length]).y
    seconds = (tokens[-1] - tokens[0]) / max(now, 1e-9) if tokens else 0.0
    if now >= _DROP * best or max(speed.y[-length:]) >= best or seconds < _LASTING_SECONDS:
        return None
    middle = (best + now) / 2
    since = next(x for x, y in zip(reversed(speed.x), reversed(speed.y), strict=True) if y > middle)
    return Finding(
        "throughput-drop",
        "warning",
        Text("it has become slower", "训练变慢了"),
        Text(
            f"{quantity(now)} tokens a second since step {since:.0f}, after {quantity(best)} before ({percent(now / best)})",
            f"从第 {since:.0f} 步起每秒 {quantity(now)} 个词元，之前是 {quantity(best)}（只剩 {percent(now / best)}）",
        ),
        Text(
            "look at what else runs on the machine, at its temperature and at free memory (minimind runs machine)",
            "看看机器上还在跑什么、温度和剩余内存（minimind runs machine）",
        ),
        "pretraining",
        (int(since), int(speed.x[-1])),
        {"before": best, "now": now, "share": now / best},
    )
