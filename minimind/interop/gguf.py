"""GGUF, the format of llama.cpp, written with the ``gguf`` package where it is installed."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from minimind.config import ModelConfig
from minimind.data.chat_template import JINJA_TEMPLATE
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.model.transformer import MiniMind

_BLOCK = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "mlp.gate": "ffn_gate_inp",
}
_WHOLE = {"model.embed_tokens.weight": "token_embd", "model.norm.weight": "output_norm", "lm_head.weight": "output"}
_CONTROL, _USER_DEFINED, _NORMAL, _UNUSED = 3, 4, 1, 5
"""Kinds of tokens in GGUF: control tokens are never shown, user-defined ones are."""


def write(model: MiniMind, tokenizer: Tokenizer, path: Path, *, name: str, dtype: str, template: str | None) -> None:
    """Write `model` and its tokenizer to `path`, matrices as `dtype` (float32, float16, bfloat16), norms as float32.

    `template` is the chat template, minimind-3's where None. Raises UserError where ``gguf`` is not installed or where
    llama.cpp has no such network.
    """
    try:
        package = importlib.import_module("gguf")
    except ImportError:
        raise UserError(
            "GGUF needs the package gguf: run `pip install gguf`", "写 GGUF 需要 gguf 包：请运行 `pip install gguf`"
        ) from None
    config = model.config
    architecture = _architecture(config)
    writer = package.GGUFWriter(path, architecture)
    try:
        _add_settings(writer, config, name)
        _add_tokenizer(writer, tokenizer, config, template or JINJA_TEMPLATE)
        for tensor_name, tensor in _tensors(model, interleaved=architecture == "llama").items():
            narrow = dtype if tensor.dim() > 1 and "ffn_gate_inp" not in tensor_name else "float32"
            values, kind = _as_stored(tensor, narrow, package)
            writer.add_tensor(f"{tensor_name}.weight", values, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _architecture(config: ModelConfig) -> str:
    refused = {
        "YaRN": config.inference_rope_scaling,
        "shared experts": config.n_shared_experts > 0 and config.use_moe,
        "experts without query norms": config.use_moe and not config.qk_norm,
        "expert weights that are not normalised": config.use_moe and not config.norm_topk_prob,
        f"hidden_act {config.hidden_act}": config.hidden_act != "silu",
    }
    for what, present in refused.items():
        if present:
            raise UserError(
                f"llama.cpp has no network like this one ({what}): export it --to hf or pth",
                f"llama.cpp 没有这种网络（{what}）：请用 --to hf 或 pth 导出",
            )
    if config.use_moe:
        return "qwen3moe"
    return "qwen3" if config.qk_norm else "llama"


def _add_settings(writer: Any, config: ModelConfig, name: str) -> None:
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.feed_forward_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_size)
    writer.add_value_length(config.head_size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_rope_dimension_count(config.head_size)
    writer.add_vocab_size(config.vocab_size)
    if config.use_moe:
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        writer.add_expert_feed_forward_length(config.expert_size)


def _add_tokenizer(writer: Any, tokenizer: Tokenizer, config: ModelConfig, template: str) -> None:
    """The vocabulary, merges and pre-tokeniser. The last is GPT-2's, which llama.cpp calls ``gpt-2``.

    With ``qwen2``, as the released project patches it, digits and apostrophes would be split differently.
    """
    definition = json.loads(tokenizer.definition)
    vocabulary = {index: token for token, index in definition["model"]["vocab"].items()}
    vocabulary |= {token["id"]: token["content"] for token in definition["added_tokens"]}
    kinds = {token["id"]: _CONTROL if token["special"] else _USER_DEFINED for token in definition["added_tokens"]}
    tokens = [vocabulary.get(index, f"[PAD{index}]") for index in range(config.vocab_size)]
    merges = definition["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [kinds.get(index, _NORMAL if index in vocabulary else _UNUSED) for index in range(config.vocab_size)]
    )
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_id)
    writer.add_eos_token_id(tokenizer.eos_id)
    writer.add_pad_token_id(tokenizer.pad_id)
    writer.add_unk_token_id(tokenizer.pad_id)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(template)


def _tensors(model: MiniMind, *, interleaved: bool) -> dict[str, Tensor]:
    """The weights by llama.cpp's names, experts of a layer stacked [experts, out, in].

    With `interleaved`, rows of queries and keys are reordered for rotary pairs that are neighbours.
    """
    config, made = model.config, {}
    stacks: dict[str, list[Tensor]] = {}
    for name, tensor in model.state_dict().items():
        if name in _WHOLE:
            if not (config.tie_word_embeddings and name == "lm_head.weight"):
                made[_WHOLE[name]] = tensor
            continue
        _, _, layer, part = name.removesuffix(".weight").split(".", 3)
        if part.startswith("mlp.experts."):
            kind = part.rpartition(".")[2].removesuffix("_proj")
            stacks.setdefault(f"blk.{layer}.ffn_{kind}_exps", []).append(tensor)
            continue
        if interleaved and part in {"self_attn.q_proj", "self_attn.k_proj"}:
            tensor = _neighbours(tensor, config.head_size)
        made[f"blk.{layer}.{_BLOCK[part]}"] = tensor
    return made | {name: torch.stack(experts) for name, experts in stacks.items()}


def _neighbours(weight: Tensor, head_size: int) -> Tensor:
    """Reorder the rows of `weight` [heads · head, hidden]: i and i + head/2 of each head become neighbours."""
    halves = weight.view(-1, 2, head_size // 2, weight.shape[1])  # [heads, 2, head/2, hidden]
    return halves.transpose(1, 2).reshape(weight.shape)  # [heads · head, hidden]


def _as_stored(tensor: Tensor, dtype: str, package: Any) -> tuple[numpy.ndarray[Any, Any], Any]:
    """The bytes of `tensor` as `dtype`, and GGUF's name for it; NumPy itself has no bfloat16."""
    kinds = package.GGMLQuantizationType
    values = tensor.detach().float().cpu().contiguous()
    if dtype == "bfloat16":
        return package.quants.quantize(values.numpy(), kinds.BF16), kinds.BF16
    if dtype == "float16":
        return values.half().numpy(), kinds.F16
    return values.numpy(), kinds.F32
