"""What a run that learns from rewards can be told besides what every run can, and values that were found good. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minimind.declaration import Config, setting

REINFORCEMENT = ("grpo", "cispo", "ppo", "tools")
"""The methods that learn from the rewards of answers drawn from the model."""
TASK_KINDS = ("arithmetic", "counting", "listing", "length")
"""The kinds of tasks that are made here."""


@dataclass(frozen=True, kw_only=True)
class ReinforcementSettings(Config):
    """What is asked, how answers are drawn, and how far the policy may move. A batch is of tasks, not of sequences."""

    tasks: tuple[str, ...] = setting(
        ("arithmetic", "counting", "listing"),
        "kinds of embedded tasks",
        "内置任务的种类：算术、数数、列举、按句数讲故事",
        choices=TASK_KINDS,
        methods=("grpo", "cispo", "ppo"),
    )
    group_size: int = setting(
        6,
        "answers drawn to each task",
        "每个任务抽取的回答数",
        low=2,
        high=1024,
        methods=("grpo", "cispo", "tools"),
    )
    max_new_tokens: int = setting(
        64, "longest answer", "回答的最大长度", low=1, high=100_000, unit="tokens", methods=REINFORCEMENT
    )
    rollout_temperature: float = setting(
        1.0, "temperature answers are drawn at", "抽取回答的温度", low=0.05, high=5.0, methods=REINFORCEMENT
    )
    updates_per_rollout: int = setting(
        1, "updates made of the same answers", "同一批回答用于几次更新", low=1, high=100, methods=REINFORCEMENT
    )
    kl_coefficient: float = setting(
        0.02,
        "β: weight of the divergence from the model at the start (0: none)",
        "β：偏离起始模型的惩罚系数（0：不惩罚）",
        low=0.0,
        high=100.0,
        methods=REINFORCEMENT,
    )
    clip_low: float = setting(
        0.2,
        "how far below 1 a probability ratio counts",
        "概率比低于 1 多少以内仍计入",
        low=0.0,
        high=1.0,
        methods=("grpo", "ppo"),
        advanced=True,
    )
    clip_high: float = setting(
        0.2,
        "how far above 1 a probability ratio counts",
        "概率比高于 1 多少以内仍计入",
        low=0.0,
        high=100.0,
        methods=("grpo", "ppo"),
        advanced=True,
    )
    importance_limit: float = setting(
        5.0,
        "largest importance weight",
        "重要性权重的上限",
        low=0.1,
        high=1000.0,
        methods=("cispo", "tools"),
        advanced=True,
    )
    thinking_ratio: float = setting(
        0.0,
        "share of tasks whose answer begins with a thought",
        "回答以思考开头的任务占比",
        low=0.0,
        high=1.0,
        methods=REINFORCEMENT,
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class ActorCriticSettings(Config):
    """What PPO's critic is like, how advantages are measured against it, and when answers are old."""

    critic_learning_rate: float = setting(
        1e-3, "peak learning rate of the critic", "价值网络的学习率峰值", low=0.0, high=10.0, methods=("ppo",)
    )
    critic_width: int = setting(
        256, "width of the critic's layers", "价值网络的层宽", low=1, high=65536, methods=("ppo",), advanced=True
    )
    minibatches: int = setting(
        4,
        "batches of tasks answered before the next updates",
        "每轮更新之前作答的任务批数",
        low=1,
        high=1024,
        methods=("ppo",),
    )
    gamma: float = setting(
        1.0, "γ: what the next token's reward counts", "γ：下一个词元的奖励的折扣", low=0.0, high=1.0, methods=("ppo",)
    )
    gae_lambda: float = setting(
        0.95,
        "λ: 0 trusts the critic, 1 the rewards alone",
        "λ：0 表示只信价值网络，1 表示只信实际奖励",
        low=0.0,
        high=1.0,
        methods=("ppo",),
    )
    value_coefficient: float = setting(
        0.5, "weight of the critic's loss", "价值损失的系数", low=0.0, high=100.0, methods=("ppo",), advanced=True
    )
    value_clip: float = setting(
        0.2,
        "how far a value may gain by moving in one rollout",
        "一轮之内价值的移动在多大范围内仍有收益",
        low=0.0,
        high=1000.0,
        methods=("ppo",),
        advanced=True,
    )
    early_stop_kl: float = setting(
        0.25,
        "divergence from the policy that drew the answers at which new ones are drawn",
        "与抽取回答时的策略相差多少（KL）就重新抽取",
        low=0.0,
        high=1000.0,
        methods=("ppo",),
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class ToolSettings(Config):
    """How long an episode with tools may go on."""

    most_turns: int = setting(
        3,
        "turns of the model in an episode, the last included",
        "一个回合里模型最多说几轮（含最后一轮）",
        low=1,
        high=100,
        methods=("tools",),
    )


NANO_REINFORCEMENT: dict[str, Any] = {
    "minutes": 2.0,
    "tasks": ("counting", "listing"),
    "batch_size": 4,
    "group_size": 8,
    "max_new_tokens": 48,
    "learning_rate": 1e-4,
    "warmup": 0.02,
    "schedule": "wsd",
    "evaluate_every": 100,
    "sample_every": 50,
    "evaluation_tokens": 40_000,
}
"""What was measured to raise the reward of a nano model in minutes on two cores.

32 answers an update raise it as much as 128 do in twice the computing. Sums are left out: of those it was never taught
a nano model gets half right before and after, of the others nine in ten.
"""

NANO_PPO: dict[str, Any] = {
    "minutes": 2.0,
    "tasks": ("length",),
    "batch_size": 32,
    "minibatches": 2,
    "max_new_tokens": 128,
    "updates_per_rollout": 2,
    "learning_rate": 3e-4,
    "warmup": 0.05,
    "evaluate_every": 80,
    "sample_every": 40,
    "evaluation_tokens": 24000,
}
"""The same for PPO: stories of a given number of sentences, which the model begins far from."""

NANO_TOOLS: dict[str, Any] = {
    "data": ("embedded-tools",),
    "minutes": 2.0,
    "batch_size": 12,
    "group_size": 6,
    "max_new_tokens": 96,
    "sequence_length": 1024,
    "learning_rate": 2e-4,
    "warmup": 0.05,
    "evaluate_every": 20,
    "sample_every": 20,
    "evaluation_tokens": 16000,
}
"""The same for tool use, after fine-tuning on embedded-tools."""

RELEASED_REINFORCEMENT: dict[str, Any] = {
    "epochs": 1.0,
    "batch_size": 2,
    "learning_rate": 3e-7,
    "sequence_length": 768 + 1024,
    "max_new_tokens": 1024,
    "group_size": 6,
    "kl_coefficient": 0.1,
    "rollout_temperature": 0.8,
    "thinking_ratio": 0.9,
}
"""What the released MiniMind-3 scripts set, for prompts of rlaif.jsonl."""

RELEASED_PPO: dict[str, Any] = {
    **{name: value for name, value in RELEASED_REINFORCEMENT.items() if name != "group_size"},
    "kl_coefficient": 0.02,
    "critic_learning_rate": 5e-7,
    "minibatches": 1,
    "updates_per_rollout": 2,
}
"""The same for PPO."""

RELEASED_TOOLS: dict[str, Any] = RELEASED_REINFORCEMENT | {
    "sequence_length": 2500,
    "max_new_tokens": 768,
    "group_size": 4,
    "thinking_ratio": 0.1,
}
"""The same for agent_rl.jsonl."""
