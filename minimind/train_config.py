"""What a training run can be told: TrainConfig, put together from the settings of its parts. No torch.

A setting that only some methods know names them (``methods=("dpo",)``): forms show it for those alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minimind.declaration import Config, Field, setting
from minimind.reinforcement_config import (
    REINFORCEMENT,
    TASK_KINDS,
    ActorCriticSettings,
    ReinforcementSettings,
    ToolSettings,
)

OBJECTIVES = (
    "pretrain",
    "sft",
    "dpo",
    "distillation",
    "grpo",
    "cispo",
    "ppo",
    "tools",
)
"""The training methods, each a file of that name in ``minimind/training/objectives``."""
DURATIONS = ("steps", "minutes", "epochs")
"""Settings of which a config has one at most."""
RECIPES = ("default", "released")
"""Where settings come from that a person does not name: TRAIN_PRESETS, or RELEASED."""


@dataclass(frozen=True, kw_only=True)
class DataSettings(Config):
    """What is trained, on what, and for how long."""

    objective: str = setting("pretrain", "what a step minimises", "每一步最小化什么", choices=OBJECTIVES)
    model: str = setting("nano", "preset, or a checkpoint to start from", "预设名，或作为起点的检查点")
    data: tuple[str, ...] = setting(("embedded",), "data set name or files", "数据集名或文件")
    data_megabytes: float = setting(
        6.0, "how much of the embedded corpus to generate", "生成多少内置语料", low=0.01, high=4096, unit="MB"
    )
    tokenizer: str | None = setting(
        None,
        "shipped tokenizer, directory or tokenizer.json (none: the model's)",
        "自带词表名、目录或 tokenizer.json（none：随模型）",
        advanced=True,
    )
    steps: int | None = setting(
        None,
        "optimiser steps (none: from minutes or epochs)",
        "优化步数（none：由分钟数或轮数决定）",
        low=1,
        high=100_000_000,
    )
    minutes: float | None = setting(None, "training time", "训练时长", low=0.01, high=1_000_000, unit="min")
    epochs: float | None = setting(None, "passes over the data", "数据遍数", low=0.001, high=10_000)
    batch_size: int = setting(16, "sequences a micro-step", "每个微步的序列数", low=1, high=65536)
    accumulation_steps: int = setting(1, "micro-steps an optimiser step", "每次更新累积的微步数", low=1, high=65536)
    sequence_length: int = setting(256, "tokens a sequence", "序列长度（词元）", low=2, high=1_000_000)


LORA_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a block that LoRA can adapt."""


@dataclass(frozen=True, kw_only=True)
class AdaptationSettings(Config):
    """Which parameters train, whatever the method (Hu et al. 2021, "LoRA")."""

    tune: str = setting(
        "full",
        "what trains: every parameter, or a low-rank correction beside frozen ones",
        "训练什么：全部参数，或冻结参数旁的低秩修正（LoRA）",
        choices=("full", "lora"),
    )
    lora_rank: int = setting(16, "rank of the corrections", "低秩修正的秩", low=1, high=4096, methods=("lora",))
    lora_alpha: float | None = setting(
        None,
        "corrections count alpha/rank times (none: once, as released)",
        "修正量乘以 alpha/秩（none：乘 1，与发布的一致）",
        low=1e-3,
        high=1e5,
        methods=("lora",),
    )
    lora_targets: tuple[str, ...] = setting(
        ("q_proj", "o_proj"),
        "the layers that are corrected",
        "修正哪些线性层",
        choices=LORA_TARGETS,
        methods=("lora",),
    )


@dataclass(frozen=True, kw_only=True)
class PreferenceSettings(Config):
    """Direct preference optimisation (Rafailov et al. 2023)."""

    dpo_beta: float = setting(
        0.15,
        "beta: how dear it is to move away from the start",
        "beta：偏离起始模型的代价",
        low=1e-4,
        high=100.0,
        methods=("dpo",),
    )


@dataclass(frozen=True, kw_only=True)
class DistillationSettings(Config):
    """Learning from a teacher's probabilities (Hinton et al. 2015)."""

    teacher: str | None = setting(
        None,
        "the model to learn from, with the same tokenizer",
        "教师模型（词表必须相同）",
        methods=("distillation",),
    )
    distill_alpha: float = setting(
        0.5,
        "share of the data's own loss; the rest is the teacher's",
        "数据自身损失所占的比例，其余来自教师",
        low=0.0,
        high=1.0,
        methods=("distillation",),
    )
    distill_temperature: float = setting(
        1.5,
        "temperature at which both are compared",
        "比较两者概率时的温度",
        low=0.05,
        high=100.0,
        methods=("distillation",),
    )


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Config):
    """How gradients become new weights."""

    recipe: str = setting(
        "default",
        "where unnamed settings come from: what measured best here, or MiniMind's released scripts",
        "未指定的设置取自哪里：本项目实测最好的，或 MiniMind 发布脚本的",
        choices=RECIPES,
    )
    optimizer: str = setting(
        "adamw",
        "AdamW for everything, or Muon for the matrices and AdamW for the rest",
        "全部用 AdamW，或矩阵用 Muon、其余用 AdamW",
        choices=("adamw", "muon"),
    )
    learning_rate: float = setting(3e-3, "peak learning rate", "学习率峰值", low=0.0, high=10.0)
    minimum_learning_rate: float = setting(
        0.1, "final learning rate as a share of the peak", "末尾学习率占峰值的比例", low=0.0, high=1.0
    )
    warmup: float = setting(0.03, "share of the steps spent warming up", "预热步数占比", low=0.0, high=0.9)
    schedule: str = setting(
        "cosine",
        "how the learning rate falls (wsd: stays, and falls at the end)",
        "学习率如何下降（wsd：保持不变，末段才降）",
        choices=("cosine", "linear", "wsd", "constant"),
    )
    decay: float = setting(
        0.2, "share of the steps in which wsd falls", "wsd 末段下降的步数占比", low=0.0, high=1.0, advanced=True
    )
    embedding_rate: float = setting(
        1.0,
        "learning rate of the embeddings, in learning rates",
        "词嵌入的学习率（学习率的倍数）",
        low=0.0,
        high=1000.0,
        advanced=True,
    )
    weight_decay: float = setting(
        0.1, "weight decay of matrices", "矩阵参数的权重衰减", low=0.0, high=10.0, advanced=True
    )
    decay_all: bool = setting(
        False,
        "embeddings and norms decay too (PyTorch's default)",
        "词嵌入与归一化参数也衰减（PyTorch 的默认做法）",
        advanced=True,
    )
    beta1: float = setting(0.9, "AdamW beta 1", "AdamW 的 beta1", low=0.0, high=0.9999, advanced=True)
    beta2: float = setting(0.95, "AdamW beta 2", "AdamW 的 beta2", low=0.0, high=0.99999, advanced=True)
    momentum: float = setting(0.95, "Muon's momentum", "Muon 的动量", low=0.0, high=0.9999, advanced=True)
    clip: float = setting(1.0, "largest gradient norm", "梯度范数上限", low=1e-9, high=1e9, advanced=True)
    ema: float = setting(
        0.0,
        "decay of a running average of the weights, which is then what is evaluated and saved (0: none)",
        "权重滑动平均的衰减率；启用后评估与保存的都是平均值（0：不用）",
        low=0.0,
        high=0.999999,
        advanced=True,
    )
    zero_output: bool = setting(
        False,
        "a new model begins with output projections of zero: each block adds nothing at first",
        "新模型的输出投影从零开始：每一层起初不改变残差流",
        advanced=True,
    )
    embedding_scale: float = setting(
        0.02,
        "standard deviation of a new model's embeddings",
        "新模型词嵌入的标准差",
        low=1e-6,
        high=10.0,
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class MachineSettings(Config):
    """Where and how it is computed."""

    seed: int = setting(42, "seed of weights and data order", "权重与数据顺序的随机种子", low=0, high=2**31 - 1)
    device: str = setting("auto", "device", "设备", choices=("auto", "cpu", "cuda", "mps"))
    dtype: str = setting(
        "auto",
        "precision of the forward pass",
        "前向计算的精度",
        choices=("auto", "float32", "bfloat16", "float16"),
        advanced=True,
    )
    compile: str = setting(
        "auto",
        "what is compiled: our own kernels (CPU), the model by torch.compile, or nothing",
        "编译什么：自带的内核（CPU）、用 torch.compile 编译模型，或不编译",
        choices=("auto", "kernels", "torch", "off"),
        advanced=True,
    )
    gradient_checkpointing: bool = setting(
        False,
        "keep only what enters each block and compute the rest again: less memory, a quarter slower",
        "只保留每层的输入，其余在反向时重算：省内存，约慢四分之一",
        advanced=True,
    )
    deterministic: bool = setting(
        False,
        "only algorithms that give the same bits each time (matters on a GPU; slower)",
        "只用每次结果逐位相同的算法（主要影响 GPU，会慢一些）",
        advanced=True,
    )
    threads: int | None = setting(
        None, "CPU threads (none: all cores)", "CPU 线程数（none：全部核心）", low=1, high=1024, advanced=True
    )


@dataclass(frozen=True, kw_only=True)
class ProcessSettings(Config):
    """How several processes share the work."""

    processes: int = setting(
        1,
        "processes on each machine that share every batch (one a GPU)",
        "每台机器上分担每个批次的进程数（每块 GPU 一个）",
        low=1,
        high=1024,
    )
    sharding: str = setting(
        "none",
        "what several processes keep: the whole model each, or a shard of it each (for models too large for one GPU)",
        "多进程各存什么：none 为各存整个模型，fsdp 为各存一个分片（用于单块 GPU 放不下的模型）",
        choices=("none", "fsdp"),
        advanced=True,
        methods=("pretrain", "sft", "dpo", "distillation"),  # those that do not write while they learn
    )
    process_timeout: float = setting(
        600.0,
        "seconds one of several processes may stand still before the run is ended",
        "多进程训练中，一个进程停滞多少秒后结束训练",
        low=1.0,
        high=1_000_000,
        unit="s",
        advanced=True,
    )
    restarts: int = setting(
        1,
        "times several processes begin again from the last checkpoint after one was lost",
        "多进程训练中，有进程丢失后从最近的检查点重新开始的次数",
        low=0,
        high=1000,
        advanced=True,
    )


@dataclass(frozen=True, kw_only=True)
class RecordSettings(Config):
    """What is measured and kept on the way."""

    evaluate_every: int = setting(
        50, "steps between held-out evaluations", "每隔多少步在留出集上评估", low=1, high=100_000_000
    )
    evaluation_tokens: int = setting(
        32768, "held-out tokens an evaluation", "每次评估的留出词元数", low=64, high=1_000_000_000, advanced=True
    )
    patience: int | None = setting(
        None,
        "evaluations in a row without a new best after which training ends (none: never)",
        "连续多少次评估没有变好就提前结束（none：从不）",
        low=1,
        high=1_000_000,
        advanced=True,
    )
    sample_every: int = setting(50, "steps between samples", "每隔多少步生成样例", low=1, high=100_000_000)
    save_every: int = setting(100, "steps between checkpoints", "每隔多少步存检查点", low=1, high=100_000_000)
    keep_checkpoints: int = setting(5, "checkpoints kept (the newest)", "保留最近几个检查点", low=1, high=10_000)
    allow_bad: bool = setting(
        False, "go on when more than 5 % of the lines are malformed", "坏行超过 5 % 也继续", advanced=True
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(
    RecordSettings,
    ProcessSettings,
    MachineSettings,
    OptimizerSettings,
    ToolSettings,
    ActorCriticSettings,
    ReinforcementSettings,
    DistillationSettings,
    PreferenceSettings,
    AdaptationSettings,
    DataSettings,
):
    """One training run. Batches count sequences a micro-step; tokens a step = batch_size · accumulation_steps · sequence_length.

    The bases stand in reverse: the fields of the last one come first.
    """

    @property
    def method(self) -> str:
        """The objective, and how it is tuned where that is not in full: what a list of runs shows."""
        return self.objective if self.tune == "full" else f"{self.objective}-{self.tune}"

    def applies(self, about: Field) -> bool:
        """Whether the setting so declared means anything with this objective and this tuning."""
        return not about.methods or not {self.objective, self.tune}.isdisjoint(about.methods)

    def applying(self) -> dict[str, Any]:
        """The settings that mean anything here, in declaration order."""
        return {item.name: getattr(self, item.name) for item in self.declared() if self.applies(item.about)}

    def __post_init__(self) -> None:
        self._check(
            (
                sum(value is not None for value in (self.steps, self.minutes, self.epochs)) <= 1,
                "steps, minutes and epochs exclude each other: give one of them",
                "steps、minutes、epochs 只能给一个",
            ),
            (
                self.processes <= self.batch_size,
                f"processes = {self.processes} share the {self.batch_size} sequences of batch_size: raise batch_size",
                f"processes = {self.processes} 个进程要分担 batch_size 的 {self.batch_size} 条序列：请增大 batch_size",
            ),
            (
                bool(self.lora_targets),
                f"lora_targets is empty: name some of {', '.join(LORA_TARGETS)}",
                f"lora_targets 为空：请从 {'、'.join(LORA_TARGETS)} 中选",
            ),
            (
                self.processes == 1 or self.device != "mps",
                "device = 'mps' works with one process: use processes = 1",
                "device = 'mps' 只支持一个进程：请用 processes = 1",
            ),
            (
                self.sharding == "none" or (self.optimizer == "adamw" and not self.ema and self.dtype != "float16"),
                "sharding = 'fsdp' works with optimizer = 'adamw', ema = 0 and float32 or bfloat16: change those",
                "sharding = 'fsdp' 只支持 optimizer = 'adamw'、ema = 0 以及 float32 或 bfloat16：请调整这些设置",
            ),
            (bool(self.data), "data is empty: name a data set or a file", "data 为空：请给出数据集名或文件"),
            (
                bool(self.tasks),
                f"tasks is empty: name some of {', '.join(TASK_KINDS)}",
                f"tasks 为空：请从 {'、'.join(TASK_KINDS)} 中选",
            ),
            (
                self.objective not in REINFORCEMENT or self.sharding == "none",
                f"sharding = {self.sharding!r}: {self.objective} draws its answers from a whole model: use none",
                f"sharding = {self.sharding!r}：{self.objective} 要从完整的模型抽取回答：请用 none",
            ),
            (
                self.objective not in REINFORCEMENT or self.max_new_tokens < self.sequence_length,
                f"max_new_tokens = {self.max_new_tokens} leaves no room for a prompt: lower it below sequence_length",
                f"max_new_tokens = {self.max_new_tokens} 没有给提示留位置：请调到 sequence_length 以下",
            ),
        )
