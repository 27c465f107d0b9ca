"""``minimind runs``: list, show, watch, stop, pause, resume, save, delete, name, diagnose, compare."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from minimind.commands import run_about, run_compare, run_export
from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.commands.run_diagnosis import diagnose_run
from minimind.commands.run_machine import machine
from minimind.commands.run_text import (
    checkpoint_data,
    figure_rows,
    follow,
    moment,
    outcome_lines,
    plain_numbers,
    read_run,
    run_data,
    setting_text,
    status_data,
    status_lines,
    step_text,
)
from minimind.errors import UserError
from minimind.events import Text
from minimind.figures import duration, number, size
from minimind.safe_text import clean_line
from minimind.training import launch
from minimind.training.compare import known_settings
from minimind.training.queue import wake_runner
from minimind.training.runs import (
    STATE_NAMES,
    RunStatus,
    RunView,
    Want,
    delete_run,
    find_run,
    list_runs,
    outcomes,
    parse_filter,
    request,
)

_INTERRUPTED = 130
_WELL = frozenset({"created", "running", "paused", "stopping", "finished", "stopped"})


_Command = Callable[[argparse.Namespace, Output], int]
_Add = Callable[[str, _Command, str], argparse.ArgumentParser]
"""Adds a subcommand: its name, what runs it, and its help."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``runs`` and its subcommands."""
    parser = subparsers.add_parser("runs", help="training runs / 训练任务")
    commands = parser.add_subparsers(metavar="ACTION", required=True)

    def add(name: str, function: _Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=function)
        return command

    listing = add("list", _list, "all runs, newest first / 列出全部训练，新的在前")
    listing.add_argument(
        "--filter",
        nargs="+",
        action="extend",
        default=[],
        metavar="TERM",
        help="state:live tag:x objective:sft text; -TERM excludes / 筛选；前加 - 表示排除",
    )
    _add_run(add("show", _show, "what a run was asked for and what became of it / 查看一个训练的设置与结果"))
    watch = add("watch", _watch, "print a run's records as they come / 实时打印训练记录")
    _add_run(watch)
    watch.add_argument(
        "--follow",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="go on until the run ends (default) / 一直跟到训练结束（默认）",
    )
    stop = add("stop", _stop, "save and stop / 保存并停止")
    _add_run(stop)
    stop.add_argument("--now", action="store_true", help="kill it without saving / 不保存，立即强制结束")
    stop.add_argument("--wait", action="store_true", help="return when it has ended / 等到结束再返回")
    _add_run(add("pause", _pause, "pause after the current step, memory is kept / 当前步后暂停，内存保留"))
    resume = add("resume", _resume, "go on: after a pause, or from the newest checkpoint / 继续：从暂停处或最新检查点")
    _add_run(resume)
    _add_take_over(resume)
    _add_run(add("save", _save, "save a checkpoint now / 立即保存检查点"))
    remove = add("rm", _remove, "delete runs with their checkpoints / 删除训练及其检查点")
    remove.add_argument("runs", nargs="+", metavar="RUN", help=_RUN_HELP)
    _add_take_over(remove)
    remove.add_argument("--yes", action="store_true", help="do not ask / 不再确认")
    _register_views(add)


_RUN_HELP = "id, its beginning or last part, name, path, or 'last' / 编号、其开头或末段、名称、路径，或 last"


def _register_views(add: _Add) -> None:
    """Add what looks at runs, names them and compares them."""
    about = [
        add("rename", run_about.rename, "give a run another name / 给训练改名"),
        add("note", run_about.note, "write a note about a run / 给训练写备注"),
        add("tag", run_about.tag, "add and remove tags / 增删标签"),
    ]
    for command in about:
        _add_run(command)
    run_about.add_about_flags(*about)
    export = add("export", run_export.export, "figures for other programs / 把指标导出给其他程序")
    _add_run(export)
    run_export.add_export_flags(export)
    run_export.add_import_flags(
        add("import", run_export.import_run, "a released trainer's console log as a run / 把发布版训练日志导入为训练")
    )
    add("machine", machine, "how busy the machine is, and what each run uses / 机器有多忙，各个训练占用多少")
    _add_run(add("diagnose", diagnose_run, "what is wrong with a run and what to do / 诊断训练并给出建议"))
    compare = add(
        "compare", run_compare.compare, "runs side by side: curves and settings / 并排比较几个训练：曲线与设置"
    )
    run_compare.add_compare_flags(compare)
    compare.add_argument("runs", nargs="+", metavar="RUN", help=_RUN_HELP)


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="RUN", help=_RUN_HELP)


def _add_take_over(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--take-over",
        action="store_true",
        help="also if it was started on another machine that is gone / 即使它在另一台（已不在的）机器上启动",
    )


def _list(arguments: argparse.Namespace, output: Output) -> int:
    wake_runner()
    chosen = parse_filter(" ".join(arguments.filter))
    views = [view for view in list_runs() if chosen.fits(view)]
    if output.as_json:
        for view in views:
            output.emit(run_data(view), "")
        return 0
    if not views and arguments.filter:
        output.say(Text("no run fits the filter", "没有符合条件的训练"))
        return 0
    if not views:
        output.say(Text("no runs yet: minimind train starts one", "还没有训练：用 minimind train 开始"))
        return 0
    header = (
        ("run", "编号"),
        ("state", "状态"),
        ("step", "步数"),
        ("loss", "损失"),
        ("name", "名称"),
        ("tags", "标签"),
    )
    rows = [[output.pick(*title) for title in header]]
    for view in views:
        glance = view.glance()
        loss = glance.latest.get("loss")
        rows.append(
            [
                clean_line(view.id, 60),
                STATE_NAMES[view.status().state].of(output.language),
                "" if glance.step is None else str(glance.step),
                "" if loss is None else number(loss),
                view.name,
                " ".join(view.about.tags),
            ]
        )
    output.emit({}, in_columns(rows))
    return 0


def _show(arguments: argparse.Namespace, output: Output) -> int:
    view = read_run(find_run(arguments.id))
    status, checkpoints = view.status(), view.checkpoints()
    data: dict[str, Any] = {
        **run_data(view),
        "latest": plain_numbers(view.latest),
        "elapsed": view.elapsed,
        "parent": view.parent,
        "config": known_settings(view),
        "checkpoints": [checkpoint_data(checkpoint) for checkpoint in checkpoints],
        "bad_records": view.bad_records,
        "prediction": view.request.get("prediction"),
        "outcomes": [row._asdict() | {"name": row.name.en} for row in outcomes(view)],
    }
    lines = [f"{view.id}  {view.name}".rstrip(), *status_lines(status, output)]
    lines += run_about.about_lines(replace(view.about, name=None), output)
    if view.series:
        latest = {name: value for name, value in view.latest.items() if status.live or name != "eta_seconds"}
        lines += [
            f"{step_text(view.step, output)} · {duration(view.elapsed, output.language)}",
            "",
            in_columns(figure_rows(latest, output)),
        ]
    lines.append("")
    lines.append(
        in_columns([name, setting_text(value)] for name, value in view.config.applying().items() if value is not None)
    )
    lines += outcome_lines(outcomes(view), output)
    if checkpoints:
        lines += ["", output.pick("checkpoints", "检查点")]
        lines.append(
            in_columns(
                [step_text(checkpoint.step, output), size(checkpoint.size), moment(checkpoint.time)]
                for checkpoint in checkpoints
            )
        )
    lines += ["", str(view.directory)]
    output.emit(data, "\n".join(lines))
    return 0


def _watch(arguments: argparse.Namespace, output: Output) -> int:
    directory = find_run(arguments.id)
    try:
        status = follow(directory, output, wait=arguments.follow)
    except KeyboardInterrupt:
        output.say(
            Text(
                f"\nno longer watching; {directory.name} goes on (minimind runs stop {directory.name} would stop it)",
                f"\n已不再观看；{directory.name} 仍在继续（minimind runs stop {directory.name} 可停止它）",
            )
        )
        return _INTERRUPTED
    return _report(directory, status, output)


def _stop(arguments: argparse.Namespace, output: Output) -> int:
    directory = find_run(arguments.id)
    launch.stop(directory, force=arguments.now)
    view = RunView(directory)
    status = view.status()
    while arguments.wait and status.live:
        time.sleep(0.05)
        status = view.status()
    return _report(directory, status, output)


def _pause(arguments: argparse.Namespace, output: Output) -> int:
    return _ask(find_run(arguments.id), output, want="pause")


def _save(arguments: argparse.Namespace, output: Output) -> int:
    return _ask(find_run(arguments.id), output, save=True)


def _ask(directory: Path, output: Output, *, want: Want | None = None, save: bool = False) -> int:
    """Ask something of a run that lives."""
    _live_status(directory)
    request(directory, want=want, save=save)
    return _report(directory, RunView(directory).status(), output)


def _resume(arguments: argparse.Namespace, output: Output) -> int:
    directory = find_run(arguments.id)
    if RunView(directory).status().live:
        return _ask(directory, output, want="run")
    launch.resume(directory, take_over=arguments.take_over)
    return _report(directory, RunView(directory).status(), output)


def _remove(arguments: argparse.Namespace, output: Output) -> int:
    directories = list(dict.fromkeys(find_run(text) for text in arguments.runs))
    if not arguments.yes:
        _confirm(directories, output)
    for directory in directories:
        delete_run(directory, take_over=arguments.take_over)
        output.emit({"deleted": str(directory)}, output.pick(f"deleted {directory.name}", f"已删除 {directory.name}"))
    return 0


def _confirm(directories: list[Path], output: Output) -> None:
    """Ask the person. Raises UserError without an answer of yes, and where nobody can be asked."""
    names = ", ".join(clean_line(directory.name, 60) for directory in directories)
    if not sys.stdin.isatty():
        raise UserError(f"{names}: add --yes to delete without asking", f"{names}：加上 --yes 才会不询问直接删除")
    output.say(Text(f"delete {names} with all checkpoints? [y/N]", f"删除 {names} 及全部检查点？[y/N]"))
    if sys.stdin.readline().strip().lower() not in ("y", "yes", "是"):
        raise UserError("nothing was deleted", "没有删除任何东西")


def _live_status(directory: Path) -> RunStatus:
    """The status of a run that lives. Raises UserError for any other."""
    status = RunView(directory).status()
    if not status.live:
        raise UserError(
            f"{directory.name}: is not running ({status.reason.en})",
            f"{directory.name}：没有在运行（{status.reason.zh}）",
        )
    return status


def _report(directory: Path, status: RunStatus, output: Output) -> int:
    """Say how a run stands; the exit status tells whether it went wrong."""
    output.emit(
        {"kind": "status", "id": directory.name, **status_data(status)}, "\n".join(status_lines(status, output))
    )
    return 0 if status.state in _WELL else 1
