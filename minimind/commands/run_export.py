"""``minimind runs export | import``: figures for other programs, and console logs of the released trainers as runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from minimind import paths
from minimind.commands.output import Output
from minimind.events import Text
from minimind.training.run_export import EXPORT_FORMATS, FILE_FORMATS, NAMES, export_run
from minimind.training.run_import import import_log
from minimind.training.runs import find_run

_ENDINGS = {"csv": ".csv", "jsonl": ".jsonl", "tensorboard": "-tensorboard"}


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    """The arguments after the run."""
    parser.add_argument("--format", choices=EXPORT_FORMATS, default="csv", help="what to write / 输出格式 (csv)")
    parser.add_argument("--out", type=Path, metavar="PATH", help="file, or TensorBoard's directory / 文件或目录")
    parser.add_argument(
        "--names",
        choices=NAMES,
        default="ours",
        help="names of the figures: ours, or the released trainers' / 指标名称",
    )


def export(arguments: argparse.Namespace, output: Output) -> int:
    """Write, and say where."""
    directory = find_run(arguments.id)
    to = arguments.format
    place: Path = arguments.out or paths.exports() / f"{directory.name}{_ENDINGS.get(to, '')}"
    count = export_run(directory, to, place, arguments.names)
    where = str(place) if to in FILE_FORMATS else to
    said = Text(f"{count} steps written to {where}", f"已把 {count} 步写到 {where}")
    output.emit({"id": directory.name, "format": to, "steps": count, "place": where}, said)
    return 0


def add_import_flags(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        "file", type=Path, metavar="FILE", help="console log of a released trainer / 发布版训练脚本的日志"
    )
    parser.add_argument("--name", help="a name for the run (default: the file's) / 训练名称（默认取文件名）")


def import_run(arguments: argparse.Namespace, output: Output) -> int:
    """Read the log and say what became of it."""
    directory, log = import_log(arguments.file, name=arguments.name)
    data = {"id": directory.name, "records": len(log.steps), "lines": log.lines, "bad_lines": log.bad}
    said = Text(
        f"{directory.name}: {len(log.steps)} records of {log.lines} lines, {log.bad} bad ones",
        f"{directory.name}：{log.lines} 行中读到 {len(log.steps)} 条记录，{log.bad} 行无法读取",
    )
    output.emit(data, said)
    return 0
