"""``minimind runs compare``: curves of several runs in one chart, where they differ, and what came of it."""

from __future__ import annotations

import argparse
import math
from typing import Any

from minimind.chart_text import draw_chart
from minimind.charts import Chart
from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.commands.run_text import figure_label, figure_value, finite_or_none, read_run, setting_text
from minimind.errors import UserError
from minimind.events import Text
from minimind.figures import duration
from minimind.plot import Curve
from minimind.training.compare import ALIGNMENTS, Alignment, aligned_series, config_differences, smooth
from minimind.training.runs import RunView, find_run

_AXES: dict[Alignment, Text] = {
    "step": Text("step", "步"),
    "tokens": Text("tokens", "词元"),
    "time": Text("seconds", "秒"),
}
_SHOWN = ("loss", "validation_loss", "reward")
"""The curves that are drawn where none are asked for."""


def add_compare_flags(parser: argparse.ArgumentParser) -> None:
    """The arguments after the runs."""
    parser.add_argument("--by", choices=ALIGNMENTS, default="step", help="common axis / 共同的横轴")
    parser.add_argument(
        "--series", nargs="+", metavar="NAME", help="curves to draw (default: the losses) / 要画的曲线（默认：损失）"
    )
    parser.add_argument("--smooth", type=float, default=0.0, metavar="0…1", help="weight of the past / 平滑系数")
    parser.add_argument("--log", action="store_true", help="logarithmic values / 纵轴取对数")
    parser.add_argument("--no-chart", action="store_true", help="only the tables / 只要表格")


def compare(arguments: argparse.Namespace, output: Output) -> int:
    """Draw and tabulate. Raises UserError for fewer than two runs, a bad factor, and curves nobody has."""
    if len(arguments.runs) < 2:
        raise UserError("name at least two runs to compare", "请至少给出两个训练来比较")
    if not 0.0 <= arguments.smooth < 1.0:
        raise UserError(
            f"--smooth {arguments.smooth:g} is not allowed: use 0 … 0.999",
            f"--smooth {arguments.smooth:g} 不可用：请用 0 … 0.999",
        )
    views = [read_run(find_run(text)) for text in arguments.runs]
    charts = _charts(views, arguments, output)
    data, table = comparison(views, output)
    lines = [] if arguments.no_chart else [line for chart in charts for line in _drawn(chart, arguments.log, output)]
    curves = {chart.name: [[curve.xs, curve.ys] for curve in chart.curves.values()] for chart in charts}
    output.emit(data | {"by": arguments.by, "curves": curves}, "\n".join([*lines, table]))
    return 0


def _charts(views: list[RunView], arguments: argparse.Namespace, output: Output) -> list[Chart]:
    """A chart a series, in it a curve a run, labelled by the run's number in the order given."""
    asked = arguments.series or [name for name in _SHOWN if any(name in view.series for view in views)]
    charts = []
    for name in asked:
        if not any(name in view.series for view in views):
            known = ", ".join(dict.fromkeys(key for view in views for key in view.series))
            raise UserError(f"no run has a curve {name}: they have {known}", f"没有训练有曲线 {name}：可用 {known}")
        chart = Chart(figure_label(name, output), _AXES[arguments.by].of(output.language))
        for number, view in enumerate(views, 1):
            series = aligned_series(view, name, arguments.by)
            chart.curves[f"{number}"] = Curve(series.x, smooth(series.y, arguments.smooth))
        charts.append(chart)
    return charts


def _drawn(chart: Chart, logarithmic: bool, output: Output) -> list[str]:
    return [*draw_chart(chart, {}, output.language, logarithmic=logarithmic or None), ""]


def comparison(views: list[RunView], output: Output) -> tuple[dict[str, Any], str]:
    """How runs (read to their ends) differ: in what was asked for, and in what came of it."""
    differences = config_differences(views)
    names = [name for name in views[0].series if all(name in view.series for view in views)]
    last = {name: [view.series[name].y[-1] for view in views] for name in names}
    least = {name: [_least(view, name) for view in views] for name in names}
    data = {
        "runs": [view.id for view in views],
        "config": {row.name: list(row.values) for row in differences},
        "last": {name: [finite_or_none(value) for value in values] for name, values in last.items()},
        "least": {name: [finite_or_none(value) for value in values] for name, values in least.items()},
        "step": [view.step for view in views],
        "elapsed": [view.elapsed for view in views],
    }
    rows = [
        ["", *(f"{number}" for number, _ in enumerate(views, 1))],
        [output.pick("run", "编号"), *(view.id for view in views)],
        [output.pick("name", "名称"), *(view.name for view in views)],
        *([row.name, *map(setting_text, row.values)] for row in differences),
        [output.pick("step", "步数"), *(str(view.step) for view in views)],
        [output.pick("time", "用时"), *(duration(view.elapsed, output.language) for view in views)],
        *(_compared(name, ("last", "最终"), last[name], output) for name in names),
        *(_compared(name, ("lowest", "最低"), least[name], output) for name in names if "loss" in name),
    ]
    return data, in_columns(rows)


def _compared(name: str, which: tuple[str, str], values: list[float], output: Output) -> list[str]:
    """A row with a figure of each run."""
    label = output.pick(f"{figure_label(name, output)} ({which[0]})", f"{figure_label(name, output)}（{which[1]}）")
    return [label, *(figure_value(name, value, output) for value in values)]


def _least(view: RunView, name: str) -> float:
    return min((value for value in view.series[name].y if math.isfinite(value)), default=math.nan)
