"""What the commands that run a model share: which model, where, how to draw; and the text a person gives them."""

from __future__ import annotations

import argparse
import io
import sys
from typing import TYPE_CHECKING, TextIO

from minimind.commands.output import Output
from minimind.config import EngineConfig, SampleConfig
from minimind.declaration import add_flags, given_flags
from minimind.errors import UserError
from minimind.events import Text
from minimind.startup import without_collecting

if TYPE_CHECKING:
    from minimind.inference.engine import Engine

MODEL_HELP = "folder, weights file, run, or a model that comes with the package / 目录、权重文件、训练编号或自带模型"


def add_engine_flags(parser: argparse.ArgumentParser) -> None:
    """Add the model, the device and how tokens are drawn."""
    parser.add_argument("path", metavar="MODEL", help=MODEL_HELP)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="device / 设备")
    add_flags(parser, EngineConfig)
    parser.add_argument(
        "--draft",
        metavar="MODEL",
        help="a smaller model with the same tokenizer that guesses ahead / 用同一分词器的小模型来预猜后续",
    )
    add_flags(parser, SampleConfig)


def open_engine(arguments: argparse.Namespace, output: Output) -> tuple[Engine, SampleConfig]:
    """The engine and the settings that the flags mean; says what had to be assumed about it."""
    config = SampleConfig.from_dict(given_flags(arguments, SampleConfig))
    running = EngineConfig.from_dict(given_flags(arguments, EngineConfig))
    if running.lookup and arguments.draft is not None:
        raise UserError("--lookup and --draft both guess: give one of them", "--lookup 和 --draft 都是预猜：只能给一个")
    from minimind.hardware import wait_without_spinning

    wait_without_spinning()
    with without_collecting():
        from minimind.inference.engine import Engine
    from minimind.inference.speculative import DraftModel, PromptLookup

    engine = Engine.open(arguments.path, device=arguments.device, dtype=running.dtype)
    for note in engine.metadata.get("notes", ()):
        output.say(Text(str(note["en"]), str(note["zh"])))
    if running.lookup:
        engine.proposer = PromptLookup()
    elif arguments.draft is not None:
        engine.proposer = DraftModel(Engine.open(arguments.draft, device=arguments.device), engine)
    return engine, config


def standard_input() -> TextIO:
    """The process's stdin, with bytes that are no text replaced. Raises UserError where it is closed."""
    if sys.stdin is None or sys.stdin.closed:
        raise UserError("there is no input: give the text as an argument", "没有输入：请把文本作为参数给出")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")
    return sys.stdin
