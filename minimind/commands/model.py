"""``minimind model info | params | pack``: what a model is made of, and the model alone to hand on."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any

from minimind.commands import model_pack
from minimind.commands.columns import in_columns
from minimind.commands.inference_flags import MODEL_HELP
from minimind.commands.output import Output
from minimind.config import MODEL_PRESETS
from minimind.events import Text
from minimind.figures import size

if TYPE_CHECKING:
    from minimind.model.transformer import MiniMind

_OF_EXPERTS = frozenset(
    {"num_experts", "num_experts_per_tok", "n_shared_experts", "moe_intermediate_size", "norm_topk_prob"}
    | {"router_aux_loss_coef", "seq_aux"}
)
_OF_STRETCHING = frozenset(
    {"rope_scaling_type", "rope_scaling_factor", "original_max_position_embeddings"}
    | {"beta_fast", "beta_slow", "attention_factor"}
)
"""Settings that mean nothing to a model without them; a person is not shown those."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``model`` and its subcommands."""
    parser = subparsers.add_parser("model", help="what a model is made of / 查看模型的构成")
    actions = parser.add_subparsers(title="actions / 操作", metavar="ACTION", required=True)
    for name, function, text in (
        ("info", _info, "architecture, size and origin / 结构、大小与来历"),
        ("params", _params, "parameters by kind of tensor / 按张量种类列出参数"),
    ):
        action = actions.add_parser(name, help=text, description=text)
        presets = ", ".join(MODEL_PRESETS)
        action.add_argument("model", metavar="MODEL", help=f"{MODEL_HELP}; or a preset / 或预设：{presets}")
        action.set_defaults(run=function)
    model_pack.register(actions)


def _open(name: str) -> tuple[MiniMind, dict[str, Any]]:
    """The model and its metadata; of a preset only the shapes, which take no memory."""
    import torch

    from minimind.model.transformer import MiniMind

    if name in MODEL_PRESETS:
        with torch.device("meta"):
            return MiniMind(MODEL_PRESETS[name]), {"preset": name}
    from minimind.interop.opening import open_any
    from minimind.model.locate import locate_model

    path = locate_model(name)
    model, _, metadata = open_any(path)
    return model, {"path": str(path)} | metadata


def _info(arguments: argparse.Namespace, output: Output) -> int:
    model, metadata = _open(arguments.model)
    config = model.config
    cache_numbers = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_size
    sizes = {
        "parameters": model.parameter_count(),
        "active_parameters": config.active_parameter_count(),
        "bytes_float32": 4 * model.parameter_count(),
        "bytes_bfloat16": 2 * model.parameter_count(),
        "cache_bytes_per_token_float32": 4 * cache_numbers,
    }
    idle = frozenset() if config.use_moe else _OF_EXPERTS
    idle |= frozenset() if config.inference_rope_scaling else _OF_STRETCHING
    chosen = metadata.pop("notes", [])
    about = [
        (Text(name, name), _shown(value)) for name, value in metadata.items() if not isinstance(value, (dict, list))
    ]
    # What the file leaves to a rule is shown as the rule has it.
    settings = config.to_dict() | {"head_dim": config.head_size, "intermediate_size": config.feed_forward_size}
    rows = [
        *about,
        (Text("parameters", "参数"), f"{sizes['parameters']:,}"),
        *([(Text("active", "激活参数"), f"{sizes['active_parameters']:,}")] if config.use_moe else []),
        (
            Text("weights", "权重大小"),
            f"{size(sizes['bytes_float32'])} (float32), {size(sizes['bytes_bfloat16'])} (bfloat16)",
        ),
        (Text("cache a token", "每词元缓存"), f"{size(sizes['cache_bytes_per_token_float32'])} (float32)"),
        *((Text(name, name), _shown(value)) for name, value in settings.items() if name not in idle),
    ]
    text = in_columns([label.of(output.language), value] for label, value in rows)
    notes = "".join(f"\n{note[output.language]}" for note in chosen)
    output.emit({"config": config.to_dict(), "metadata": metadata, "notes": chosen} | sizes, text + notes)
    return 0


def _shown(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _params(arguments: argparse.Namespace, output: Output) -> int:
    model, _ = _open(arguments.model)
    groups = tensor_groups(model)
    total = model.parameter_count()
    for group in groups:
        group["share"] = round(group["parameters"] / total, 6)
    header = [output.pick(en, zh) for en, zh in (("tensor", "张量"), ("shape", "形状"), ("times", "个数"))]
    rows = [[*header, output.pick("parameters", "参数"), output.pick("share", "占比")]]
    for group in groups:
        shape = " × ".join(map(str, group["shape"]))
        rows.append([group["name"], shape, str(group["count"]), f"{group['parameters']:,}", f"{group['share']:.1%}"])
    rows.append([output.pick("together", "合计"), "", "", f"{total:,}", ""])
    output.emit({"parameters": total, "groups": groups}, in_columns(rows))
    return 0


def tensor_groups(model: MiniMind) -> list[dict[str, Any]]:
    """The parameters, those that differ only in their layer's or expert's number together; tied ones once, in order."""
    groups: dict[tuple[str, tuple[int, ...]], int] = {}
    for name, parameter in model.named_parameters():
        key = (re.sub(r"\.\d+\.", ".*.", name), tuple(parameter.shape))
        groups[key] = groups.get(key, 0) + 1
    made = []
    for (name, shape), count in groups.items():
        each = 1
        for length in shape:
            each *= length
        made.append({"name": name, "shape": list(shape), "count": count, "parameters": each * count})
    return made
