"""``minimind find-learning-rate``: which peak rate to train with, from one short run in which it rises."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from minimind import paths
from minimind.chart_text import draw_chart
from minimind.charts import charts_of
from minimind.commands.output import Output
from minimind.commands.training_flags import add_training_flags, training_config
from minimind.config import OBJECTIVES
from minimind.errors import UserError
from minimind.events import Event, Note, Scalars, Table, Text, to_dict

_NAMES = {
    "learning_rate_range": Text("loss while the learning rate rises", "学习率上升时的损失"),
    "log10_learning_rate": Text("log10 of the learning rate", "学习率的常用对数"),
    "loss": Text("loss", "损失"),
    "smoothed_loss": Text("smoothed", "平滑后"),
}


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    text = "the peak learning rate to train with / 寻找合适的学习率峰值"
    parser = subparsers.add_parser(
        "find-learning-rate",
        help=text,
        description="Train a copy of the model for a short while as the learning rate rises (Smith 2017); nothing is kept. "
        "/ 让学习率逐步升高，用模型的副本短暂训练一次（Smith 2017）；不保留任何结果。",
    )
    parser.add_argument("objective", choices=OBJECTIVES, help="training method / 训练方法")
    parser.add_argument("--updates", type=int, default=100, metavar="N", help="updates to make / 更新次数 (100)")
    parser.add_argument("--lowest", type=float, default=1e-5, metavar="X", help="first rate / 起始学习率 (1e-5)")
    parser.add_argument("--highest", type=float, default=1.0, metavar="X", help="last rate / 最高学习率 (1.0)")
    add_training_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Test, and tell; with --json every event as it comes, and the suggested rate at the end."""
    updates, lowest, highest = arguments.updates, arguments.lowest, arguments.highest
    if updates < 20 or not 0 < lowest < highest <= 10:
        raise UserError(
            "find-learning-rate: --updates must be 20 or more, and 0 < --lowest < --highest <= 10",
            "find-learning-rate：--updates 至少为 20，且须 0 < --lowest < --highest <= 10",
        )
    config = training_config(arguments)
    from minimind.hardware import keep_freed_memory, wait_without_spinning

    keep_freed_memory()
    wait_without_spinning()
    from minimind.training.learning_rate_range import find_learning_rate
    from minimind.training.prepare import build_job

    job, _ = build_job(config, cache=paths.cache() / "tokens", tell=output.say)
    events: list[Event] = []
    for event in find_learning_rate(job, updates=updates, lowest=lowest, highest=highest):
        events.append(event)
        if output.as_json:
            output.emit(to_dict(event), "")
    _tell(events, output)
    return 0


def _tell(events: Sequence[Event], output: Output) -> None:
    """The chart and the reason, or the suggested rate as data."""
    (table,) = (event for event in events if isinstance(event, Table))
    (note,) = (event for event in events if isinstance(event, Note))
    chart = charts_of(event for event in events if isinstance(event, Scalars))["learning_rate_range"]
    rates = {str(name): rate for name, rate in table.rows}
    lines = [*draw_chart(chart, _NAMES, output.language), note.text.of(output.language)]
    output.emit({"kind": "suggestion", "learning_rate": rates["suggested"], **rates}, "\n".join(lines))
