"""``minimind train``: start a training run in a process of its own, and watch it until it ends."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from minimind.commands.output import Output
from minimind.commands.run_text import follow, status_data, status_lines
from minimind.commands.training_flags import add_training_flags, given_settings, training_config
from minimind.config import MODEL_PRESETS, OBJECTIVES
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean_line
from minimind.training import launch
from minimind.training.changes import change_settings
from minimind.training.queue import enqueue
from minimind.training.runs import RunStatus, RunView, create_run, find_run

_INTERRUPTED = 130
_FAILED = 1


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "train",
        help="train a model / 训练模型",
        description="Train a model in a process of its own; Ctrl-C saves and stops it. "
        "/ 在独立进程中训练模型；按 Ctrl-C 会保存并停止。",
    )
    parser.add_argument("objective", nargs="?", choices=OBJECTIVES, help="training method / 训练方法")
    parser.add_argument("--run", dest="resumed", metavar="ID", help="go on with this run / 继续这个训练")
    parser.add_argument("--name", help="a name for the run / 给训练起个名字")
    parser.add_argument(
        "--allow-changes",
        action="store_true",
        help="with --run: go on although settings or data differ / 与 --run 一起用：设置或数据有变也继续",
    )
    parser.add_argument(
        "--take-over",
        action="store_true",
        help="with --run: even if it was started on another machine, which is gone / 与 --run 一起用：原机器已不在，由本机接管",
    )
    parser.add_argument(
        "--queue", action="store_true", help="start it when no other run is running / 排队，等其他训练结束后再启动"
    )
    parser.add_argument("--create-only", action="store_true", help="make the run, do not start it / 只新建训练，不启动")
    _add_machines(parser)
    parser.add_argument(
        "--detach", action="store_true", help="return at once; the run goes on / 立即返回，训练在后台继续"
    )
    add_training_flags(parser)
    parser.set_defaults(run=run)


def _add_machines(parser: argparse.ArgumentParser) -> None:
    """The flags of a run on several machines; a job's scheduler gives their values (`minimind guide cluster`)."""
    group = parser.add_argument_group("several machines / 多机")
    group.add_argument("--nodes", type=int, default=1, metavar="N", help="how many machines / 机器数")
    group.add_argument("--node-rank", type=int, default=0, metavar="R", help="which one this is: 0…N-1 / 本机序号")
    group.add_argument(
        "--rendezvous", default="", metavar="HOST:PORT", help="where machine 0 is reached / 0 号机器的地址"
    )


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Start or resume, then watch unless told not to."""
    order = launch.Order(_machines(arguments), arguments.allow_changes)
    resumed = arguments.resumed is not None
    directory = _chosen(arguments) if resumed else _made(arguments)
    if arguments.create_only:
        output.emit({"id": directory.name, "directory": str(directory)}, str(directory))
        return 0
    if arguments.queue:
        return _wait(directory, order, output)
    if order.machines.index > 0:
        launch.join(directory, order)
    if resumed:
        launch.resume(directory, take_over=arguments.take_over, order=order)
    else:
        launch.launch(directory, order=order)
    if arguments.detach:
        output.emit(
            {"id": directory.name, "directory": str(directory)},
            Text(
                f"{directory.name} has started: `minimind runs watch {directory.name}` shows it",
                f"{directory.name} 已启动：`minimind runs watch {directory.name}` 可查看",
            ),
        )
        return 0
    output.say(
        Text(
            f"{directory.name}: training in a process of its own; Ctrl-C saves and stops it",
            f"{directory.name}：正在独立进程中训练；按 Ctrl-C 会保存并停止",
        )
    )
    return _watch(directory, output)


def _wait(directory: Path, order: launch.Order, output: Output) -> int:
    """Put the run into the queue. Raises UserError for a start that the queue could not repeat."""
    if order != launch.Order():
        raise UserError(
            "--queue starts a run as it is: leave out --allow-changes and the machines",
            "--queue 会按原样启动：请去掉 --allow-changes 和多机选项",
        )
    place = enqueue(directory)
    said = Text(
        f"{directory.name} waits for its turn, number {place}: `minimind queue list` shows the queue",
        f"{directory.name} 已排队，第 {place} 位：`minimind queue list` 可查看队列",
    )
    output.emit({"id": directory.name, "directory": str(directory), "place": place}, said)
    return 0


def _machines(arguments: argparse.Namespace) -> launch.Machines:
    """The machines that are named. Raises UserError for what does not fit together."""
    count, index, address = arguments.nodes, arguments.node_rank, arguments.rendezvous
    if count == 1 and index == 0 and not address:
        return launch.Machines()
    host, _, port = address.rpartition(":")
    if not (0 <= index < count and host and port.isdecimal()):
        raise UserError(
            f"--nodes {count} --node-rank {index} --rendezvous {clean_line(address, 80) or '(none)'}: ranks are 0…N-1, and "
            "the rendezvous is HOST:PORT of machine 0",
            f"--nodes {count} --node-rank {index} --rendezvous {clean_line(address, 80) or '（无）'}：序号应为 0…N-1，"
            "rendezvous 应为 0 号机器的 主机:端口",
        )
    if arguments.resumed is None:
        raise UserError(
            "--nodes needs --run: make the run once with --create-only, in a directory that all machines see",
            "--nodes 需要 --run：请先用 --create-only 新建一次训练，放在所有机器都能访问的目录里",
        )
    return launch.Machines(count, index, address)


def _made(arguments: argparse.Namespace) -> Path:
    """Make the run that is asked for. The method may stand in the file of settings instead of on the command line."""
    arguments.objective = arguments.objective or given_settings(arguments).get("objective")
    if arguments.objective is None:
        methods = " | ".join(OBJECTIVES)
        raise UserError(
            f"say what to do: minimind train {methods} (or --run ID to go on with a run)",
            f"请说明训练方法：minimind train {methods}（或用 --run ID 继续一个训练）",
        )
    config = training_config(arguments)
    parent = None if config.model in MODEL_PRESETS else config.model
    return create_run(config, name=arguments.name, parent=parent, argv=sys.argv).directory


def _chosen(arguments: argparse.Namespace) -> Path:
    """The run that is to go on from its newest checkpoint, with the settings that are named changed."""
    if arguments.objective is not None or arguments.name is not None:
        raise UserError(
            "--run goes on with a run that exists: leave out the method and the name",
            "--run 会继续已有的训练：请不要再给训练方法或名字",
        )
    directory = find_run(arguments.resumed)
    change_settings(directory, given_settings(arguments), allow=arguments.allow_changes)
    return directory


class _Interrupt:
    """What Ctrl-C does while a run is watched: the first asks it to save and stop, the second leaves it alone."""

    def __init__(self, directory: Path, output: Output) -> None:
        self._directory = directory
        self._output = output
        self.came = False

    def __call__(self, _number: int, _frame: FrameType | None) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True
        if RunView(self._directory).status().live:
            launch.stop(self._directory)
            self._output.say(
                Text(
                    "stopping: it saves first (Ctrl-C again: do not wait)",
                    "正在停止：先保存（再按一次 Ctrl-C：不再等待）",
                )
            )


def follow_until_end(directory: Path, output: Output) -> tuple[RunStatus, bool]:
    """Show a run until it ends; its status then, and whether a person asked it to stop with Ctrl-C meanwhile.

    A second Ctrl-C leaves the run to itself: KeyboardInterrupt.
    """
    interrupt = _Interrupt(directory, output)
    # A job's scheduler says by SIGTERM what a person says by Ctrl-C.
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        return follow(directory, output), interrupt.came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(directory: Path, output: Output) -> int:
    """Show the run until it ends."""
    try:
        status, interrupted = follow_until_end(directory, output)
    except KeyboardInterrupt:
        output.say(
            Text(
                f"{directory.name} is left to itself: `minimind runs show {directory.name}`",
                f"不再等待 {directory.name}：可用 `minimind runs show {directory.name}` 查看",
            )
        )
        return _INTERRUPTED
    output.emit(
        {"kind": "status", "id": directory.name, "directory": str(directory), **status_data(status)},
        "\n".join(status_lines(status, output)),
    )
    if status.state in ("finished", "stopped"):
        return _INTERRUPTED if interrupted else 0
    return status.code or _FAILED
