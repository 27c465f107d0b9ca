"""``minimind estimate``: what a training run would take on this machine, from a few real steps, or anywhere, on paper."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from minimind import paths
from minimind.commands.columns import in_columns
from minimind.commands.on_paper import add_paper_flags, refuse_paper_flags, run_on_paper
from minimind.commands.output import Output
from minimind.commands.training_flags import add_training_flags, training_config
from minimind.config import OBJECTIVES
from minimind.declaration import nearest
from minimind.errors import UserError
from minimind.figures import quantity, rough_duration, size
from minimind.preferences import Preferences, load_preferences
from minimind.training.prediction import keep_prediction

if TYPE_CHECKING:
    from minimind.training.estimate import Estimate


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("estimate", help="what a run would take / 预估一次训练的开销")
    parser.add_argument(
        "objective",
        nargs="*",
        metavar="OBJECTIVE",
        help=f"training method: {', '.join(OBJECTIVES)}; with --on-paper presets instead / "
        "训练方法；加 --on-paper 时改为预设名",
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, metavar="FLOAT", help="most time to measure / 测量的最长秒数 (4.0)"
    )
    parser.add_argument("--currency", metavar="TEXT", help="currency of the price / 价格的货币")
    add_paper_flags(parser)
    add_training_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Measure, or calculate, and tell."""
    if arguments.on_paper:
        return run_on_paper(arguments, output)
    refuse_paper_flags(arguments)
    arguments.objective = one_objective(arguments.objective)
    config = training_config(arguments)
    from minimind.hardware import keep_freed_memory, wait_without_spinning

    keep_freed_memory()
    wait_without_spinning()
    from minimind.training.estimate import estimate

    found = estimate(config, paths.cache() / "estimates", arguments.seconds)
    preferences = _prices(arguments)
    costs = {
        "cost": preferences.cost(found.seconds),
        "cost_low": preferences.cost(found.seconds_low),
        "cost_high": preferences.cost(found.seconds_high),
        "price_per_hour": preferences.price_per_hour,
        "currency": preferences.currency,
    }
    data = asdict(found) | costs
    with contextlib.suppress(OSError):  # without it the run that follows just has nothing to be compared with
        keep_prediction(config, data)
    output.emit(data, _text(found, preferences, output))
    return 0


def _prices(arguments: argparse.Namespace) -> Preferences:
    """The person's preferences with the price and currency given on the command line."""
    given = {"price_per_hour": arguments.price_per_hour, "currency": arguments.currency}
    return load_preferences().replace(**{name: value for name, value in given.items() if value is not None})


def one_objective(given: list[str]) -> str:
    """The objective that was named. Raises UserError for none, several or an unknown one."""
    known = ", ".join(OBJECTIVES)
    if len(given) != 1:
        raise UserError(f"estimate: name one objective of {known}", f"estimate：请给出一种训练方法：{known}")
    (name,) = given
    if name not in OBJECTIVES:
        guess = nearest(name, dict.fromkeys(OBJECTIVES))
        raise UserError(
            f"objective: there is no {name!r}{guess}: use one of {known}",
            f"训练方法：没有 {name!r}{guess}：可用 {known}",
        )
    return name


def _text(found: Estimate, preferences: Preferences, output: Output) -> str:
    """The estimate as a small table."""
    low, high = (rough_duration(seconds, output.language) for seconds in (found.seconds_low, found.seconds_high))
    speed = quantity(found.tokens_per_second)
    likely = rough_duration(found.seconds, output.language)
    cost = preferences.cost(found.seconds)
    about = output.pick(f"about {likely} ({low} – {high})", f"约 {likely}（{low} – {high}）")
    rows = (
        ("time", "时间", likely if low == high else about),
        *((("cost", "费用", f"{cost:.2f} {preferences.currency}"),) if cost is not None else ()),
        ("steps", "步数", f"{found.steps:,}"),
        ("tokens", "词元", output.pick(f"{found.tokens:,} ({speed} a second)", f"{found.tokens:,}（每秒 {speed}）")),
        ("parameters", "参数", f"{found.parameters:,}"),
        ("memory", "内存", size(found.peak_memory_bytes)),
        ("disk", "磁盘", size(found.disk_bytes)),
        ("device", "设备", f"{found.device}, {found.dtype}"),
    )
    return in_columns([output.pick(en, zh), value] for en, zh, value in rows)
