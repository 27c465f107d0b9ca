"""``minimind recipe list | show | run``: a model from raw text to export, by one file and one command."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.commands.run_text import moment, status_data, status_lines
from minimind.commands.train import follow_until_end
from minimind.events import Text
from minimind.recipe.book import LOG, Book, begin, find_book, is_begun, list_books
from minimind.recipe.plan import read_recipe, shipped_recipes
from minimind.training.launch import trainer_environment
from minimind.training.runs import RunStatus

_INTERRUPTED, _FAILED = 130, 1


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "recipe",
        help="the whole way to a model from one file / 用一个文件走完整个训练流程",
        description="Tokenizer, pretraining, tuning, evaluation, export and a report, from one TOML file. "
        "/ 从一个 TOML 文件完成词表、预训练、微调、评测、导出与报告。",
    )
    actions = parser.add_subparsers(title="actions / 操作", metavar="ACTION", required=True)
    listed = actions.add_parser("list", help="recipes, and those that were begun / 配方，以及已开始的")
    listed.set_defaults(run=run_list)
    shown = actions.add_parser("show", help="the file of a recipe, or how far one is / 查看配方文件或进度")
    shown.add_argument("name", metavar="RECIPE|ID")
    shown.set_defaults(run=run_show)
    started = actions.add_parser("run", help="begin one, or go on with one / 开始或继续")
    started.add_argument("name", metavar="RECIPE|FILE|ID", help="shipped recipe, TOML file, or one that was begun")
    started.add_argument("--detach", action="store_true", help="return at once; it goes on / 立即返回，在后台继续")
    started.set_defaults(run=run_run)


def run_list(_arguments: argparse.Namespace, output: Output) -> int:
    """Print the shipped recipes and the begun ones."""
    recipes = {name: read_recipe(name) for name in shipped_recipes()}
    books = list_books()
    data = {
        "recipes": [{"name": name, "title": recipe.title.of(output.language)} for name, recipe in recipes.items()],
        "begun": [book_data(book) for book in books],
    }
    rows = [
        [name, recipe.title.of(output.language), " → ".join(stage.name for stage in recipe.stages)]
        for name, recipe in recipes.items()
    ]
    lines = [in_columns(rows)]
    if books:
        begun = [[book.id, moment(book.began), _state(book, output)] for book in books]
        lines += ["", output.pick("Begun:", "已开始："), in_columns(begun)]
    output.emit(data, "\n".join(lines))
    return 0


def book_data(book: Book) -> dict[str, Any]:
    """How far a recipe is, as JSON data."""
    return {
        "id": book.id,
        "directory": str(book.directory),
        "began": book.began,
        "cooking": book.is_cooking,
        "steps": list(book.steps()),
        "done": list(book.done),
        "runs": book.runs,
    }


def _state(book: Book, output: Output) -> str:
    done, steps = len(book.done), len(book.steps())
    if done == steps:
        return output.pick("done", "已完成")
    share = f"{done}/{steps}"
    return share + (output.pick(", at work", "，进行中") if book.is_cooking else "")


def run_show(arguments: argparse.Namespace, output: Output) -> int:
    """Print a recipe's file, or the steps of one that was begun."""
    if arguments.name in shipped_recipes() or Path(arguments.name).suffix == ".toml":
        recipe = read_recipe(arguments.name)
        output.emit({"source": recipe.source}, recipe.source.rstrip())
        return 0
    book = find_book(arguments.name)
    rows = []
    for step in book.steps():
        kind, _, name = step.partition(":")
        seconds = f"{book.done[step]['seconds']:.0f} s" if step in book.done else ""
        rows.append(["✓" if step in book.done else "·", name or kind, seconds, book.runs.get(name, "")])
    output.emit(book_data(book), f"{book.directory}\n{in_columns(rows)}")
    return 0


def run_run(arguments: argparse.Namespace, output: Output) -> int:
    """Begin or go on, and watch to the end unless told not to."""
    from minimind.recipe.cook import Interrupted, cook

    book = find_book(arguments.name) if is_begun(arguments.name) else begin(read_recipe(arguments.name), arguments.name)
    output.emit(
        {"kind": "begun", "id": book.id, "directory": str(book.directory)},
        Text(
            f"{book.id}: `minimind recipe run {book.id}` goes on with it, whatever happens",
            f"{book.id}：无论发生什么，`minimind recipe run {book.id}` 都可以继续",
        ),
    )
    if arguments.detach:
        start_detached(book)
        return 0
    asked_to_stop = False

    def watch(directory: Path) -> RunStatus:
        nonlocal asked_to_stop
        status, asked_to_stop = follow_until_end(directory, output)
        return status

    try:
        cook(book, watch, output.say)
    except Interrupted as error:
        output.emit(
            {"kind": "status", "id": book.id, **status_data(error.status)},
            "\n".join(status_lines(error.status, output)),
        )
        output.say(Text(f"go on with: minimind recipe run {book.id}", f"继续：minimind recipe run {book.id}"))
        return _INTERRUPTED if asked_to_stop else error.status.code or _FAILED
    report = book.directory / f"report.{output.language}.md"
    output.emit({"kind": "report", "path": str(report)}, Text(f"done: {report}", f"完成：{report}"))
    return 0


def start_detached(book: Book) -> None:
    """Go on with `book` in a process of its own that outlives this one; what it says goes into the book's log."""
    with (book.directory / LOG).open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-P", "-m", "minimind", "recipe", "run", book.id],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=trainer_environment(),
            cwd=os.sep,
            start_new_session=True,
        )
