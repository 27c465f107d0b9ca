"""A recipe, read from TOML and checked whole before anything is computed. No torch.

title = { en = "…", zh = "…" }
about = { en = "…", zh = "…" }

[tokenizer]                   # optional; without it the first model's own
vocab_size = 2048
data = ["embedded"]
megabytes = 4.0

[[stage]]                     # one or more; each goes on from the one before
name = "sft"                  # letters, digits, - and _
objective = "sft"             # and any setting of TrainConfig: what is left out is as recommended
minutes = 1.5

[evaluate]                    # optional
tasks = ["arithmetic"]        # kinds of tasks whose held-out ones are answered
count = 64

[export]                      # optional
to = ["hf", "gguf"]
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minimind import paths
from minimind.config import MODEL_PRESETS, TrainConfig
from minimind.data.catalogue import EMBEDDED
from minimind.errors import UserError
from minimind.events import Text

EXPORTS = ("hf", "gguf", "pth", "ollama")
"""What `minimind export --to` writes of a whole model."""
_TABLES = ("title", "about", "tokenizer", "stage", "evaluate", "export")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}\Z")
_SUFFIX = ".toml"
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Stage:
    """One training run. `settings` are those of TrainConfig that the recipe gives."""

    name: str
    objective: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewTokenizer:
    """A tokenizer to be trained first."""

    vocab_size: int
    data: tuple[str, ...] = (EMBEDDED,)
    megabytes: float = 4.0


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that is to be done, in order: tokenizer, `stages`, evaluation of every stage's model, exports of the last."""

    title: Text
    about: Text
    stages: tuple[Stage, ...]
    tokenizer: NewTokenizer | None = None
    tasks: tuple[str, ...] = ()
    task_count: int = 64
    exports: tuple[str, ...] = ()
    source: str = field(default="", compare=False)
    """The TOML it was read from."""


def shipped_recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    return {path.stem: path for path in sorted(paths.shipped_recipes().glob(f"*{_SUFFIX}"))}


def read_recipe(name: str) -> Recipe:
    """The shipped recipe `name`, or the one in the file of that path. Raises UserError naming file and field."""
    path = shipped_recipes().get(name, Path(name).expanduser())
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path}: too large for a recipe", f"{path}：太大，不是配方文件")
        return parse_recipe(path.read_text(encoding="utf-8-sig"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(shipped_recipes())
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(
            f"{name}: no such recipe ({why}): give a TOML file, or one of {known}",
            f"{name}：没有这个配方（{why}）：请给出 TOML 文件，或使用 {known}",
        ) from None


def parse_recipe(source: str, where: str) -> Recipe:
    """The recipe that the TOML text `source` holds. Raises UserError beginning with `where`."""
    try:
        data = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{where}: not TOML: {error}", f"{where}：不是 TOML：{error}") from None
    _refuse_unknown(data, _TABLES, where)
    stages = data.get("stage")
    if not isinstance(stages, list) or not stages or not all(isinstance(item, dict) for item in stages):
        raise UserError(
            f"{where}: there is no stage: add a [[stage]] with name and objective",
            f"{where}：没有任何阶段：请添加 [[stage]]，并写明 name 和 objective",
        )
    read = tuple(_stage(item, f"{where}: stage[{number}]") for number, item in enumerate(stages, 1))
    _check_order(read, where)
    evaluate = _table(data, "evaluate", ("tasks", "count"), where)
    export = _table(data, "export", ("to",), where)
    exports = _strings(export.get("to", []), f"{where}: export.to")
    for name in exports:
        if name not in EXPORTS:
            known = " | ".join(EXPORTS)
            raise UserError(f"{where}: export.to: {name!r}: use {known}", f"{where}：export.to：{name!r}：可用 {known}")
    return Recipe(
        title=_text(data.get("title"), Text(Path(where).stem, Path(where).stem), f"{where}: title"),
        about=_text(data.get("about"), Text("", ""), f"{where}: about"),
        stages=read,
        tokenizer=_tokenizer(data, where),
        tasks=_strings(evaluate.get("tasks", []), f"{where}: evaluate.tasks"),
        task_count=_whole(evaluate.get("count", 64), 1, 10_000, f"{where}: evaluate.count"),
        exports=exports,
        source=source,
    )


def _stage(data: dict[str, Any], where: str) -> Stage:
    settings = dict(data)
    name, objective = settings.pop("name", None), settings.pop("objective", None)
    if not isinstance(name, str) or not _NAME.match(name):
        raise UserError(
            f"{where}: name = {name!r}: give letters, digits, - and _",
            f"{where}：name = {name!r}：请用字母、数字、- 和 _",
        )
    if not isinstance(objective, str):
        raise UserError(f"{where}: objective is missing", f"{where}：缺少 objective")
    # Settings are checked now, so that a slip in the last stage is found before the first one is trained.
    TrainConfig.from_dict({**settings, "objective": objective}, where=where)
    return Stage(name, objective, settings)


def _check_order(stages: tuple[Stage, ...], where: str) -> None:
    """Names are different; only the first stage says what it starts from."""
    names = [stage.name for stage in stages]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{where}: two stages are called {name!r}", f"{where}：有两个阶段都叫 {name!r}")
    for stage in stages[1:]:
        if "model" in stage.settings:
            raise UserError(
                f"{where}: stage {stage.name!r}: leave model out: it goes on from the stage before",
                f"{where}：阶段 {stage.name!r}：请去掉 model：它从上一阶段的结果继续",
            )


def _tokenizer(data: Mapping[str, Any], where: str) -> NewTokenizer | None:
    if "tokenizer" not in data:
        return None
    table = _table(data, "tokenizer", ("vocab_size", "data", "megabytes"), where)
    first = data["stage"][0]
    if first.get("model", "nano") not in MODEL_PRESETS or "tokenizer" in first:
        raise UserError(
            f"{where}: a tokenizer of its own is for a new model: let the first stage start from a preset, without tokenizer",
            f"{where}：自带词表只适用于新模型：第一阶段请从预设开始，且不要写 tokenizer",
        )
    megabytes = table.get("megabytes", 4.0)
    if isinstance(megabytes, bool) or not isinstance(megabytes, (int, float)) or not 0.01 <= megabytes <= 4096:
        raise UserError(f"{where}: tokenizer.megabytes: 0.01 to 4096", f"{where}：tokenizer.megabytes：0.01 到 4096")
    return NewTokenizer(
        _whole(table.get("vocab_size"), 300, 1_000_000, f"{where}: tokenizer.vocab_size"),
        _strings(table.get("data", [EMBEDDED]), f"{where}: tokenizer.data"),
        float(megabytes),
    )


def _refuse_unknown(data: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    for name in data:
        if name not in known:
            raise UserError(
                f"{where}: {name}: not part of a recipe: {', '.join(known)}",
                f"{where}：{name}：配方里没有这一项：可用 {', '.join(known)}",
            )


def _table(data: Mapping[str, Any], name: str, known: tuple[str, ...], where: str) -> dict[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise UserError(f"{where}: {name}: write [{name}]", f"{where}：{name}：请写成 [{name}]")
    _refuse_unknown(table, known, f"{where}: {name}")
    return table


def _strings(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UserError(f"{where}: give a list of names", f"{where}：请给出名称列表")
    return tuple(value)


def _whole(value: Any, low: int, high: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{where}: give a whole number from {low} to {high}", f"{where}：请给出 {low} 到 {high} 的整数")
    return value


def _text(value: Any, default: Text, where: str) -> Text:
    if value is None:
        return default
    if isinstance(value, str):
        return Text(value, value)
    if isinstance(value, dict) and set(value) == {"en", "zh"} and all(isinstance(item, str) for item in value.values()):
        return Text(value["en"], value["zh"])
    raise UserError(f'{where}: write {{ en = "…", zh = "…" }}', f'{where}：请写成 {{ en = "…", zh = "…" }}')
