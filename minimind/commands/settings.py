"""``minimind settings``: show and change what holds for all training runs."""

from __future__ import annotations

import argparse
from typing import Any

from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.errors import UserError
from minimind.preferences import Preferences, load_preferences, save_preferences, without_secrets


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    names = ", ".join(declared.name for declared in Preferences.declared())
    parser = subparsers.add_parser(
        "settings",
        help="price of an hour, trackers, webhook / 每小时价格、指标追踪、通知",
        description=f"Show the settings that hold for all runs, or change them ({names}). "
        "/ 查看或修改对所有训练生效的设置。",
    )
    parser.add_argument("assignments", nargs="*", metavar="NAME=VALUE", help="what to change / 要修改的设置")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace, output: Output) -> int:
    """Change what is given, then show all."""
    given: dict[str, Any] = {}
    for assignment in arguments.assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise UserError(f"{assignment}: write NAME=VALUE", f"{assignment}：请写成 NAME=VALUE（名称=值）")
        given[name.strip()] = value.strip()
    preferences = load_preferences()
    if given:
        preferences = preferences.replace(**given)
        save_preferences(preferences)
    values = preferences.to_dict()
    if preferences.webhook is not None:
        values["webhook"] = without_secrets(preferences.webhook)
    rows = [
        [declared.name, str(values[declared.name]), declared.about.help.of(output.language)]
        for declared in Preferences.declared()
    ]
    output.emit(values, in_columns(rows))
    return 0
