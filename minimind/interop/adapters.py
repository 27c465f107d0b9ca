"""LoRA adapters of both kinds — MiniMind's ``.pth`` and PEFT's folder — read, put into a model, and written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save, save_file
from torch import Tensor, nn

from minimind.config import read_settings
from minimind.errors import UserError
from minimind.interop.layouts import is_adapter, released_names
from minimind.model.locate import locate_model
from minimind.model.lora import LoraLinear, add_lora, merge_lora, weights_hash
from minimind.model.transformer import MiniMind
from minimind.model.weights import bad_file, check_numbers, read_weights
from minimind.safe_text import clean_line

PEFT_CONFIG, PEFT_WEIGHTS, PEFT_PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
ADAPTER = "adapter.safetensors"
"""Ours, in the checkpoints of a run that trains by LoRA: beside the merged model, and by itself if it is copied."""
_PAIR = re.compile(r"(.+?)\.lora(?:\.|_)([AB])(?:\.default)?\.weight")
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "use_dora": (False, None),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
}
"""PEFT settings, and the values under which an adapter is just A, B and one scale."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """Low-rank corrections: (A [r, in], B [out, r]) for each linear layer by its name, and what BA is multiplied by."""

    pairs: Mapping[str, tuple[Tensor, Tensor]]
    scale: float = 1.0
    base: str = ""
    """What the adapter says it was made for; a stranger's word."""
    base_hash: str = ""
    """`weights_hash` of that model, where the adapter tells it."""

    @property
    def rank(self) -> int:
        """The rank of the corrections."""
        return next(iter(self.pairs.values()))[0].shape[0]

    @property
    def hidden_size(self) -> int:
        """The width of the model it is for, as file names tell it."""
        name, (a, b) = next(iter(self.pairs.items()))
        return b.shape[0] if name.endswith("down_proj") else a.shape[1]


def is_adapter_folder(path: Path) -> bool:
    """Whether `path` is a PEFT folder."""
    return (path / PEFT_CONFIG).is_file()


def names_adapter(path: Path) -> bool:
    """Whether `path` is a PEFT folder or a LoRA file. Raises UserError for a file that is neither that nor weights."""
    return is_adapter_folder(path) or (path.is_file() and is_adapter(read_weights(path)))


def read_adapter(path: Path) -> Adapter:
    """An adapter from a MiniMind LoRA file, a PEFT folder, or a checkpoint of ours (or its ``adapter.safetensors``).

    Raises UserError that says what it is instead.
    """
    if is_adapter_folder(path):
        return _read_peft(path)
    path = path / ADAPTER if path.is_dir() else path
    tensors = read_weights(path)
    if not is_adapter(tensors):
        raise bad_file(path, "not a LoRA file: open it as a model", "不是 LoRA 文件：请作为模型打开")
    return Adapter(_pairs(tensors, path), *_told_by(path))


def _told_by(path: Path) -> tuple[float, str, str]:
    """Scale, base and the base's hash from the header of a file of ours; a scale of 1 where there is none."""
    if path.suffix != ".safetensors":
        return 1.0, "", ""
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
    try:
        scale = float(header.get("lora_alpha", 1)) / float(header.get("lora_rank", 1))
    except (ValueError, ZeroDivisionError):
        scale = math.nan
    if not math.isfinite(scale):
        raise bad_file(path, "lora_alpha and lora_rank must be numbers", "lora_alpha 和 lora_rank 应为数字")
    return scale, header.get("base", ""), header.get("base_hash", "")


def locate_adapter(name: str) -> Path:
    """The adapter that `name` means: a LoRA file, a PEFT folder, or a run or checkpoint that was trained by LoRA.

    Raises UserError for a model that has none.
    """
    path = Path(name).expanduser()
    if path.is_file() or is_adapter_folder(path):
        return path
    path = locate_model(name)
    if not (path / ADAPTER).is_file():
        raise bad_file(
            path,
            "no LoRA adapter: its weights were trained in full (--to pth | hf | gguf writes those)",
            "没有 LoRA：它训练的是全部权重（可用 --to pth | hf | gguf 导出）",
        )
    return path / ADAPTER


def _read_peft(folder: Path) -> Adapter:
    settings = read_settings(folder / PEFT_CONFIG)
    for name, allowed in _UNSUPPORTED.items():
        if settings.get(name, allowed[0]) not in allowed:
            shown = clean_line(repr(settings[name]), 60)
            raise bad_file(
                folder / PEFT_CONFIG,
                f"{name} = {shown}: only plain LoRA is known here; merge it with PEFT first",
                f"{name} = {shown}：此处只支持普通 LoRA，请先用 PEFT 合并",
            )
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    numbers = isinstance(rank, int) and isinstance(alpha, (int, float)) and rank > 0 and math.isfinite(alpha)
    if not numbers or not isinstance(rank, int) or not isinstance(alpha, (int, float)):
        raise bad_file(folder / PEFT_CONFIG, "r and lora_alpha must be numbers", "r 和 lora_alpha 应为数字")
    path = folder / (PEFT_WEIGHTS if (folder / PEFT_WEIGHTS).exists() else PEFT_PICKLE)
    pairs = _pairs(read_weights(path), path)
    scale = alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
    return Adapter(pairs, scale, str(settings.get("base_model_name_or_path") or ""))


def _pairs(tensors: Mapping[str, Tensor], path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B of each layer; every A must have its B, and one rank holds for all."""
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in released_names(tensors).items():
        found = _PAIR.fullmatch(name)
        if found is None or tensor.dim() != 2:
            shown = clean_line(name, 80)
            raise bad_file(path, f"{shown} is no part of a LoRA adapter", f"{shown} 不是 LoRA 的一部分")
        halves.setdefault(found[1], {})[found[2]] = tensor
    check_numbers(tensors, path)
    pairs = {name: (half["A"], half["B"]) for name, half in halves.items() if len(half) == 2}
    ranks = {size for a, b in pairs.values() for size in (a.shape[0], b.shape[1])}
    if not pairs or len(pairs) != len(halves) or len(ranks) != 1:
        raise bad_file(path, "its A and B do not belong together: it is damaged", "其中的 A 与 B 不成对：文件已损坏")
    return pairs


def apply_adapter(model: MiniMind, adapter: Adapter) -> None:
    """Put the corrections beside the layers they are for, so that they can be trained on or taken off again.

    Raises UserError, with `model` unchanged, where it is not the one the adapter was trained on as far as that tells,
    or where a layer is missing or has another shape.
    """
    if adapter.base_hash and adapter.base_hash != (found := weights_hash(model)):
        says = f" ({clean_line(adapter.base, 100)})" if adapter.base else ""
        raise UserError(
            f"the adapter was trained on another model{says}: its hash is {clean_line(adapter.base_hash, 12)}, this "
            f"one's {found[:12]}: open it with that one",
            f"这个 LoRA 是在另一个模型{says}上训练的：那个模型的哈希为 {clean_line(adapter.base_hash, 12)}，这里是 "
            f"{found[:12]}：请与原来的模型一起打开",
        )
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    for name, (a, b) in adapter.pairs.items():
        layer = layers.get(name)
        expected = None if layer is None else (layer.in_features, layer.out_features)
        if expected != (a.shape[1], b.shape[0]):
            shown, has = clean_line(name, 80), "—" if expected is None else "×".join(map(str, expected))
            raise UserError(
                f"the adapter is for another model: {shown} is {a.shape[1]}×{b.shape[0]} there and {has} here",
                f"这个 LoRA 属于另一个模型：{shown} 在其中是 {a.shape[1]}×{b.shape[0]}，在此模型中是 {has}",
            )
    add_lora(model, adapter.rank, targets=adapter.pairs.keys(), scale=adapter.scale)
    with torch.no_grad():
        for name, (a, b) in adapter.pairs.items():
            model.get_parameter(f"{name}.lora.A.weight").copy_(a)
            model.get_parameter(f"{name}.lora.B.weight").copy_(b)


def merge_adapter(model: MiniMind, adapter: Adapter) -> None:
    """Add scale · BA to the weights: the same model, without anything beside it. Raises UserError as `apply_adapter`."""
    apply_adapter(model, adapter)
    merge_lora(model)
    model.requires_grad_(True)


def adapter_of(model: MiniMind) -> Adapter:
    """The corrections that are in `model`. Raises UserError where there are none, or of several scales."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}
    scales = {module.scale for module in found.values()}
    if len(scales) != 1:
        raise UserError("the model has no adapter in it", "模型中没有 LoRA")
    pairs = {name: (module.lora.A.weight.detach(), module.lora.B.weight.detach()) for name, module in found.items()}
    return Adapter(pairs, scales.pop())


def adapter_bytes(model: MiniMind, about: Mapping[str, Any]) -> bytes:
    """The content of ``adapter.safetensors``: the corrections that are in `model`, as they are.

    Its header tells what of `about` it must: rank, alpha, targets, and path and hash of the base.
    """
    tensors = {}
    for name, (a, b) in adapter_of(model).pairs.items():
        tensors[f"{name}.lora.A.weight"] = a.cpu().contiguous()
        tensors[f"{name}.lora.B.weight"] = b.cpu().contiguous()
    told = ("lora_rank", "lora_alpha", "lora_targets", "base", "base_hash")
    return save(tensors, {"format": "pt"} | {key: str(about[key]) for key in told if key in about})


def write_lora(adapter: Adapter, path: Path) -> None:
    """A MiniMind LoRA file, float16. It has no place for a scale, which therefore goes into B."""
    made = {}
    for name, (a, b) in adapter.pairs.items():
        made[f"{name}.lora.A.weight"] = a.half().contiguous()
        made[f"{name}.lora.B.weight"] = (b.float() * adapter.scale).half().contiguous()
    torch.save(made, path)


def write_peft(adapter: Adapter, folder: Path, *, base: str = "") -> None:
    """A folder that PEFT loads, float32 or as the adapter is. `base` is what it says it belongs to."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, (a, b) in adapter.pairs.items():
        tensors[f"base_model.model.{name}.lora_A.weight"] = a.contiguous()
        tensors[f"base_model.model.{name}.lora_B.weight"] = b.contiguous()
    save_file(tensors, folder / PEFT_WEIGHTS, {"format": "pt"})
    alpha = adapter.scale * adapter.rank
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base or adapter.base,
        "r": adapter.rank,
        "lora_alpha": int(alpha) if alpha == int(alpha) else alpha,
        "lora_dropout": 0.0,
        "target_modules": sorted({name.rpartition(".")[2] for name in adapter.pairs}),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "use_rslora": False,
        "modules_to_save": None,
    }
    (folder / PEFT_CONFIG).write_text(json.dumps(config, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
