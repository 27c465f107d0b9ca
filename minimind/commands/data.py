"""``minimind data list | check | generate | show | mask``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from minimind import paths
from minimind.commands.output import Output
from minimind.data import formats
from minimind.data.catalogue import CATALOGUE, EMBEDDED_TOOLS, GENERATED, resolve
from minimind.data.preflight import refuse_kind
from minimind.errors import UserError
from minimind.figures import size

_KINDS = ("pretrain", "sft", "dpo", "rlaif", "agent")


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("data", help="list, check, make and look into data / 列出、检查、生成、查看数据")
    actions = parser.add_subparsers(title="actions / 操作", metavar="ACTION", required=True)

    listing = actions.add_parser("list", help="data sets one can name / 可用名称指定的数据集")
    listing.set_defaults(run=run_list)

    check = actions.add_parser("check", help="read a file as training would / 像训练那样读一遍文件")
    check.add_argument("file", metavar="FILE")
    check.add_argument("--kind", choices=_KINDS, help="what it is for (guessed otherwise) / 用途（默认自动判断）")
    check.add_argument("--allow-bad", action="store_true", help="accept any share of bad lines / 坏行再多也接受")
    check.set_defaults(run=run_check)

    generate = actions.add_parser("generate", help="write the embedded corpus to a file / 把内置语料写成文件")
    generate.add_argument("--kind", choices=(*_KINDS[:3], "tools"), default="pretrain", help="which part / 哪一部分")
    generate.add_argument("--out", type=Path, required=True, metavar="FILE")
    generate.add_argument("--bytes", type=int, default=1_000_000, metavar="N", help="size in bytes / 字节数")
    generate.add_argument("--seed", type=int, default=0, metavar="N", help="another corpus for each / 每个种子一份语料")
    generate.add_argument(
        "--split", choices=("train", "validation", "test"), default="train", help="which split / 哪一划分"
    )
    generate.set_defaults(run=run_generate)

    for name, help_text, run in (
        ("show", "one row as text / 把一行显示为文本", run_show),
        ("mask", "one row token by token, and which tokens are trained / 逐词元显示一行，以及哪些参与训练", run_mask),
    ):
        look = actions.add_parser(name, help=help_text)
        look.add_argument("file", metavar="FILE|embedded")
        look.add_argument("--row", type=int, default=1, metavar="N", help="which row, from 1 / 第几行，从 1 数")
        look.add_argument("--kind", choices=_KINDS, help="what it is for (guessed otherwise) / 用途（默认自动判断）")
        if name == "mask":
            side = "of a preference pair, the rejected side / 偏好对中落选的一方"
            look.add_argument("--rejected", action="store_true", help=side)
            look.add_argument("--tokenizer", metavar="NAME|PATH", help="which tokenizer / 用哪个分词器")
        look.set_defaults(run=run)


def run_list(_: argparse.Namespace, output: Output) -> int:
    """One line for each data set: name, what for, size, and whether it is here."""
    for entry in CATALOGUE:
        here = entry.name in GENERATED or (paths.data() / entry.file).exists()
        data = {"name": entry.name, "kinds": entry.kinds, "bytes": entry.size, "here": here}
        mark = "●" if here else "○"
        line = f"{mark} {entry.name:<18} {'/'.join(entry.kinds):<28} {'–' if entry.size is None else size(entry.size):>8}  {entry.about.of(output.language)}"
        output.emit(data, line)
    return 0


def run_check(arguments: argparse.Namespace, output: Output) -> int:
    """Read the whole file and report; a file that training would refuse is an error here too."""
    path = Path(resolve(arguments.file, paths.data()))
    kind = arguments.kind or formats.guess_kind(path)
    report = formats.Report(path, allow_bad=arguments.allow_bad)
    formats.check(path, kind, report)
    data = {"file": str(path), "kind": kind, "usable": report.usable, "bad": report.bad, "blank": report.blank}
    summary = output.pick(
        f"{path}: {kind}, {report.usable} usable lines, {report.bad} bad, {report.blank} blank",
        f"{path}：{kind}，可用 {report.usable} 行，坏 {report.bad} 行，空 {report.blank} 行",
    )
    shown = [example.of(output.language) for example in report.examples]
    output.emit(data | {"reasons": report.reasons, "examples": shown}, "\n".join([summary, *shown]))
    return 0


def run_generate(arguments: argparse.Namespace, output: Output) -> int:
    """Write part of the embedded corpus."""
    from minimind.data import corpus

    if arguments.bytes < 1:
        raise UserError(
            f"--bytes = {arguments.bytes} is not a size: use 1 or more",
            f"--bytes = {arguments.bytes} 不是大小：请用 1 以上的数",
        )
    try:
        written = corpus.write_jsonl(
            arguments.kind, arguments.out, size=arguments.bytes, seed=arguments.seed, split=arguments.split
        )
    except OSError as error:
        raise UserError(
            f"{arguments.out}: cannot be written: {error.strerror}", f"{arguments.out}：写不进去：{error.strerror}"
        ) from None
    output.emit(
        {"file": str(arguments.out), "rows": written.rows, "bytes": written.size},
        output.pick(
            f"{arguments.out}: {written.rows} rows, {written.size:,} bytes",
            f"{arguments.out}：{written.rows} 行，{written.size:,} 字节",
        ),
    )
    return 0


def _row(arguments: argparse.Namespace) -> tuple[str, Any]:
    """(kind, the row asked for): a text, a conversation, or a pair of them. Raises UserError where there is no such row."""
    source = resolve(arguments.file, paths.data())
    rows: Iterator[Any]
    if source in GENERATED:
        kind = arguments.kind or ("sft" if source == EMBEDDED_TOOLS else "pretrain")
        refuse_kind(source, kind)
        rows = _embedded_rows(kind, source == EMBEDDED_TOOLS)
    else:
        path = Path(source)
        kind = arguments.kind or formats.guess_kind(path)
        report = formats.Report(path, allow_bad=True)
        rows = formats.documents(path, kind, report)
    row = next(islice(rows, arguments.row - 1, None), None) if arguments.row > 0 else None
    if row is None:
        raise UserError(
            f"{arguments.file} has no usable row {arguments.row}: rows are counted from 1",
            f"{arguments.file} 没有第 {arguments.row} 个可用行：从 1 开始数",
        )
    return kind, row


def _embedded_rows(kind: str, with_tools: bool) -> Iterator[Any]:
    from minimind.data import corpus

    if kind == "rlaif":
        raise UserError(
            "the embedded corpus has no rlaif part: use --kind pretrain, sft, dpo or agent",
            "内置语料没有 rlaif 部分：请用 --kind pretrain、sft、dpo 或 agent",
        )
    parts: dict[str, corpus.Kind] = {"sft": "tools" if with_tools else "sft", "dpo": "dpo", "agent": "tools"}
    for record in corpus.records(parts.get(kind, "pretrain")):
        yield tuple(record.values()) if kind in ("dpo", "agent") else next(iter(record.values()))


def run_show(arguments: argparse.Namespace, output: Output) -> int:
    """Show a row as a person would read it."""
    kind, row = _row(arguments)
    if kind == "pretrain":
        text = row
    elif kind == "dpo":
        names = (output.pick("chosen", "选中"), output.pick("rejected", "落选"))
        text = "\n\n".join(f"[{name}]\n{_transcript(messages)}" for name, messages in zip(names, row, strict=True))
    elif kind == "agent":
        text = f"{_transcript(row[0])}\ngt: {' | '.join(row[1])}"
    else:
        text = _transcript(row)
    output.emit({"kind": kind, "row": arguments.row, "data": row}, text)
    return 0


def _transcript(messages: formats.Messages) -> str:
    return "\n".join(
        f"{message['role']}: {message['content'] or message.get('tool_calls', '')}" for message in messages
    )


def run_mask(arguments: argparse.Namespace, output: Output) -> int:
    """Show a row token by token, as training sees it; ● marks the tokens whose prediction is trained."""
    from minimind.data import chat
    from minimind.data.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(arguments.tokenizer)
    kind, row = _row(arguments)
    if kind == "pretrain":
        ids = [tokenizer.bos_id, *tokenizer.encode(row), tokenizer.eos_id]
        mask = [False] + [True] * (len(ids) - 1)
    else:
        messages = row[arguments.rejected] if kind == "dpo" else row[0] if kind == "agent" else row
        ids, mask = chat.encode_dialogue(tokenizer, messages, tools=chat.tools_of(messages), empty_thought=False)
    labels = [tokenizer.token_label(token) for token in ids]
    lines = [
        f"{'●' if counts else ' '} {token:>6}  {label}" for token, label, counts in zip(ids, labels, mask, strict=True)
    ]
    total = output.pick(
        f"{sum(mask)} of {len(ids)} tokens are trained (●)", f"{len(ids)} 个词元中有 {sum(mask)} 个参与训练（●）"
    )
    output.emit({"kind": kind, "ids": ids, "tokens": labels, "mask": mask}, "\n".join([*lines, total]))
    return 0
