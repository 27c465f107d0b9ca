"""``minimind download``: released models and data sets by their short names."""

from __future__ import annotations

import argparse
from typing import Any

from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.events import Note, Progress, to_dict
from minimind.figures import size

SOURCES = ("auto", "huggingface", "modelscope")


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("download", help="fetch a released model or data set / 下载已发布的模型或数据集")
    parser.add_argument("name", metavar="NAME", nargs="?", help="short name, or OWNER/NAME / 简称或 OWNER/NAME")
    parser.add_argument("files", metavar="FILE", nargs="*", help="only these files / 只下载这些文件")
    parser.add_argument("--from", dest="source", choices=SOURCES, default="auto", help="which hub / 从哪个站点")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Download, telling how far it is; or, without a name, list what there is."""
    from minimind.hub import download, find, folder_of

    if arguments.name is None:
        return _list(output)
    shown = -1.0
    for event in download(arguments.name, arguments.files, source=arguments.source):
        if output.as_json:
            output.emit(to_dict(event), "")
        elif isinstance(event, Note):
            output.say(event.text)
        elif isinstance(event, Progress) and event.total:
            share = event.done / event.total
            if share - shown >= 0.05 or share == 1:
                shown = share
                label = event.label.of(output.language) if event.label else ""
                output.say(f"{share:4.0%}  {size(int(event.done))} / {size(int(event.total))}  {label}")
    wanted = find(arguments.name)
    path = folder_of(wanted) / (wanted.files[0] if wanted.kind == "dataset" else "")
    output.emit({"name": wanted.name, "kind": wanted.kind, "path": str(path)}, str(path))
    return 0


def _list(output: Output) -> int:
    from minimind.hub import MODELS, downloaded_dataset, downloaded_model
    from minimind.hub.names import DATASETS

    here = output.pick("here", "已下载")
    rows = [(name, "model", "", downloaded_model(name)) for name in MODELS]
    rows += [(name, "dataset", about, downloaded_dataset(name)) for name, about in DATASETS.items()]
    if output.as_json:
        for name, kind, about, path in rows:
            output.emit({"name": name, "kind": kind, "size": about, "path": path and str(path)}, "")
        return 0
    kinds = {"model": output.pick("model", "模型"), "dataset": output.pick("data", "数据")}
    output.emit({}, in_columns([name, kinds[kind], about, here if path else ""] for name, kind, about, path in rows))
    return 0
