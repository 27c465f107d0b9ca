"""``minimind queue``: runs that are started one after another."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean_line
from minimind.training.queue import busy_run, clear_queue, dequeue, enqueue, waiting_runs, wake_runner
from minimind.training.runs import RunView, find_run


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add ``queue`` and its actions."""
    parser = subparsers.add_parser("queue", help="runs that wait for their turn / 排队等待的训练")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def add(name: str, function: Callable[[argparse.Namespace, Output], int], text: str) -> argparse.ArgumentParser:
        action: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
        action.set_defaults(run=function)
        return action

    add("list", _list, "what waits, first one first / 列出等待的训练")
    adding = add("add", _add, "let runs wait: not started ones, or ones to go on with / 让训练排队：未启动的或要继续的")
    adding.add_argument("runs", nargs="+", metavar="RUN", help="id, name, path or 'last' / 编号、名称、路径或 last")
    adding.add_argument("--first", action="store_true", help="before all others / 排到最前面")
    removing = add("remove", _remove, "take runs out of the queue / 把训练移出队列")
    removing.add_argument("runs", nargs="+", metavar="RUN")
    add("clear", _clear, "take out all of them / 清空队列")


def _list(_arguments: argparse.Namespace, output: Output) -> int:
    wake_runner()
    busy = busy_run()
    entries = waiting_runs()
    if output.as_json:
        for place, entry in enumerate(entries, 1):
            output.emit({"place": place, "id": entry.directory.name, "directory": str(entry.directory)}, "")
        return 0
    if busy is not None:
        output.say(Text(f"{busy.name} is running", f"{busy.name} 正在运行"))
    if not entries:
        output.say(Text("nothing waits", "队列是空的"))
        return 0
    rows = [
        [str(place), clean_line(entry.directory.name, 60), RunView(entry.directory, strict=False).name]
        for place, entry in enumerate(entries, 1)
    ]
    output.emit({}, in_columns(rows))
    return 0


def _add(arguments: argparse.Namespace, output: Output) -> int:
    for directory in [find_run(text) for text in arguments.runs]:
        place = enqueue(directory, first=arguments.first)
        output.emit(
            {"id": directory.name, "place": place},
            output.pick(f"{directory.name} waits, number {place}", f"{directory.name} 已排队，第 {place} 位"),
        )
    return 0


def _remove(arguments: argparse.Namespace, output: Output) -> int:
    for directory in [find_run(text) for text in arguments.runs]:
        if not dequeue(directory):
            raise UserError(f"{directory.name}: does not wait", f"{directory.name}：不在队列中")
        output.emit(
            {"removed": directory.name}, output.pick(f"{directory.name} waits no more", f"{directory.name} 已移出队列")
        )
    return 0


def _clear(_arguments: argparse.Namespace, output: Output) -> int:
    count = clear_queue()
    output.emit({"removed": count}, output.pick(f"{count} taken out", f"移出 {count} 个"))
    return 0
