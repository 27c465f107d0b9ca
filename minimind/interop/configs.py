"""``config.json`` of every layout MiniMind models come in, to a `ModelConfig` and back. No torch.

Four layouts: our own, the released ``minimind`` classes (both generations, which name their experts differently),
Qwen3 and Qwen3-MoE (what minimind-3 converts to), and Llama (what MiniMind2 converts to).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from minimind.config import MINIMIND2, MINIMIND2_ROUTER, ModelConfig
from minimind.errors import UserError
from minimind.safe_text import clean_line

_ALIASES: dict[str, tuple[str, ...]] = {
    "num_experts": ("num_experts", "num_local_experts", "n_routed_experts"),
    "router_aux_loss_coef": ("router_aux_loss_coef", "aux_loss_alpha"),
}
"""Names of one setting in the different layouts."""

_QWEN3 = {"qk_norm": True, "vocab_size": 151_936, "tie_word_embeddings": False, "num_key_value_heads": 32}
_DEFAULTS: dict[str, dict[str, Any]] = {
    "qwen3": _QWEN3 | {"rope_theta": 10_000.0, "head_dim": 128},
    "qwen3_moe": _QWEN3 | {"rope_theta": 10_000.0, "use_moe": True, "norm_topk_prob": False, "num_experts_per_tok": 8},
    "llama": {
        "qk_norm": False,
        "tie_word_embeddings": False,
        "rope_theta": 10_000.0,
        "max_position_embeddings": 2048,
    }
    | {name: MINIMIND2[name] for name in ("rope_scaling_type", "rope_scaling_factor", "beta_fast")},
}
"""What a transformers configuration means where it says nothing."""

_OF_EXPERTS = {
    "num_experts",
    "num_experts_per_tok",
    "n_shared_experts",
    "moe_intermediate_size",
    "norm_topk_prob",
    "router_aux_loss_coef",
    "seq_aux",
}
_REQUIRED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
_MUST_BE: dict[str, tuple[Any, ...]] = {
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
    "use_sliding_window": (False, None),
    "mlp_only_layers": ([], None),
    "decoder_sparse_step": (1, None),
    "partial_rotary_factor": (1, 1.0, None),
    "scoring_func": ("softmax", None),
    "quantization_config": (None,),
}
"""Settings that change the network in ways MiniMind has not: only these values are the same network."""


def model_config(values: Mapping[str, Any], where: str) -> ModelConfig:
    """The architecture that the content of a ``config.json`` describes; names it does not know are passed over.

    Raises UserError beginning with `where` for a kind of model or a setting that MiniMind's network does not have.
    """
    kind = values.get("model_type")
    if kind is None:
        return ModelConfig.from_dict(values, ignore_unknown=True, where=where)
    if kind not in {"minimind", *_DEFAULTS}:
        shown = clean_line(str(kind), 60)
        raise UserError(
            f"{where}: model_type {shown} is another network: minimind, qwen3, qwen3_moe and llama are opened here",
            f"{where}：model_type {shown} 是另一种网络：此处可打开 minimind、qwen3、qwen3_moe 和 llama",
        )
    _refuse_other_networks(values, where)
    found = _minimind_defaults(values) if kind == "minimind" else dict(_DEFAULTS[str(kind)])
    found.setdefault("num_key_value_heads", values["num_attention_heads"] if kind == "llama" else 4)
    names = {declared.name for declared in ModelConfig.declared()} - {"rope_scaling_type", "attention_factor"}
    for name in names:
        for alias in _ALIASES.get(name, (name,)):
            if values.get(alias) is not None:
                found[name] = values[alias]
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if isinstance(found.get(name), list) and found[name]:
            found[name] = found[name][0]
    return _canonical(ModelConfig.from_dict(found | _rope(values, found, where), where=where))


def _canonical(config: ModelConfig) -> ModelConfig:
    """The same architecture with every width that follows from the others left to follow, and no idle experts."""
    follows = {
        "head_dim": config.hidden_size / config.num_attention_heads,
        "moe_intermediate_size": config.feed_forward_size,
        "intermediate_size": config.replace(intermediate_size=None).feed_forward_size,
    }
    values = config.to_dict()
    values |= {name: None for name, width in follows.items() if values[name] == width}
    if not config.use_moe:
        values = {name: value for name, value in values.items() if name not in _OF_EXPERTS}
    return ModelConfig.from_dict(values)


def _refuse_other_networks(values: Mapping[str, Any], where: str) -> None:
    if "dim" in values and "hidden_size" not in values:
        raise UserError(
            f"{where}: a model of the first MiniMind (2024), whose network differs: MiniMind2 and minimind-3 are opened",
            f"{where}：这是第一代 MiniMind（2024）的模型，网络结构不同：可打开 MiniMind2 和 minimind-3",
        )
    missing = [name for name in _REQUIRED if values.get(name) is None]
    if missing:
        names = ", ".join(missing)
        raise UserError(
            f"{where}: says nothing about {names}: use the config.json that belongs to the weights",
            f"{where}：缺少 {names}：请使用与权重配套的 config.json",
        )
    for name, allowed in _MUST_BE.items():
        if values.get(name) not in allowed:
            shown = clean_line(repr(values[name]), 60)
            raise UserError(
                f"{where}: {name} = {shown}: MiniMind's network has no such thing, so the weights would mean another model",
                f"{where}：{name} = {shown}：MiniMind 的网络没有这一项，权重会变成另一个模型",
            )


def is_second_generation(values: Mapping[str, Any]) -> bool:
    """Whether a released ``minimind`` configuration is MiniMind2's: it names its experts in DeepSeek's way."""
    return "n_routed_experts" in values or "aux_loss_alpha" in values


def second_generation_width(hidden_size: int) -> int:
    """MiniMind2's feed-forward width where none is given: 8/3 of the hidden size, up to the next multiple of 64."""
    return math.ceil(int(hidden_size * 8 / 3) / 64) * 64


def _minimind_defaults(values: Mapping[str, Any]) -> dict[str, Any]:
    if not is_second_generation(values):
        return {}
    found = MINIMIND2 | (MINIMIND2_ROUTER if values.get("use_moe") else {})
    hidden = values.get("hidden_size")
    if isinstance(hidden, int):
        found["intermediate_size"] = second_generation_width(hidden)
    if values.get("num_experts_per_tok") == 1:
        found["norm_topk_prob"] = False  # its router only divides by the sum where it chose more than one
    return found


def _rope(values: Mapping[str, Any], found: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The rotary settings, which transformers 5 keeps in ``rope_parameters`` and everyone else in ``rope_scaling``."""
    table = values.get("rope_parameters") or values.get("rope_scaling") or {}
    if not isinstance(table, Mapping):
        raise UserError(f"{where}: rope_scaling is not a table", f"{where}：rope_scaling 应为一组设置")
    theta = {"rope_theta": table["rope_theta"]} if "rope_theta" in table else {}
    kind = str(table.get("rope_type", table.get("type", "default")))
    if kind == "default":
        return theta
    if kind != "yarn":
        shown = clean_line(kind, 40)
        raise UserError(
            f"{where}: rope_scaling {shown}: only YaRN is known here; without it the positions would be wrong",
            f"{where}：rope_scaling {shown}：此处只支持 YaRN，忽略它会使位置出错",
        )
    own = values.get("model_type") == "minimind"
    factor = table.get("factor") or found.get("rope_scaling_factor", 16.0)
    if not isinstance(factor, (int, float)) or factor < 1:
        shown = clean_line(repr(factor), 40)
        raise UserError(
            f"{where}: rope_scaling factor = {shown}: use a number from 1",
            f"{where}：rope_scaling factor = {shown}：应为不小于 1 的数",
        )
    trained = table.get("original_max_position_embeddings") or (2048 if own else values.get("max_position_embeddings"))
    first_formula = own and is_second_generation(values) and "attention_factor" not in table
    return theta | {
        "inference_rope_scaling": True,
        "rope_scaling_type": "minimind2" if first_formula else "yarn",
        "rope_scaling_factor": factor,
        "original_max_position_embeddings": trained,
        "beta_fast": table.get("beta_fast") or 32.0,
        "beta_slow": table.get("beta_slow") or 1.0,
        "attention_factor": table.get("attention_factor") or (1.0 if own else 0.1 * math.log(factor) + 1.0),
    }


def _scaling_table(config: ModelConfig) -> dict[str, Any] | None:
    if not config.inference_rope_scaling:
        return None
    table = {
        "type": "yarn",
        "rope_type": "yarn",
        "factor": config.rope_scaling_factor,
        "original_max_position_embeddings": config.original_max_position_embeddings,
        "beta_fast": config.beta_fast,
        "beta_slow": config.beta_slow,
    }
    return table if config.rope_scaling_type == "minimind2" else table | {"attention_factor": config.attention_factor}


def _shared(config: ModelConfig, dtype: str) -> dict[str, Any]:
    """What every released layout calls by the same names."""
    return {
        "hidden_size": config.hidden_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_size,
        "intermediate_size": config.feed_forward_size,
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_scaling": _scaling_table(config),
        "tie_word_embeddings": config.tie_word_embeddings,
        "hidden_act": config.hidden_act,
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.pad_token_id,
        "torch_dtype": dtype,
        "dtype": dtype,
        "use_cache": True,
    }


def released_config(config: ModelConfig, dtype: str = "float16") -> dict[str, Any]:
    """The content of the ``config.json`` of MiniMind's own classes: minimind-3's, or MiniMind2's without query norms."""
    values = {"model_type": "minimind", "architectures": ["MiniMindForCausalLM"]} | _shared(config, dtype)
    values |= {
        "dropout": config.dropout,
        "inference_rope_scaling": config.inference_rope_scaling,
        "flash_attn": True,
        "use_moe": config.use_moe,
        "num_experts_per_tok": config.num_experts_per_tok,
        "norm_topk_prob": config.norm_topk_prob,
    }
    if config.qk_norm:
        shared = {"n_shared_experts": config.n_shared_experts} if config.n_shared_experts else {}
        return (
            values
            | shared
            | {
                "num_experts": config.num_experts,
                "moe_intermediate_size": config.expert_size,
                "router_aux_loss_coef": config.router_aux_loss_coef,
            }
        )
    return values | {
        "n_routed_experts": config.num_experts,
        "n_shared_experts": config.n_shared_experts,
        "scoring_func": "softmax",
        "seq_aux": config.seq_aux,
        "aux_loss_alpha": config.router_aux_loss_coef,
    }


def transformers_config(config: ModelConfig, dtype: str = "float16") -> dict[str, Any]:
    """The content of a ``config.json`` that transformers 4 and 5 read as Qwen3, Qwen3-MoE or Llama.

    Raises UserError for a network that none of these is: shared experts, experts without query norms, other YaRN.
    """
    if config.inference_rope_scaling and config.rope_scaling_type == "minimind2":
        raise UserError(
            "transformers has no MiniMind2 stretching: open the model with inference_rope_scaling = false first",
            "transformers 没有 MiniMind2 的位置拉伸：请先以 inference_rope_scaling = false 打开模型",
        )
    values = _shared(config, dtype) | {"attention_bias": False, "attention_dropout": config.dropout}
    if config.use_moe and (config.n_shared_experts or not config.qk_norm):
        raise UserError(
            "transformers has no class for MiniMind2-MoE (shared experts, no query norms): export it --to pth",
            "transformers 没有对应 MiniMind2-MoE 的类（含共享专家、查询不做归一化）：请用 --to pth 导出",
        )
    if config.use_moe:
        return values | {
            "model_type": "qwen3_moe",
            "architectures": ["Qwen3MoeForCausalLM"],
            "num_experts": config.num_experts,
            "num_local_experts": config.num_experts,
            "num_experts_per_tok": config.num_experts_per_tok,
            "moe_intermediate_size": config.expert_size,
            "norm_topk_prob": config.norm_topk_prob,
            "router_aux_loss_coef": config.router_aux_loss_coef,
            "output_router_logits": False,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
            "use_sliding_window": False,
            "sliding_window": None,
        }
    if config.qk_norm:
        return values | {
            "model_type": "qwen3",
            "architectures": ["Qwen3ForCausalLM"],
            "use_sliding_window": False,
            "sliding_window": None,
        }
    return values | {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "mlp_bias": False}
