"""The flags that say which model is meant, shared by the commands that convert one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimind.config import ModelConfig
from minimind.declaration import parse_value
from minimind.errors import UserError
from minimind.safe_text import clean_line

if TYPE_CHECKING:
    from minimind.data.tokenizer import Tokenizer
    from minimind.model.transformer import MiniMind


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """Add PATH and what goes with it."""
    parser.add_argument(
        "path",
        metavar="PATH",
        help="folder, .pth, adapter, run, shipped or downloaded model / 目录、.pth、LoRA、训练编号、自带或已下载的模型",
    )
    parser.add_argument("--base", metavar="PATH", help="the model an adapter belongs to / LoRA 所属的模型")
    parser.add_argument("--lora", metavar="PATH", help="adapter to merge into the model / 要合并进模型的 LoRA")
    parser.add_argument("--tokenizer", metavar="PATH", help="tokenizer of the model / 模型的词表")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the architecture that the files do not tell / 文件中没有说明的结构设置",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="a new folder / 新目录")


def changes(given: list[str]) -> dict[str, Any]:
    """The settings of ``--set``. Raises UserError for one that is not NAME=VALUE, unknown, or of a wrong value."""
    known = {declared.name: declared for declared in ModelConfig.declared()}
    made: dict[str, Any] = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or name not in known:
            shown = clean_line(text, 80)
            raise UserError(
                f"--set {shown}: use NAME=VALUE with one of {', '.join(known)}",
                f"--set {shown}：请写作 名称=值，名称为 {', '.join(known)} 之一",
            )
        made[name] = parse_value(known[name], value)
    return made


def open_source(arguments: argparse.Namespace) -> tuple[MiniMind, Tokenizer, dict[str, Any]]:
    """The model that the flags mean. Raises UserError as `open_any` does."""
    from minimind.interop.opening import open_any
    from minimind.model.locate import locate_model

    return open_any(
        locate_model(arguments.path),
        adapter=arguments.lora,
        base=locate_model(arguments.base) if arguments.base else None,
        tokenizer=arguments.tokenizer,
        changes=changes(arguments.set),
    )


def new_folder(text: str) -> Path:
    """Make the folder `text`. Raises UserError where it holds something already or cannot be made."""
    folder = Path(text).expanduser()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        filled = any(folder.iterdir())
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written: {error.strerror}", f"{folder}：无法写入：{error.strerror}"
        ) from None
    if filled:
        raise UserError(
            f"{folder} is not empty: name a new folder with --out", f"{folder} 不是空目录：请用 --out 指定新目录"
        )
    return folder


def note_lines(metadata: dict[str, Any], chinese: bool) -> list[str]:
    """What had to be assumed about the model, in one language."""
    return [str(note["zh" if chinese else "en"]) for note in metadata.get("notes", [])]
