"""``minimind model pack``: a trained model without what only its training needs, as a directory to hand on."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from minimind.commands.inference_flags import MODEL_HELP
from minimind.commands.output import Output
from minimind.events import Text
from minimind.figures import size


def register(actions: argparse._SubParsersAction[Any]) -> None:
    """Add ``pack`` to the actions of ``model``."""
    text = "weights, config and tokenizer alone, to hand on / 只保留权重、配置和词表，便于分发"
    parser = actions.add_parser("pack", help=text, description=text)
    parser.add_argument("model", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="a new directory / 新目录")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="precision / 精度")
    parser.add_argument(
        "--command",
        action="append",
        default=[],
        metavar="TEXT",
        help="a command that made the model, kept in its metadata (may be given again) / 生成该模型的命令，记入元数据（可多次给出）",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Write the directory and say how large it is."""
    import torch

    from minimind.model.files import load_model, model_files
    from minimind.model.locate import locate_model
    from minimind.training.checkpoint import write_directory
    from minimind.training.prepare import tokenizer_files

    model, tokenizer, metadata = load_model(locate_model(arguments.model))
    metadata = _without_places(metadata) | ({"commands": arguments.command} if arguments.command else {})
    files = model_files(model, metadata, dtype=getattr(torch, arguments.dtype)) | dict(tokenizer_files(tokenizer))
    write_directory(arguments.directory, files, step=int(metadata.get("step", 0)))
    total = sum(map(len, files.values()))
    output.emit(
        {"directory": str(arguments.directory), "bytes": total, "dtype": arguments.dtype},
        Text(
            f"{arguments.directory}: {size(total)}, weights in {arguments.dtype}",
            f"{arguments.directory}：{size(total)}，权重为 {arguments.dtype}",
        ),
    )
    return 0


def _without_places(metadata: dict[str, Any]) -> dict[str, Any]:
    """`metadata` with the name of each model it started from in place of where that was on this machine."""
    cleaned = dict(metadata)
    for key in ("model", "base"):
        if isinstance(start := metadata.get(key), str):
            cleaned[key] = Path(start).name
    if isinstance(history := metadata.get("history"), list):
        cleaned["history"] = [_without_places(earlier) for earlier in history]
    return cleaned
