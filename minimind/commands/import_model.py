"""``minimind import``: any model a person has, as a folder of ours."""

from __future__ import annotations

import argparse
from typing import Any

from minimind.commands.columns import in_columns
from minimind.commands.model_source import add_source_flags, new_folder, note_lines, open_source
from minimind.commands.output import Output


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("import", help="bring in a model from elsewhere / 导入其他来源的模型")
    add_source_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Open the model, write it as a folder of ours, and say what it is and what had to be assumed."""
    from minimind.model.files import model_files, nearest_preset

    model, tokenizer, metadata = open_source(arguments)
    out = new_folder(arguments.out)
    tokenizer.save(out)
    history = {key: value for key, value in metadata.items() if key != "notes"} | {"imported_from": arguments.path}
    for name, content in model_files(model, history).items():
        (out / name).write_bytes(content)
    config = model.config
    preset = nearest_preset({name: tuple(tensor.shape) for name, tensor in model.state_dict().items()})
    notes = note_lines(metadata, output.language == "zh")
    data = {
        "out": str(out),
        "parameters": config.parameter_count(),
        "active_parameters": config.active_parameter_count(),
        "nearest_preset": preset,
        "notes": notes,
        "config": config.to_dict(),
    }
    rows = (
        ("folder", "目录", str(out)),
        ("parameters", "参数", f"{config.parameter_count():,}"),
        ("active", "激活参数", f"{config.active_parameter_count():,}" if config.use_moe else ""),
        ("shape", "结构", f"{config.hidden_size} × {config.num_hidden_layers}, {config.num_attention_heads} heads"),
        ("preset", "预设", preset),
    )
    text = in_columns([output.pick(en, zh), value] for en, zh, value in rows if value)
    output.emit(data, "\n".join([text, *notes]))
    return 0
