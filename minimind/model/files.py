"""A model as files, and back: ``model.safetensors`` and ``config.json``, beside a tokenizer and a manifest.

What is written here is our own layout. What is read may be anyone's (see `minimind.interop`): the config and the names
of the tensors are brought to the released ones first, and whatever then does not fit is said, tensor by tensor.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save as to_bytes
from torch import Tensor
from torch.overrides import TorchFunctionMode

from minimind.config import MODEL_PRESETS, ModelConfig, read_settings
from minimind.errors import UserError
from minimind.events import Text
from minimind.impostors import PYTORCH_SUFFIXES
from minimind.interop.configs import model_config
from minimind.interop.layouts import infer_config, released_names
from minimind.model.lora import plain_state
from minimind.model.transformer import MiniMind
from minimind.model.weights import bad_file, check_numbers, read_weights
from minimind.safe_text import clean_line
from minimind.training.checkpoint import MANIFEST, validate

if TYPE_CHECKING:
    from minimind.data.tokenizer import Tokenizer

WEIGHTS, CONFIG, TOKENIZER, METADATA = "model.safetensors", "config.json", "tokenizer.json", "metadata"
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_PYTORCH_WEIGHTS = "pytorch_model.bin"
_MOST_SHARDS = 1000
Precision = torch.dtype | Callable[[ModelConfig], torch.dtype]
"""The dtype of the weights of a model to be opened, or what chooses it once the architecture is known."""
_PADDING = 512
"""How many more rows than tokens an embedding may have: some makers round the vocabulary up."""


def model_files(model: MiniMind, metadata: Mapping[str, Any], *, dtype: torch.dtype | None = None) -> dict[str, bytes]:
    """The contents of ``model.safetensors`` and ``config.json`` by name, for `checkpoint.write`.

    Weights keep their dtype unless `dtype` says otherwise; a tied output layer is not stored twice, and low-rank
    corrections are folded in. `metadata` (JSON
    data: how the model came about) goes into the config under its own key.
    """
    tied = model.config.tie_word_embeddings
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in plain_state(model).items()
        if not (tied and name == "lm_head.weight")
    }
    config = model.config.to_dict() | {METADATA: dict(metadata)}
    return {
        WEIGHTS: to_bytes(tensors, {"format": "pt"}),
        CONFIG: (json.dumps(config, ensure_ascii=False, indent=2) + "\n").encode(),
    }


def load_config(directory: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The architecture and the metadata in a ``config.json`` of any layout.

    Raises UserError for a missing or malformed file and for values that make no model of ours.
    """
    path = directory / CONFIG
    values = read_settings(path)
    metadata = values.pop(METADATA, {})
    return model_config(values, str(path)), metadata if isinstance(metadata, dict) else {}


def load_model(
    directory: Path,
    *,
    dtype: Precision = torch.float32,
    changes: Mapping[str, Any] | None = None,
    tokenizer: str | Path | None = None,
) -> tuple[MiniMind, Tokenizer, dict[str, Any]]:
    """Open a directory: the model in evaluation mode on the CPU with weights of `dtype`, its tokenizer, its metadata.

    Checked in this order: the manifest where there is one, the config (with `changes` to it), what kind of file the
    weights are, names and shapes, numbers, and that the tokenizer (its own, or the one given) belongs to the model.
    Without a config it is inferred from the tensors, and what had to be assumed is in the metadata's ``notes``. Raises
    UserError for the first thing wrong.
    """
    if not directory.is_dir():
        raise UserError(
            f"{directory}: no such directory of a model (it holds {WEIGHTS} and {CONFIG})",
            f"{directory}：没有这个模型目录（其中应有 {WEIGHTS} 和 {CONFIG}）",
        )
    if (directory / MANIFEST).exists():
        validate(directory)
    has_config = (directory / CONFIG).exists()
    config, metadata = load_config(directory) if has_config else (None, {})
    path, tensors = read_directory(directory)
    model, notes = build_model(config, tensors, path, dtype=dtype, changes=changes)
    found = load_tokenizer(tokenizer, [directory], model.config, path)
    return model, found, metadata | noted(notes)


def noted(notes: tuple[Text, ...]) -> dict[str, Any]:
    """Metadata that says what was assumed; empty where nothing was."""
    return {"notes": [{"en": note.en, "zh": note.zh} for note in notes]} if notes else {}


def read_directory(directory: Path) -> tuple[Path, dict[str, Tensor]]:
    """The weights in a directory, in one file or in the shards an index names; and the file to blame for them.

    Raises UserError where there are none or several to choose from.
    """
    for name in (WEIGHTS, _PYTORCH_WEIGHTS):
        if (directory / name).exists():
            return directory / name, read_weights(directory / name)
    for name in _INDEXES:
        if (directory / name).exists():
            return directory / name, _read_shards(directory, directory / name)
    files = sorted(path for path in directory.iterdir() if path.suffix in PYTORCH_SUFFIXES)
    if len(files) == 1:
        return files[0], read_weights(files[0])
    names = clean_line(", ".join(path.name for path in files[:5]), 200)
    raise UserError(
        f"{directory}: " + (f"several weights, name one of them: {names}" if files else f"no {WEIGHTS} in it"),
        f"{directory}：" + (f"有多个权重文件，请指明其中一个：{names}" if files else f"其中没有 {WEIGHTS}"),
    )


def _read_shards(directory: Path, index: Path) -> dict[str, Tensor]:
    """The tensors an index lists, from the files beside it; each must be where the index says, and nothing else."""
    listed = read_settings(index).get("weight_map")
    if not isinstance(listed, dict) or not listed or not all(isinstance(file, str) for file in listed.values()):
        raise bad_file(
            index, "lists no weights: it is damaged; download it again", "没有列出权重：文件已损坏，请重新下载"
        )
    files = sorted(set(listed.values()))
    for file in files[: _MOST_SHARDS + 1]:
        if Path(file).name != file or file in {"", ".", ".."} or "\\" in file or "\0" in file:
            shown = clean_line(file, 80)
            raise bad_file(
                index,
                f"names a file outside its folder ({shown}); refused: such an index is not to be trusted",
                f"指向文件夹之外的文件（{shown}），已拒绝：这样的索引不可信",
            )
    if len(files) > _MOST_SHARDS:
        raise bad_file(index, f"names {len(files):,} files: it is damaged", f"列出了 {len(files):,} 个文件：已损坏")
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= read_weights(directory / file)
    missing, extra = sorted(set(listed) - set(tensors)), sorted(set(tensors) - set(listed))
    if missing or extra:
        shown = clean_line(str((missing + extra)[0]), 80)
        raise bad_file(
            index,
            f"does not list what its files hold ({shown} and {len(missing + extra) - 1} more): download all of them again",
            f"与各文件内容不符（{shown} 等 {len(missing + extra)} 处）：请全部重新下载",
        )
    return tensors


def load_tokenizer(source: str | Path | None, places: Sequence[Path], config: ModelConfig, weights: Path) -> Tokenizer:
    """The tokenizer of a model: the one given, or from the first of `places` that has one.

    Raises UserError where none has, or where it is another model's: it has more tokens than the model, or far fewer.
    """
    from minimind.data.tokenizer import Tokenizer

    found = source or next((place for place in places if (place / TOKENIZER).exists()), None)
    if found is None:
        raise bad_file(
            weights,
            f"has no {TOKENIZER} beside it, and without the tokenizer it was trained with a model writes noise: put the "
            "released one there, or name it: `minimind import … --tokenizer DIR`",
            f"旁边没有 {TOKENIZER}；换用别的词表，模型只会输出乱码：请把发布的词表放在旁边，"
            "或用 `minimind import … --tokenizer DIR` 指定",
        )
    tokenizer = Tokenizer.load(found)
    if not 0 <= config.vocab_size - tokenizer.vocab_size < _PADDING:
        raise UserError(
            f"{found}: the tokenizer has {tokenizer.vocab_size} tokens, the model vocab_size = {config.vocab_size}: "
            "this is another model's tokenizer",
            f"{found}：词表有 {tokenizer.vocab_size} 个词元，模型的 vocab_size = {config.vocab_size}：这不是该模型的词表",
        )
    return tokenizer


def build_model(
    config: ModelConfig | None,
    tensors: Mapping[str, Tensor],
    where: Path,
    *,
    dtype: Precision = torch.float32,
    changes: Mapping[str, Any] | None = None,
) -> tuple[MiniMind, tuple[Text, ...]]:
    """A model of `tensors` in any layout; without a config it is inferred from them, and notes say what was assumed.

    `changes` are settings that the person gave; they override both. Raises UserError as `model_from_tensors` does.
    """
    tensors = released_names(tensors)
    notes: tuple[Text, ...] = ()
    if config is None:
        config, notes = infer_config(tensors, where)
    if changes:
        config = config.replace(**changes)
    return model_from_tensors(config, tensors, where=str(where), dtype=dtype), notes


def model_from_tensors(
    config: ModelConfig, tensors: Mapping[str, Tensor], *, where: str, dtype: Precision = torch.float32
) -> MiniMind:
    """A model of `config` that holds `tensors` as `dtype`, every one of them and nothing else.

    A tied output layer may be absent. `where` begins the message of the UserError for names, shapes or numbers that do
    not fit.
    """
    _check_fit(config, tensors, where)
    check_numbers(tensors, Path(where))
    output, embedding = tensors.get("lm_head.weight"), tensors["model.embed_tokens.weight"]
    if config.tie_word_embeddings and output is not None and not torch.equal(output, embedding):
        raise UserError(
            f"{where}: lm_head.weight differs from the embedding, though tie_word_embeddings says they are one: "
            "set tie_word_embeddings to false",
            f"{where}：tie_word_embeddings 表示共用权重，但 lm_head.weight 与嵌入不同：请把 tie_word_embeddings 设为 false",
        )
    with torch.device("meta"), _Uninitialised():
        model = MiniMind(config)
    kind = dtype if isinstance(dtype, torch.dtype) else dtype(config)
    state = {name: tensor.detach().to(kind) for name, tensor in tensors.items()}
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state, strict=True, assign=True)
    model.tie_weights()
    return model.eval()


class _Uninitialised(TorchFunctionMode):
    """While it is on, modules are made without random numbers: their weights are about to be replaced.

    On the meta device there is nothing to fill, and yet torch loads its compiler (a second) to fill it.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Leave a tensor as it is where a function of ``torch.nn.init`` would fill it."""
        named = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return named["tensor"] if "tensor" in named else args[0]
        return func(*args, **named)


def expected_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's tensors, by formula: what a config claims costs nothing until the weights agree."""
    width, size = config.hidden_size, config.head_size
    queries, keys = config.num_attention_heads * size, config.num_key_value_heads * size
    block = {
        "input_layernorm": (width,),
        "post_attention_layernorm": (width,),
        "self_attn.q_proj": (queries, width),
        "self_attn.k_proj": (keys, width),
        "self_attn.v_proj": (keys, width),
        "self_attn.o_proj": (width, queries),
    }
    block |= {"self_attn.q_norm": (size,), "self_attn.k_norm": (size,)} if config.qk_norm else {}
    block |= _feed_forward_shapes(config)
    shapes = {"model.embed_tokens.weight": (config.vocab_size, width), "model.norm.weight": (width,)}
    for layer in range(config.num_hidden_layers):
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in block.items()}
    return shapes | {"lm_head.weight": (config.vocab_size, width)}


def _feed_forward_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    width = config.hidden_size
    if not config.use_moe:
        inner, prefixes = config.feed_forward_size, ["mlp"]
    else:
        inner = config.expert_size
        prefixes = [f"mlp.experts.{expert}" for expert in range(config.num_experts)]
        prefixes += [f"mlp.shared_experts.{expert}" for expert in range(config.n_shared_experts)]
    router = {"mlp.gate": (config.num_experts, width)} if config.use_moe else {}
    sizes: dict[str, tuple[int, ...]] = {
        "gate_proj": (inner, width),
        "up_proj": (inner, width),
        "down_proj": (width, inner),
    }
    return router | {f"{prefix}.{part}": shape for prefix in prefixes for part, shape in sizes.items()}


def _check_fit(config: ModelConfig, tensors: Mapping[str, Tensor], where: str) -> None:
    """Compare names and shapes; the UserError shows the first few differences and what the file looks like instead."""
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    blocks = config.num_hidden_layers * (config.num_experts if config.use_moe else 1)
    if blocks > len(found):
        raise _misfit([f"{len(found)} ≠ {blocks:,} × …"], found, where)
    needed = expected_shapes(config)
    if config.tie_word_embeddings and "lm_head.weight" not in found:
        del needed["lm_head.weight"]
    problems = [
        f"{clean_line(name, 80)}: {_shape(found.get(name))} ≠ {_shape(needed.get(name))}"
        for name in sorted(set(needed) | set(found))
        if needed.get(name) != found.get(name)
    ]
    if problems:
        raise _misfit(problems, found, where)


def _misfit(problems: list[str], found: Mapping[str, tuple[int, ...]], where: str) -> UserError:
    shown = "; ".join(problems[:3])
    more = len(problems) - 3
    looks, preset = _looks_like(found), nearest_preset(found)
    return UserError(
        f"{where} does not fit its {CONFIG} (file ≠ config): {shown}"
        + (f"; and {more} more" if more > 0 else "")
        + (f"; the file looks like {looks}" if looks else "")
        + (f"; nearest preset: {preset}" if preset else ""),
        f"{where} 与 {CONFIG} 不符（文件 ≠ 配置）：{shown}"
        + (f"；另有 {more} 处" if more > 0 else "")
        + (f"；文件看起来是 {looks}" if looks else "")
        + (f"；最接近的预设：{preset}" if preset else ""),
    )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "—" if shape is None else "×".join(map(str, shape))


def _looks_like(found: Mapping[str, tuple[int, ...]]) -> str:
    """What the shapes say about the architecture; empty where they say nothing."""
    embedding = found.get("model.embed_tokens.weight", ())
    layers = {name.split(".")[2] for name in found if name.startswith("model.layers.")}
    if len(embedding) != 2 or not layers:
        return ""
    return f"vocab_size {embedding[0]}, hidden_size {embedding[1]}, num_hidden_layers {len(layers)}"


def nearest_preset(found: Mapping[str, tuple[int, ...]]) -> str:
    """The preset with the most tensors of `found` (names to shapes), and how many; empty where none has any."""
    counted = {
        name: sum(found.get(tensor) == shape for tensor, shape in expected_shapes(config).items())
        for name, config in MODEL_PRESETS.items()
    }
    best = max(counted, key=lambda name: counted[name])
    return f"{best} ({counted[best]}/{len(found)})" if counted[best] else ""
