"""The figures that runs record, sorted into charts and named in both languages. No Textual.

A method may record any series: those not named here are sorted by the words of their names, so that nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from minimind.events import Text
from minimind.safe_text import clean_line

HELD_OUT = "validation_"
UNDRAWN = frozenset({"eta_seconds", "tokens", "epoch"})
"""Straight lines, which other places show."""


@dataclass(frozen=True, slots=True)
class Group:
    """Series that share a scale, and so a chart. `takes` is asked for a name and its words; the first that says yes has it."""

    id: str
    title: Text
    takes: Callable[[str, frozenset[str]], bool]
    scale: float = 1.0
    """What values are multiplied by before they are drawn."""


def _any_of(*wanted: str) -> Callable[[str, frozenset[str]], bool]:
    return lambda _, words: not words.isdisjoint(wanted)


_SORTED = (
    Group("loss", Text("Loss", "损失"), lambda name, _: name == "loss"),
    Group("bits", Text("Bits per byte", "比特/字节"), lambda name, _: name.endswith("bits_per_byte")),
    Group(
        "load",
        Text("Load of the experts", "专家负载"),
        _any_of("expert", "experts", "load", "balance", "router", "aux"),
    ),
    Group("accuracy", Text("Right answers", "答对的比例"), _any_of("accuracy", "success", "solved")),
    Group("shares", Text("Shares", "占比"), _any_of("share", "fraction", "degenerate", "wait", "explained")),
    Group("kl", Text("KL divergence", "KL 散度"), _any_of("kl")),
    Group(
        "losses",
        Text("Parts of the loss", "损失的各部分"),
        lambda name, words: "loss" in words or "cross_entropy" in name,
    ),
    Group("margins", Text("Preference margins", "偏好间隔"), _any_of("margin", "margins", "chosen", "rejected")),
    Group("rewards", Text("Reward", "奖励"), _any_of("reward", "rewards", "return", "returns", "advantage", "value")),
    Group("entropy", Text("Entropy", "熵"), _any_of("entropy")),
    Group("length", Text("Length of answers", "回答长度"), _any_of("length", "turns")),
    Group("gradient", Text("Gradient norm", "梯度范数"), _any_of("gradient", "grad", "norm", "clip")),
    Group("rate", Text("Learning rate", "学习率"), lambda name, _: "learning_rate" in name),
    Group("speed", Text("Tokens/s", "词元/秒"), lambda name, _: name.endswith("per_second")),
    Group("seconds", Text("Seconds", "秒"), _any_of("seconds", "time")),
    Group("memory", Text("Memory, GB", "内存，GB"), _any_of("memory", "bytes"), 1e-9),
    Group("scale", Text("Loss scale", "损失缩放"), _any_of("scale", "scaler")),
    Group("other", Text("Other figures", "其他数据"), lambda *_: True),
)
_SHOWN = [
    "loss",
    "rewards",
    "margins",
    "accuracy",
    "kl",
    "losses",
    "rate",
    "gradient",
    "speed",
    "memory",
    "bits",
    "shares",
    "entropy",
    "length",
    "load",
    "seconds",
    "scale",
    "other",
]
GROUPS: Mapping[str, Group] = {name: next(group for group in _SORTED if group.id == name) for name in _SHOWN}
"""The groups in the order in which their charts stand."""

_NAMES: Mapping[str, Text] = {
    "loss": Text("training", "训练"),
    "validation_loss": Text("held-out", "留出集"),
    "learning_rate": Text("now", "当前"),
    "gradient_norm": Text("now", "当前"),
    "tokens_per_second": Text("now", "当前"),
    "memory_bytes": Text("in use", "已用"),
    "validation_bits_per_byte": Text("held-out", "留出集"),
    "reward": Text("mean reward", "平均奖励"),
    "kl": Text("KL", "KL"),
    "entropy": Text("entropy", "熵"),
    "margin": Text("margin", "间隔"),
    "accuracy": Text("accuracy", "正确率"),
    "chosen_reward": Text("chosen", "选中"),
    "rejected_reward": Text("rejected", "落选"),
    "reward_correct": Text("correct", "答对"),
    "reward_format": Text("format", "格式"),
    "reward_length": Text("length", "长度"),
    "reward_repetition": Text("repetition", "重复"),
    "reward_thinking": Text("thinking", "思考"),
    "reward_think_close": Text("end of thinking", "结束思考"),
    "reward_calls": Text("calls", "调用"),
    "reward_verified": Text("verified", "核对"),
    "reward_finished": Text("finished", "说完"),
    "reward_tags": Text("tags", "标签"),
    "reward_spread": Text("spread within groups", "组内差异"),
    "value": Text("critic expects", "价值网络的预期"),
    "policy_loss": Text("policy", "策略"),
    "value_loss": Text("critic", "价值网络"),
    "ce_loss": Text("data", "数据"),
    "distill_loss": Text("teacher", "教师"),
    "approximate_kl": Text("to the answers' policy", "与抽取回答时的策略"),
    "trained_share": Text("trained tokens", "参与训练的词元"),
    "data_wait": Text("waiting for data", "等待数据"),
    "finished_share": Text("finished answers", "说完的回答"),
    "degenerate_groups": Text("groups without spread", "没有差异的组"),
    "clip_fraction": Text("clipped", "被截断的"),
    "explained_variance": Text("explained by the critic", "价值网络解释的方差"),
    "answer_length": Text("tokens an answer", "每个回答的词元数"),
}


@lru_cache(1024)
def group_of(series: str) -> str:
    """The id of the group that `series` belongs to."""
    name = series.removeprefix(HELD_OUT)
    words = frozenset(name.lower().replace("/", "_").replace(".", "_").split("_"))
    return next(group.id for group in _SORTED if group.takes(name, words))


def name_of(series: str) -> Text:
    """What a legend calls `series` (untrusted: cleaned)."""
    known = _NAMES.get(series)
    if known is not None:
        return known
    if series.startswith(HELD_OUT):
        inner = name_of(series.removeprefix(HELD_OUT))
        return Text(f"{inner.en}, held-out", f"{inner.zh}（留出集）")
    words = clean_line(series.replace("_", " "), 40)
    return Text(words, words)


def main_group(series: Iterable[str]) -> str:
    """The group that says how well a run does: the reward where one is recorded, else the loss."""
    return "rewards" if any(group_of(name) == "rewards" for name in series) else "loss"
