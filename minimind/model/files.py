"""A model as files, and back: ``model.safetensors`` and ``config.json``, beside a tokenizer and a manifest.

Nothing in these files can run code. What others made is checked before it is believed: each thing that can be wrong
with it has one sentence that says what it is and what to do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from minimind.config import MODEL_PRESETS, ModelConfig, read_settings
from minimind.errors import UserError
from minimind.model.transformer import MiniMind
from minimind.safe_text import clean_line
from minimind.training.checkpoint import MANIFEST, validate

if TYPE_CHECKING:
    from minimind.data.tokenizer import Tokenizer

WEIGHTS, CONFIG, METADATA = "model.safetensors", "config.json", "metadata"

_NOT_WEIGHTS: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the weights: run `git lfs pull`",
        "这是 Git LFS 指针，不是权重：请运行 `git lfs pull`",
    ),
    (
        b"<",
        "a web page, not weights: the download went to the page instead of the file; fetch it again",
        "这是网页，不是权重：下载到的是页面而非文件，请重新下载",
    ),
    (
        b"PK\x03\x04",
        "a PyTorch or zip archive: only .safetensors is opened here",
        "这是 PyTorch 或 zip 压缩文件：此处只打开 .safetensors",
    ),
    (
        b"\x80",
        "a pickle, which could run code: only .safetensors is opened",
        "这是 pickle，可能执行代码：只打开 .safetensors",
    ),
    (b"\x1f\x8b", "a gzip archive: unpack it first", "这是 gzip 压缩文件：请先解压"),
)
"""First bytes of what people have in place of weights, and what to say. A real file starts with its header's length."""

_LONGEST_HEADER = 100_000_000
"""What safetensors itself allows, in bytes."""


def model_files(model: MiniMind, metadata: Mapping[str, Any], *, dtype: torch.dtype | None = None) -> dict[str, bytes]:
    """The contents of ``model.safetensors`` and ``config.json`` by name, for `checkpoint.write`.

    Weights keep their dtype unless `dtype` says otherwise; a tied output layer is not stored twice. `metadata` (JSON
    data: how the model came about) goes into the config under its own key.
    """
    tied = model.config.tie_word_embeddings
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    config = model.config.to_dict() | {METADATA: dict(metadata)}
    return {
        WEIGHTS: to_bytes(tensors, {"format": "pt"}),
        CONFIG: (json.dumps(config, ensure_ascii=False, indent=2) + "\n").encode(),
    }


def load_config(directory: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The architecture and the metadata in ``config.json``; names this version does not know are passed over.

    Raises UserError for a missing or malformed file and for values that make no model.
    """
    path = directory / CONFIG
    values = read_settings(path)
    metadata = values.pop(METADATA, {})
    config = ModelConfig.from_dict(values, ignore_unknown=True, where=str(path))
    return config, metadata if isinstance(metadata, dict) else {}


def load_model(directory: Path, *, dtype: torch.dtype = torch.float32) -> tuple[MiniMind, Tokenizer, dict[str, Any]]:
    """Open a directory: the model in evaluation mode on the CPU with weights of `dtype`, its tokenizer, its metadata.

    Checked in this order: the manifest where there is one, the config, what kind of file the weights are, names and
    shapes, numbers, and that the tokenizer belongs to the model. Raises UserError for the first thing wrong.
    """
    if not directory.is_dir():
        raise UserError(
            f"{directory}: no such directory of a model (it holds {WEIGHTS} and {CONFIG})",
            f"{directory}：没有这个模型目录（其中应有 {WEIGHTS} 和 {CONFIG}）",
        )
    if (directory / MANIFEST).exists():
        validate(directory)
    config, metadata = load_config(directory)
    tensors = read_weights(directory / WEIGHTS)
    model = model_from_tensors(config, tensors, where=str(directory / WEIGHTS), dtype=dtype)
    from minimind.data.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(directory)
    if tokenizer.vocab_size != config.vocab_size:
        raise UserError(
            f"{directory}: the tokenizer has {tokenizer.vocab_size} tokens, {CONFIG} says vocab_size = "
            f"{config.vocab_size}: this is another model's tokenizer",
            f"{directory}：词表有 {tokenizer.vocab_size} 个词元，{CONFIG} 中 vocab_size = {config.vocab_size}："
            "这不是该模型的词表",
        )
    return model, tokenizer, metadata


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, mapped into memory. Raises UserError that names what the file is instead."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            start = file.read(8)
            length = int.from_bytes(start, "little")
            header = file.read(min(length, _LONGEST_HEADER))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}", f"{path}：无法读取：{error.strerror}") from None
    if size == 0:
        raise UserError(f"{path}: an empty file: save or download it again", f"{path}：空文件：请重新保存或下载")
    if not header.startswith(b"{"):
        head = (start + header[:64]).lstrip()
        for signature, en, zh in _NOT_WEIGHTS:
            if head.startswith(signature):
                raise UserError(f"{path}: {en}", f"{path}：{zh}")
    try:
        json.loads(header, object_pairs_hook=_unique)
        return load_file(path)
    except (SafetensorError, ValueError, RecursionError, OSError):
        raise UserError(
            f"{path}: not a safetensors file, or cut short ({size:,} bytes): save or download it again",
            f"{path}：不是 safetensors 文件，或文件不完整（{size:,} 字节）：请重新保存或下载",
        ) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a header that names a tensor twice: readers disagree about which one counts."""
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a name occurs twice")
    return dict(pairs)


def model_from_tensors(
    config: ModelConfig, tensors: Mapping[str, Tensor], *, where: str, dtype: torch.dtype = torch.float32
) -> MiniMind:
    """A model of `config` that holds `tensors` as `dtype`, every one of them and nothing else.

    A tied output layer may be absent. `where` begins the message of the UserError for names, shapes or numbers that do
    not fit.
    """
    with torch.device("meta"):
        model = MiniMind(config)
    needed = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings and "lm_head.weight" not in tensors:
        del needed["lm_head.weight"]
    _check_fit(needed, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, where)
    for name, tensor in tensors.items():
        _check_numbers(clean_line(name, 80), tensor, where)
    state = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True, assign=True)
    model.tie_weights()
    return model.eval()


def _check_numbers(name: str, tensor: Tensor, where: str) -> None:
    if not tensor.is_floating_point():
        kind = str(tensor.dtype).removeprefix("torch.")
        raise UserError(
            f"{where}: {name} has the dtype {kind}: weights are float32, float16 or bfloat16 here",
            f"{where}：{name} 的数据类型是 {kind}：此处的权重应为 float32、float16 或 bfloat16",
        )
    if not bool(torch.isfinite(tensor).all()):
        raise UserError(
            f"{where}: {name} holds numbers that are not finite: the training had diverged, or the file is damaged; "
            "use an earlier checkpoint",
            f"{where}：{name} 含有非有限数：训练已发散或文件损坏，请换用更早的检查点",
        )


def _check_fit(needed: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Compare names and shapes; the UserError shows the first few differences and what the file looks like instead."""
    problems = [
        f"{clean_line(name, 80)}: {_shape(found.get(name))} ≠ {_shape(needed.get(name))}"
        for name in sorted(set(needed) | set(found))
        if needed.get(name) != found.get(name)
    ]
    if not problems:
        return
    shown = "; ".join(problems[:3])
    more = len(problems) - 3
    looks = _looks_like(found)
    raise UserError(
        f"{where} does not fit its {CONFIG} (file ≠ config): {shown}"
        + (f"; and {more} more" if more > 0 else "")
        + (f"; the file looks like {looks}" if looks else ""),
        f"{where} 与 {CONFIG} 不符（文件 ≠ 配置）：{shown}"
        + (f"；另有 {more} 处" if more > 0 else "")
        + (f"；文件看起来是 {looks}" if looks else ""),
    )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "—" if shape is None else "×".join(map(str, shape))


def _looks_like(found: Mapping[str, tuple[int, ...]]) -> str:
    """What the shapes say about the architecture, and the preset that has it; empty where they say nothing."""
    embedding = found.get("model.embed_tokens.weight", ())
    layers = {name.split(".")[2] for name in found if name.startswith("model.layers.")}
    if len(embedding) != 2 or not layers:
        return ""
    preset = next(
        (
            f" ({name})"
            for name, config in MODEL_PRESETS.items()
            if (config.vocab_size, config.hidden_size, config.num_hidden_layers) == (*embedding, len(layers))
        ),
        "",
    )
    return f"vocab_size {embedding[0]}, hidden_size {embedding[1]}, num_hidden_layers {len(layers)}{preset}"
