"""State dicts of every layout, to the names this package and the released MiniMind share; and what their shapes tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minimind.config import MINIMIND2, MINIMIND2_ROUTER, MODEL_PRESETS, ModelConfig
from minimind.events import Text
from minimind.model.weights import bad_file
from minimind.safe_text import clean_line

_WRAPPERS = ("module.", "_orig_mod.", "base_model.model.")
"""What DistributedDataParallel, torch.compile and PEFT put before every name."""
_BUFFERS = re.compile(r"(.*\.)?(freqs_cos|freqs_sin|freqs_cis|pos_cis|rotary_emb\.inv_freq)")
"""Rotary tables that some files carry along: computed here."""
_FUSED = re.compile(r"(.*\.experts)\.(gate_up_proj|down_proj)")
_LAYER = re.compile(r"model\.layers\.(\d{1,4})\.(.+)")
_ADAPTER = (".lora.A.weight", ".lora.B.weight", ".lora_A.weight", ".lora_B.weight")
_MOST_LAYERS, _MOST_EXPERTS = 256, 1024
_HEADS = 8
"""Query heads of every released MiniMind."""


def released_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`tensors` under the released names: wrappers' prefixes and rotary tables gone, fused experts taken apart."""
    made: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        while name.startswith(_WRAPPERS):
            name = name.removeprefix(next(prefix for prefix in _WRAPPERS if name.startswith(prefix)))
        name = name.replace("._orig_mod.", ".")
        fused = _FUSED.fullmatch(name)
        if fused and tensor.dim() == 3 and tensor.shape[0] <= _MOST_EXPERTS:
            made |= _separate_experts(fused[1], fused[2], tensor)
        elif not _BUFFERS.fullmatch(name):
            made[name] = tensor
    return made


def _separate_experts(prefix: str, part: str, tensor: Tensor) -> dict[str, Tensor]:
    """What transformers 5 keeps as one tensor [experts, out, in], gate above up, as one matrix an expert and part."""
    made: dict[str, Tensor] = {}
    for expert, matrix in enumerate(tensor):
        if part == "down_proj":
            made[f"{prefix}.{expert}.down_proj.weight"] = matrix  # [hidden, expert size]
        else:
            gate, up = matrix.chunk(2)  # 2 × [expert size, hidden]
            made[f"{prefix}.{expert}.gate_proj.weight"] = gate
            made[f"{prefix}.{expert}.up_proj.weight"] = up
    return made


def is_adapter(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a file holds only low-rank corrections, which need the model they correct."""
    return bool(tensors) and all(name.endswith(_ADAPTER) for name in tensors)


def infer_config(tensors: Mapping[str, Tensor], where: Path) -> tuple[ModelConfig, tuple[Text, ...]]:
    """The architecture that `tensors` (released names) can only belong to, and what had to be assumed.

    Shapes tell everything but: the number of heads where there are no query norms (8, as in every released model), how
    many experts work on a token, the context, ε and θ (those of the generation). Raises UserError where the names are
    not a MiniMind's.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    embedding = shapes.get("model.embed_tokens.weight", ())
    layers = {int(found[1]) for name in shapes if (found := _LAYER.fullmatch(name))}
    query, key = (shapes.get(f"model.layers.0.self_attn.{part}_proj.weight", ()) for part in "qk")
    if {len(embedding), len(query), len(key)} != {2} or layers != set(range(min(len(layers), _MOST_LAYERS))):
        raise _not_a_minimind(shapes, where)
    vocabulary, hidden = embedding
    norm = shapes.get("model.layers.0.self_attn.q_norm.weight")
    head = norm[0] if norm else max(query[0] // _HEADS, 1)
    values: dict[str, Any] = {
        "hidden_size": hidden,
        "num_hidden_layers": len(layers),
        "num_attention_heads": max(query[0] // max(head, 1), 1),
        "num_key_value_heads": max(key[0] // max(head, 1), 1),
        "vocab_size": vocabulary,
        "tie_word_embeddings": _is_tied(tensors),
    }
    if values["num_attention_heads"] * head != hidden:
        values["head_dim"] = head
    notes: list[Text] = []
    if norm is None:
        values |= {name: value for name, value in MINIMIND2.items() if name not in values}
        notes.append(
            Text(
                f"the file does not say how many heads there are: {values['num_attention_heads']} assumed, as in every "
                "released MiniMind2",
                f"文件没有说明头数：按所有已发布的 MiniMind2 取 {values['num_attention_heads']} 个",
            )
        )
    values |= _feed_forward(shapes, notes)
    return ModelConfig.from_dict(values, where=str(where)), tuple(notes)


def _feed_forward(shapes: Mapping[str, tuple[int, ...]], notes: list[Text]) -> dict[str, Any]:
    """The settings of the feed-forward or of the mixture of experts, and a note on what the file cannot tell."""
    first = "model.layers.0.mlp."
    dense = shapes.get(f"{first}gate_proj.weight")
    if dense:
        return {"intermediate_size": dense[0]}
    router = shapes.get(f"{first}gate.weight", ())
    expert = shapes.get(f"{first}experts.0.gate_proj.weight", ())
    if not router or not expert:
        return {}
    shared = len(
        {name for name in shapes if re.fullmatch(re.escape(first) + r"shared_experts\.\d+\.up_proj\.weight", name)}
    )
    known: dict[str, Any] = MINIMIND2_ROUTER if shared else {"num_experts_per_tok": 1}
    notes.append(
        Text(
            f"the file does not say how many experts work on a token: {known['num_experts_per_tok']} assumed, as in "
            + ("MiniMind2-MoE" if shared else "minimind-3-MoE"),
            f"文件没有说明每个词元使用几个专家：按 {'MiniMind2-MoE' if shared else 'minimind-3-MoE'} "
            f"取 {known['num_experts_per_tok']} 个",
        )
    )
    sizes = {"num_experts": router[0], "n_shared_experts": shared, "intermediate_size": expert[0]}
    return {"use_moe": True} | known | sizes


def _is_tied(tensors: Mapping[str, Tensor]) -> bool:
    output, embedding = tensors.get("lm_head.weight"), tensors["model.embed_tokens.weight"]
    if output is None:
        return True
    return output.data_ptr() == embedding.data_ptr() or torch.equal(output, embedding)


def _not_a_minimind(shapes: Mapping[str, tuple[int, ...]], where: Path) -> Exception:
    if "tok_embeddings.weight" in shapes:
        return bad_file(
            where,
            "weights of the first MiniMind (2024), whose network differs: MiniMind2 and minimind-3 are opened here",
            "这是第一代 MiniMind（2024）的权重，网络结构不同：此处可打开 MiniMind2 和 minimind-3",
        )
    shown = clean_line(", ".join(sorted(shapes)[:3]), 160)
    known = ", ".join(MODEL_PRESETS)
    return bad_file(
        where,
        f"not a MiniMind's weights: it has {len(shapes)} tensors such as {shown}, where "
        f"model.embed_tokens.weight and model.layers.0… of one of {known} are expected",
        f"不是 MiniMind 的权重：其中有 {len(shapes)} 个张量，如 {shown}；"
        f"应有 model.embed_tokens.weight 和 model.layers.0…（{known} 之一）",
    )
