"""A model written for other programs: a folder for transformers, a released ``.pth``, GGUF and Ollama's Modelfile."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from minimind.config import ModelConfig
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.interop import gguf
from minimind.interop.configs import released_config, transformers_config
from minimind.model.files import CONFIG, WEIGHTS
from minimind.model.transformer import MiniMind

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

MINIMIND2_TEMPLATE = (
    "{%- if messages[0].role != 'system' -%}"
    "{{- '<|im_start|>system\\nYou are a helpful assistant<|im_end|>\\n' -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)
"""MiniMind2's chat format for `tokenizer_config.json`; `minimind.data.chat.render` writes the same with that style."""

_MODELFILE = """FROM ./{file}
TEMPLATE \"\"\"{{{{- range $i, $message := .Messages }}}}<|im_start|>{{{{ $message.Role }}}}
{{{{ if and (eq $message.Role "assistant") {thinks} }}}}<think>

</think>

{{{{ end }}}}{{{{ $message.Content }}}}<|im_end|>
{{{{ end }}}}<|im_start|>assistant
{thought}\"\"\"
{system}PARAMETER stop "<|im_start|>"
PARAMETER stop "<|im_end|>"
PARAMETER temperature 0.9
PARAMETER top_p 0.9
PARAMETER repeat_penalty 1
PARAMETER num_ctx {context}
"""


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be written, and under which name."""

    model: MiniMind
    tokenizer: Tokenizer
    name: str
    dtype: str = "float16"


def thinks(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer is of the generation whose answers begin with a think block (minimind-3)."""
    return "<think>" in tokenizer.added_tokens


def export_transformers(source: Source, out: Path) -> list[Path]:
    """A folder that transformers 4 and 5 load as Qwen3, Qwen3-MoE or Llama; no code of ours is needed to read it.

    Raises UserError where transformers has no such network.
    """
    config = transformers_config(source.model.config, source.dtype)
    save_file(_tensors(source), out / WEIGHTS, {"format": "pt"})
    _write_json(out / CONFIG, config)
    _write_json(out / "generation_config.json", _generation(source.model.config))
    return [out / WEIGHTS, out / CONFIG, out / "generation_config.json", *_write_tokenizer(source.tokenizer, out)]


def export_released(source: Source, out: Path) -> list[Path]:
    """``NAME_HIDDEN[_moe].pth`` as the released project writes it: flat, on the CPU, both tied layers present."""
    config = source.model.config
    path = out / f"{source.name}_{config.hidden_size}{'_moe' if config.use_moe else ''}.pth"
    tensors = _tensors(source)
    tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
    torch.save(tensors, path)
    _write_json(out / CONFIG, released_config(config, source.dtype))
    return [path, out / CONFIG, *_write_tokenizer(source.tokenizer, out)]


def export_gguf(source: Source, out: Path) -> list[Path]:
    """One file for llama.cpp. Raises UserError where the package ``gguf`` is missing or llama.cpp has no such network."""
    path = out / f"{source.name}.gguf"
    template = MINIMIND2_TEMPLATE if not thinks(source.tokenizer) else None
    gguf.write(source.model, source.tokenizer, path, name=source.name, dtype=source.dtype, template=template)
    return [path]


def export_ollama(source: Source, out: Path) -> list[Path]:
    """A GGUF file and the Modelfile that ``ollama create`` reads. Raises UserError as `export_gguf` does."""
    made = export_gguf(source, out)
    modelfile = out / "Modelfile"
    modelfile.write_text(modelfile_text(made[0].name, source.model.config, source.tokenizer), encoding="utf-8")
    return [*made, modelfile]


EXPORTERS: dict[str, Callable[[Source, Path], list[Path]]] = {
    "hf": export_transformers,
    "pth": export_released,
    "gguf": export_gguf,
    "ollama": export_ollama,
}
"""What `minimind export --to` offers for a model; each returns the files it wrote into an existing folder."""


def modelfile_text(file: str, config: ModelConfig, tokenizer: Tokenizer) -> str:
    """Ollama's Modelfile: the chat format of the tokenizer's generation, and where an answer ends."""
    new = thinks(tokenizer)
    return _MODELFILE.format(
        file=file,
        thinks="true" if new else "false",
        thought="<think>\n\n</think>\n\n" if new else "",
        system="" if new else 'SYSTEM """You are a helpful assistant"""\n',
        context=min(config.max_position_embeddings, 8192),
    )


def _tensors(source: Source) -> dict[str, Tensor]:
    """The weights to be written. Raises UserError where the dtype cannot hold them."""
    tied = source.model.config.tie_word_embeddings
    made = {
        name: tensor.detach().to("cpu", DTYPES[source.dtype]).contiguous()
        for name, tensor in source.model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
    if not all(bool(torch.isfinite(tensor).all()) for tensor in made.values()):
        raise UserError(
            f"{source.dtype} cannot hold the largest weights: use --dtype bfloat16 or float32",
            f"{source.dtype} 装不下最大的权重：请用 --dtype bfloat16 或 float32",
        )
    return made


def _generation(config: ModelConfig) -> dict[str, Any]:
    return {
        "bos_token_id": config.bos_token_id,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.pad_token_id,
        "do_sample": True,
        "temperature": 0.85,
        "top_p": 0.85,
    }


def _write_tokenizer(tokenizer: Tokenizer, out: Path) -> list[Path]:
    tokenizer.save(out)
    path = out / "tokenizer_config.json"
    if not thinks(tokenizer):
        settings = json.loads(path.read_text(encoding="utf-8"))
        _write_json(path, settings | {"chat_template": MINIMIND2_TEMPLATE, "model_max_length": 32_768})
    return [out / "tokenizer.json", path]


def _write_json(path: Path, data: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(data, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
