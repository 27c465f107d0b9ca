"""Everything that can be set: ModelConfig, SampleConfig, EngineConfig, the presets, and TrainConfig. No torch.

Field names of ModelConfig are those of a released ``config.json``. How one declaration becomes a flag, a form field
and a check is in `minimind.declaration`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from minimind.declaration import (
    Config,
    Declared,
    Field,
    add_flags,
    given_flags,
    nearest,
    parse_value,
    read_settings,
    setting,
)
from minimind.errors import UserError
from minimind.train_config import OBJECTIVES, TrainConfig
from minimind.train_presets import BEST_PRETRAINING, TRAIN_PRESETS, released_recipe, train_preset

__all__ = [
    "BEST_PRETRAINING",
    "MINIMIND2",
    "MINIMIND2_ROUTER",
    "MODEL_PRESETS",
    "OBJECTIVES",
    "PRESET_TOKENIZERS",
    "TRAIN_PRESETS",
    "Config",
    "Declared",
    "EngineConfig",
    "Field",
    "ModelConfig",
    "SampleConfig",
    "TrainConfig",
    "add_flags",
    "given_flags",
    "model_preset",
    "parse_value",
    "read_settings",
    "released_recipe",
    "setting",
    "train_preset",
]


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Config):
    """The architecture of a MiniMind model; both released generations are settings of these fields."""

    hidden_size: int = setting(768, "width of the residual stream", "残差流的宽度", low=2, high=16384)
    num_hidden_layers: int = setting(8, "Transformer blocks", "Transformer 层数", low=1, high=256)
    num_attention_heads: int = setting(8, "query heads", "查询头数", low=1, high=256)
    num_key_value_heads: int = setting(
        4, "key/value heads (grouped-query attention)", "键值头数（分组查询注意力）", low=1, high=256
    )
    head_dim: int | None = setting(
        None,
        "width of a head (none: hidden_size / heads)",
        "每个头的宽度（none：hidden_size / 头数）",
        low=2,
        high=1024,
    )
    intermediate_size: int | None = setting(
        None,
        "width of the feed-forward (none: ceil(hidden·π/64)·64)",
        "前馈层宽度（none：ceil(hidden·π/64)·64）",
        low=1,
        high=65536,
    )
    vocab_size: int = setting(6400, "tokens in the vocabulary", "词表大小", low=2, high=1_000_000)
    max_position_embeddings: int = setting(32768, "longest context", "最长上下文", low=2, high=1_000_000)
    rms_norm_eps: float = setting(1e-6, "epsilon of RMSNorm", "RMSNorm 的 epsilon", low=0.0, high=1.0)
    rope_theta: float = setting(1e6, "base of the rotary frequencies", "RoPE 频率的底数", low=1.0)
    qk_norm: bool = setting(True, "RMSNorm on queries and keys (minimind-3)", "对查询和键做 RMSNorm（minimind-3）")
    tie_word_embeddings: bool = setting(True, "share the embedding with the output layer", "输入嵌入与输出层共用权重")
    hidden_act: str = setting("silu", "activation of the gate", "门控的激活函数", choices=("silu", "gelu", "relu"))
    dropout: float = setting(0.0, "dropout probability", "dropout 概率", low=0.0, high=0.95)
    bos_token_id: int = setting(1, "beginning-of-text token", "文本开头的词元", low=0)
    eos_token_id: int = setting(2, "end-of-text token", "文本结尾的词元", low=0)
    pad_token_id: int = setting(0, "padding token", "填充词元", low=0)
    use_moe: bool = setting(False, "a mixture of experts in place of each feed-forward", "用混合专家代替前馈层")
    num_experts: int = setting(4, "experts a router chooses from", "供路由选择的专家数", low=1, high=1024)
    num_experts_per_tok: int = setting(1, "experts that work on each token", "每个词元使用的专家数", low=1, high=1024)
    n_shared_experts: int = setting(
        0, "experts that work on every token besides", "另有几个处理所有词元的共享专家", low=0, high=64
    )
    moe_intermediate_size: int | None = setting(
        None,
        "width of an expert (none: that of the feed-forward)",
        "单个专家的宽度（none：与前馈层相同）",
        low=1,
        high=65536,
    )
    norm_topk_prob: bool = setting(
        True, "the chosen experts' weights sum to 1", "所选专家的权重之和归一为 1", advanced=True
    )
    router_aux_loss_coef: float = setting(
        5e-4, "weight of the load-balancing loss", "负载均衡损失的系数", low=0.0, high=10.0, advanced=True
    )
    seq_aux: bool = setting(
        False, "balance the load within each sequence (MiniMind2)", "按序列均衡负载（MiniMind2）", advanced=True
    )
    inference_rope_scaling: bool = setting(
        False, "YaRN: stretch the rotary positions beyond the trained context", "YaRN：把位置编码拉伸到训练长度之外"
    )
    rope_scaling_type: str = setting(
        "yarn", "which stretching", "用哪种拉伸方式", choices=("yarn", "minimind2"), advanced=True
    )
    rope_scaling_factor: float = setting(
        16.0, "how many times longer the context gets", "上下文拉长的倍数", low=1.0, high=1024.0, advanced=True
    )
    original_max_position_embeddings: int = setting(
        2048, "the context trained on", "训练时的上下文长度", low=2, high=1_000_000, advanced=True
    )
    beta_fast: float = setting(
        32.0,
        "turns in that context from which a pair stays",
        "转满多少圈以上的分量不变",
        low=0.01,
        high=1e6,
        advanced=True,
    )
    beta_slow: float = setting(
        1.0,
        "turns below which a pair is stretched in full",
        "转不满多少圈的分量完全拉伸",
        low=0.01,
        high=1e6,
        advanced=True,
    )
    attention_factor: float = setting(
        1.0, "factor on stretched queries and keys", "拉伸后查询与键的乘数", low=0.01, high=100.0, advanced=True
    )

    def __post_init__(self) -> None:
        heads, groups, width = self.num_attention_heads, self.num_key_value_heads, self.hidden_size
        self._check(
            (
                self.num_experts_per_tok <= self.num_experts or not self.use_moe,
                f"num_experts_per_tok = {self.num_experts_per_tok} is more than num_experts = {self.num_experts}: "
                "lower it",
                f"num_experts_per_tok = {self.num_experts_per_tok} 大于 num_experts = {self.num_experts}：请调小",
            ),
            (
                self.rope_theta > 1 or not self.inference_rope_scaling,
                f"inference_rope_scaling needs rope_theta > 1, here it is {self.rope_theta:g}: raise it",
                f"inference_rope_scaling 要求 rope_theta > 1，现为 {self.rope_theta:g}：请调大",
            ),
            (
                self.head_dim is not None or width % heads == 0,
                f"hidden_size = {width} is not a multiple of num_attention_heads = {heads}: change one of them",
                f"hidden_size = {width} 不是 num_attention_heads = {heads} 的整数倍：请改其中一个",
            ),
            (
                heads % groups == 0,
                f"num_attention_heads = {heads} is not a multiple of num_key_value_heads = {groups}: change one of them",
                f"num_attention_heads = {heads} 不是 num_key_value_heads = {groups} 的整数倍：请改其中一个",
            ),
            (
                (self.head_dim or width // heads) % 2 == 0,
                f"the width of a head, {self.head_dim or width // heads}, must be even (rotary embedding turns pairs)",
                f"每个头的宽度 {self.head_dim or width // heads} 必须是偶数（RoPE 成对旋转）",
            ),
        )

    @property
    def head_size(self) -> int:
        """Width of one head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def feed_forward_size(self) -> int:
        """Width of the feed-forward layer."""
        return self.intermediate_size or math.ceil(self.hidden_size * math.pi / 64) * 64

    @property
    def expert_size(self) -> int:
        """Width of one expert of a mixture."""
        return self.moe_intermediate_size or self.feed_forward_size

    def parameter_count(self) -> int:
        """Trainable numbers, by formula (tied embeddings counted once)."""
        return self._count(self.num_experts)

    def active_parameter_count(self) -> int:
        """Of those, the ones that work on any one token: all but the experts that were not chosen."""
        return self._count(self.num_experts_per_tok)

    def _count(self, routed: int) -> int:
        """Parameters with `routed` experts a layer, where there are experts."""
        width, size = self.hidden_size, self.head_size
        attention = width * size * 2 * (self.num_attention_heads + self.num_key_value_heads)
        attention += 2 * size if self.qk_norm else 0
        feed_forward = 3 * width * self.feed_forward_size
        if self.use_moe:
            feed_forward = 3 * width * self.expert_size * (routed + self.n_shared_experts) + width * self.num_experts
        embeddings = self.vocab_size * width * (1 if self.tie_word_embeddings else 2)
        return embeddings + self.num_hidden_layers * (attention + feed_forward + 2 * width) + width


MINIMIND2: dict[str, Any] = {
    "num_key_value_heads": 2,
    "qk_norm": False,
    "rms_norm_eps": 1e-5,
    "rope_scaling_type": "minimind2",
    "rope_scaling_factor": 4.0,
    "beta_fast": 4.0,
}
"""What the second generation has in common, where it differs from minimind-3."""
MINIMIND2_ROUTER: dict[str, Any] = {
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "router_aux_loss_coef": 0.01,
    "seq_aux": True,
}
"""The mixture of experts of that generation."""

MODEL_PRESETS: dict[str, ModelConfig] = {
    "nano": ModelConfig(
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=2048,
        max_position_embeddings=2048,
    ),
    "mini": ModelConfig(hidden_size=256),
    "small": ModelConfig(hidden_size=512, intermediate_size=1408, **MINIMIND2),
    "minimind2": ModelConfig(num_hidden_layers=16, intermediate_size=2048, **MINIMIND2),
    "minimind2-moe": ModelConfig(
        hidden_size=640,
        intermediate_size=1728,
        use_moe=True,
        **(MINIMIND2 | MINIMIND2_ROUTER),
    ),
    "minimind3": ModelConfig(),
    "minimind3-moe": ModelConfig(use_moe=True),
}
"""Named architectures. nano trains in a minute on a CPU, mini in hours; the others are the released sizes.

small is MiniMind2-Small, minimind2 MiniMind2.
"""

PRESET_TOKENIZERS = {"nano": "nano-2048"}
"""Presets whose shipped tokenizer is not the 6,400-token one."""


def model_preset(name: str) -> ModelConfig:
    """The preset `name`. Raises UserError that lists the known ones."""
    if name not in MODEL_PRESETS:
        known = ", ".join(MODEL_PRESETS)
        raise UserError(
            f"unknown preset {name!r}{nearest(name, MODEL_PRESETS)}: use one of {known}",
            f"没有名为 {name!r} 的预设{nearest(name, MODEL_PRESETS)}：可用 {known}",
        )
    return MODEL_PRESETS[name]


@dataclass(frozen=True, kw_only=True)
class SampleConfig(Config):
    """How text is drawn from a model."""

    temperature: float = setting(0.7, "0 is greedy; higher is more varied", "0 为贪心；越高越多样", low=0.0, high=10.0)
    top_k: int = setting(
        0, "keep the k likeliest tokens (0: all)", "只留概率最高的 k 个词元（0：全部）", low=0, high=1_000_000
    )
    top_p: float = setting(
        0.9, "keep the likeliest tokens that together reach p", "只留累计概率达到 p 的词元", low=0.0, high=1.0
    )
    repetition_penalty: float = setting(1.0, "above 1 discourages repeating", "大于 1 会抑制重复", low=0.1, high=10.0)
    max_new_tokens: int = setting(256, "most tokens to write", "最多生成多少词元", low=1, high=1_000_000)
    seed: int | None = setting(None, "makes the draw repeatable", "固定随机种子", low=0, high=2**31 - 1)

    def __post_init__(self) -> None:
        self._check()


@dataclass(frozen=True, kw_only=True)
class EngineConfig(Config):
    """How a model is run: what changes speed and memory, and with quantised weights a little of the quality."""

    dtype: str = setting(
        "auto",
        "weights; int8, int4: faster on a CPU, rounded",
        "权重格式；int8、int4 在 CPU 上更快，但有舍入",
        choices=("auto", "float32", "bfloat16", "int8", "int4"),
    )
    lookup: bool = setting(
        False,
        "guess ahead from repeated text: faster",
        "从重复的文本中预猜后续：更快，输出不变",
    )

    def __post_init__(self) -> None:
        self._check()
