"""The settings of a training run on a command line, shared by ``train`` and ``estimate``."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from minimind.config import MODEL_PRESETS, TrainConfig, add_flags, given_flags, read_settings
from minimind.data.formats import Kind
from minimind.data.preflight import refuse_unusable
from minimind.errors import UserError
from minimind.model.locate import refuse_pointer
from minimind.training.recommend import recommended_config, refuse_incomplete

_KINDS: dict[str, Kind] = {
    "pretrain": "pretrain",
    "grpo": "rlaif",
    "cispo": "rlaif",
    "ppo": "rlaif",
    "tools": "agent",
    "dpo": "dpo",
}
"""What an objective reads, where it is not conversations."""


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--config``, ``--set`` and one flag for each field of TrainConfig."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings in TOML or JSON / TOML 或 JSON 设置文件")
    parser.add_argument(
        "--set",
        dest="assignments",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="settings by name; before --config, after flags / 按名称设置；优先于 --config，次于各选项",
    )
    parser.add_argument(
        "--gpus",
        dest="processes",
        default=argparse.SUPPRESS,
        metavar="N",
        help="short for --processes: one a GPU / 即 --processes：每块 GPU 一个进程",
    )
    add_flags(parser, TrainConfig, skip=frozenset({"objective"}))


def given_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line names: flags before ``--set`` before ``--config``. Raises UserError."""
    given: dict[str, Any] = read_settings(arguments.config) if arguments.config else {}
    for assignment in arguments.assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise UserError(
                f"--set {assignment}: write NAME=VALUE", f"--set {assignment}：请写成 NAME=VALUE（名称=值）"
            )
        given[name.strip()] = value.strip()
    flags = given_flags(arguments, TrainConfig)
    return given | {name: value for name, value in flags.items() if value is not None}  # no method may be named


def training_config(arguments: argparse.Namespace) -> TrainConfig:
    """What the command line asks for, and what is recommended for the rest.

    Raises UserError for whatever is refused, and for data files that are not there or cannot be used.
    """
    config = recommended_config(arguments.objective, given_settings(arguments))
    refuse_incomplete(config)
    _refuse_foreign(config, given_flags(arguments, TrainConfig))
    if config.model not in MODEL_PRESETS:
        refuse_pointer(Path(config.model))
    refuse_unusable(config.data, _KINDS.get(config.objective, "sft"), allow_bad=config.allow_bad)
    return config


def _refuse_foreign(config: TrainConfig, flags: Collection[str]) -> None:
    """Raise UserError for a flag that means nothing with this method: whoever gives it expects it to do something."""
    for declared in TrainConfig.declared():
        if declared.name in flags and not config.applies(declared.about):
            methods, flag = ", ".join(declared.about.methods), "--" + declared.name.replace("_", "-")
            raise UserError(
                f"{flag} is for {methods}, and this is {config.method}: leave it out",
                f"{flag} 只用于 {methods}，而这次的方法是 {config.method}：请去掉",
            )
