"""``minimind ablate``: does this setting make a difference? Two arms, several seeds, one interval."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from minimind import paths
from minimind.chart_text import draw_chart
from minimind.charts import charts_of
from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.commands.run_text import event_line
from minimind.commands.training_flags import add_training_flags, training_config
from minimind.config import OBJECTIVES, TrainConfig
from minimind.errors import UserError
from minimind.events import Band, Claim, Event, Level, Note, Progress, Scalars, Table, Text, to_dict
from minimind.figures import number

NAMES = {
    "validation_loss": Text("held-out loss", "留出集损失"),
    "difference": Text("paired difference of the held-out loss", "留出集损失的成对差"),
    "step": Text("step", "步"),
}
"""What people call the charts."""


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "ablate",
        help="does a setting make a difference? / 某个设置真有影响吗？",
        description="Train with and without a change for several seeds, and judge the paired differences. "
        "/ 用多个种子分别训练改动前后，再判断成对差异。",
    )
    parser.add_argument("objective", choices=OBJECTIVES, help="training method / 训练方法")
    parser.add_argument(
        "--change",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings of the second arm / 第二组的设置",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="pairs to train (3) / 训练几对 (3)")
    add_training_flags(parser)
    parser.set_defaults(run=run)


def arms_of(arguments: argparse.Namespace) -> tuple[TrainConfig, TrainConfig]:
    """The two configs that the command line asks for. Raises UserError."""
    first = training_config(arguments)
    changes: dict[str, str] = {}
    for assignment in arguments.change:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise UserError(
                f"--change {assignment}: write NAME=VALUE", f"--change {assignment}：请写成 NAME=VALUE（名称=值）"
            )
        changes[name.strip()] = value.strip()
    return first, TrainConfig.from_dict(first.to_dict() | changes)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Train, tell, and keep what was found."""
    first, second = arms_of(arguments)
    if arguments.seeds < 1:
        raise UserError("--seeds: give 1 or more", "--seeds：至少为 1")
    from minimind.hardware import keep_freed_memory, wait_without_spinning

    keep_freed_memory()
    wait_without_spinning()
    from minimind.training.ablation import ablate

    seeds = range(first.seed, first.seed + arguments.seeds)
    kept: list[Event] = []
    told = time.monotonic()
    for event in ablate(first, second, seeds, paths.cache() / "tokens"):
        if not isinstance(event, Progress):
            kept.append(event)
        if output.as_json:
            output.emit(to_dict(event), "")
        elif isinstance(event, Progress) and (time.monotonic() - told > 1 or event.done == event.total):
            told = time.monotonic()
            output.say(event_line(event, output) or "")
    where = _keep(kept, first, second)
    if not output.as_json:
        output.emit({}, "\n\n".join(_shown(kept, output)))
    output.say(Text(f"kept in {where}", f"已保存到 {where}"))
    return 0


def _keep(events: list[Event], first: TrainConfig, second: TrainConfig) -> Path:
    """Write what was found beside the arms, one JSON object a line. Raises UserError."""
    folder = paths.ablations()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        where = folder / f"{time.strftime('%Y-%m-%d-%H%M%S')}-{first.objective}.jsonl"
        with where.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"a": first.to_dict(), "b": second.to_dict()}, ensure_ascii=False) + "\n")
            for event in events:
                file.write(json.dumps(to_dict(event), ensure_ascii=False) + "\n")
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written: {error.strerror}", f"{folder}：写不进去：{error.strerror}"
        ) from None
    return where


def _shown(events: list[Event], output: Output) -> list[str]:
    """The tables, the two charts of the whole, and the verdict."""
    language = output.language
    drawn = [event for event in events if isinstance(event, (Scalars, Band, Level)) and event.chart in NAMES]
    parts = []
    for event in events:
        if isinstance(event, Table):
            rows = [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in event.rows]
            title = event.title.of(language) if event.title else event.name
            parts.append(f"{title}\n{in_columns([[column.of(language) for column in event.columns], *rows])}")
    parts += ["\n".join(draw_chart(chart, NAMES, language)) for chart in charts_of(drawn).values()]
    parts += [event.text.of(language) for event in events if isinstance(event, (Note, Claim))]
    return parts
