"""``minimind …``: assembles the commands, chooses the language, and turns a UserError into one line."""

from __future__ import annotations

import argparse
import importlib
import io
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from minimind import __version__
from minimind.commands.output import Output, standard
from minimind.commands.parsing import Parser, asked_language
from minimind.errors import UserError
from minimind.safe_text import clean_line

# Each is a module of minimind.commands with `register(subparsers)`; none imports torch before it runs.
COMMANDS = (
    "train",
    "recipe",
    "ablate",
    "runs",
    "queue",
    "estimate",
    "settings",
    "find_learning_rate",
    "generate",
    "chat",
    "model",
    "data",
    "lens",
    "tokenizer",
    "bench",
    "doctor",
    "guide",
    "export",
    "import_model",
    "download",
)

Register = Callable[["argparse._SubParsersAction[argparse.ArgumentParser]"], None]
"""Adds one command's parser, which sets `run` to a function of the parsed arguments and the `Output`."""

USER_ERROR, INTERNAL_ERROR, INTERRUPTED = 2, 1, 130


def assemble(prog: str, description: str, commands: Sequence[Register]) -> argparse.ArgumentParser:
    """A parser called `prog` with these commands, each of which takes --json, --lang and --debug."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="one JSON object a line / 每行一个 JSON 对象"
    )
    common.add_argument("--lang", choices=("en", "zh"), default=argparse.SUPPRESS, help="language / 语言")
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks / 显示完整的出错信息"
    )
    parser: argparse.ArgumentParser = Parser(prog=prog, parents=[common], description=description)
    parser.add_argument("--version", action="version", version=f"minimind {__version__}")
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser] = parser.add_subparsers(
        title="commands / 命令", metavar="COMMAND", parser_class=Parser
    )
    for register in commands:
        register(subparsers)
    _share(subparsers, common)
    return parser


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    return assemble(
        "minimind",
        "A small language model in plain PyTorch / 纯 PyTorch 的小语言模型",
        [importlib.import_module(f"minimind.commands.{name}").register for name in COMMANDS],
    )


def _share(subparsers: argparse._SubParsersAction[Any], common: argparse.ArgumentParser) -> None:
    """Let --json, --lang and --debug stand after the command as well as before it, at every depth."""
    for parser in set(subparsers.choices.values()):
        for action in common._actions:
            if not set(action.option_strings) & set(parser._option_string_actions):
                parser._add_action(action)
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                _share(action, common)


def main(arguments: Sequence[str] | None = None, build: Callable[[], argparse.ArgumentParser] = build_parser) -> int:
    """Run one command; returns the exit status (0 done, 2 the person's mistake, 1 ours, 130 interrupted).

    `build` makes another command line of the same manners (``python -m lessons``).
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    raw = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in raw
    output = standard(as_json="--json" in raw, language=asked_language(raw))
    try:
        parser = build()
        options = parser.parse_args(raw)
        output = standard(as_json=getattr(options, "json", False), language=output.language)
        if not hasattr(options, "run"):
            parser.print_help()
            return 0
        return int(options.run(options, output))
    except UserError as error:
        if debug:
            traceback.print_exc()
        output.say(output.pick(f"minimind: {error.text.en}", f"minimind：{error.text.zh}"))
        return USER_ERROR
    except KeyboardInterrupt:
        output.say("")
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if debug:
            raise
        return _internal(error, output)


def _internal(error: Exception, output: Output) -> int:
    """Say in one line that the fault is ours, and where."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    what = clean_line(f"{type(error).__name__}: {error}", 300)
    output.say(
        output.pick(
            f"minimind: a fault of ours, in {frame.name}: {what} (run again with --debug for the traceback)",
            f"minimind：程序自身出错，位于 {frame.name}：{what}（加上 --debug 可看完整信息）",
        )
    )
    return INTERNAL_ERROR
