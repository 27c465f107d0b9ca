"""``minimind guide``: read the pages that come with the program."""

from __future__ import annotations

import argparse
from typing import Any

from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.guides import guide, guides


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "guide",
        help="pages to read: several GPUs and machines / 指南：多块 GPU 与多台机器",
        description="Read a page that comes with the program (Markdown); without a name, list them. "
        "/ 阅读随程序提供的指南（Markdown）；不给名字则列出全部。",
    )
    parser.add_argument("name", nargs="?", help="which one / 哪一篇")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Print the page, or the list of pages."""
    if arguments.name is None:
        titles = {name: title.of(output.language) for name, title in guides().items()}
        output.emit(titles, in_columns([[name, title] for name, title in titles.items()]))
        return 0
    text = guide(arguments.name, output.language)
    output.emit({"name": arguments.name, "language": output.language, "markdown": text}, text)
    return 0
