"""One door for every model a person has: our checkpoints, released ``.pth`` files, Hugging Face folders, adapters."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from minimind.errors import UserError
from minimind.interop.adapters import Adapter, is_adapter_folder, merge_adapter, read_adapter
from minimind.interop.layouts import is_adapter
from minimind.model.files import CONFIG, Precision, build_model, load_config, load_model, load_tokenizer, noted
from minimind.model.transformer import MiniMind
from minimind.model.weights import bad_file, read_weights
from minimind.safe_text import clean_line

if TYPE_CHECKING:
    from minimind.data.tokenizer import Tokenizer

_UPSTREAM_TOKENIZER = "model"
"""Where the released project keeps its tokenizer, beside the folder of its weights."""


def open_any(
    path: str | Path,
    *,
    adapter: str | Path | None = None,
    base: str | Path | None = None,
    tokenizer: str | Path | None = None,
    changes: Mapping[str, Any] | None = None,
    dtype: Precision = torch.float32,
) -> tuple[MiniMind, Tokenizer, dict[str, Any]]:
    """Open a model: in evaluation mode on the CPU with weights of `dtype`; its tokenizer; what is known about it.

    `path` is a folder (ours, minimind's, Qwen3's, Llama's; whole or in shards), a weights file, or an adapter (a PEFT
    folder, a LoRA ``.pth``), which needs the model it corrects: the `base` given or the folder it names. `adapter` is
    merged into the model after that. `changes` are settings that override the config, `tokenizer` a folder with one.
    What had to be assumed is in the metadata's ``notes``. Raises UserError for whatever is wrong.
    """
    path = Path(path).expanduser()
    if path.is_dir() and is_adapter_folder(path):
        return _open_corrected(path, read_adapter(path), base, tokenizer, changes, dtype)
    if path.is_dir():
        model, found, metadata = load_model(path, dtype=dtype, changes=changes, tokenizer=tokenizer)
    else:
        tensors = read_weights(path)
        if is_adapter(tensors):
            return _open_corrected(path, read_adapter(path), base, tokenizer, changes, dtype)
        config, metadata = load_config(path.parent) if (path.parent / CONFIG).is_file() else (None, {})
        model, notes = build_model(config, tensors, path, dtype=dtype, changes=changes)
        places = (path.parent, path.parent.parent / _UPSTREAM_TOKENIZER)
        found = load_tokenizer(tokenizer, places, model.config, path)
        metadata |= noted(notes)
    if adapter is not None:
        merge_adapter(model, read_adapter(Path(adapter).expanduser()))
    return model, found, metadata


def _open_corrected(
    path: Path,
    adapter: Adapter,
    base: str | Path | None,
    tokenizer: str | Path | None,
    changes: Mapping[str, Any] | None,
    dtype: Precision,
) -> tuple[MiniMind, Tokenizer, dict[str, Any]]:
    """The model that `adapter`, read from `path`, corrects, with the correction merged in."""
    named = [Path(adapter.base), path.parent / adapter.base] if adapter.base else []
    folder = Path(base) if base is not None else next((place for place in named if place.is_dir()), None)
    if folder is None:
        says = f" ({clean_line(adapter.base, 100)})" if adapter.base else ""
        raise bad_file(
            path,
            f"a LoRA adapter, which needs the model it was trained on{says}: `minimind import … --base MODEL` "
            "makes one model of both",
            f"这是 LoRA，需要配合它所训练的模型{says}使用：`minimind import … --base 模型` 可将两者合成一个模型",
        )
    if folder == path or (folder.is_dir() and is_adapter_folder(folder)):
        raise UserError(
            f"{folder}: the base of an adapter must be a model, not an adapter",
            f"{folder}：LoRA 的基座应是模型，而不是另一个 LoRA",
        )
    model, found, metadata = open_any(folder, tokenizer=tokenizer, changes=changes, dtype=dtype)
    merge_adapter(model, adapter)
    return model, found, metadata
