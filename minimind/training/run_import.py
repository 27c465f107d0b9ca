"""Console logs of the released trainers as runs that can be looked at and compared, but not trained.

A line is ``Epoch:[1/2](100/56608), loss: 7.5366, …, lr: 0.00001000, epoch_time: 95.0min``: names and numbers differ
from method to method and from year to year, the head does not. What the file says is not trusted.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minimind import paths
from minimind.errors import UserError
from minimind.events import Event, Mark, Scalars, to_json
from minimind.safe_text import clean_line
from minimind.training.about import checked_name
from minimind.training.run_files import EVENTS, FINAL, RUN, open_to_read, write_atomic
from minimind.training.run_view import FORMAT
from minimind.training.runs import new_directory

_HEAD = re.compile(r"Epoch\s*:?\s*\[?(\d{1,6})/(\d{1,6})\]?\s*\((\d{1,9})/(\d{1,9})\)")
_PAIR = re.compile(r"([A-Za-z][A-Za-z _]{0,39}?)\s*:\s*([-+]?(?:\d[\d.]*(?:[eE][-+]?\d+)?|nan|inf))")
_LINE_LIMIT = 4096
_MOST_LINES = 5_000_000
_MOST_SERIES = 60

OUR_NAMES = {
    "lr": "learning_rate",
    "actor_lr": "learning_rate",
    "critic_lr": "critic_learning_rate",
    "aux_loss": "load_balancing_loss",
    "actor_loss": "policy_loss",
    "critic_loss": "value_loss",
    "kl_ref": "kl",
    "approx_kl": "approximate_kl",
    "clipfrac": "clip_fraction",
    "avg_response_len": "answer_length",
    "group_reward_std": "reward_spread",
}
"""Names of figures in the released trainers' logs and ours; other names stay, in lower case with underscores."""


@dataclass
class Log:
    """What was read of a file: figures by step, how long each step took to come, and how much of it was of no use.

    `lines` all lines, `bad` those that begin as a trainer's line does and cannot be read; `epochs` as the log says.
    """

    steps: list[tuple[int, float, dict[str, float]]] = field(default_factory=list)
    lines: int = 0
    bad: int = 0
    epochs: int = 1

    @property
    def names(self) -> set[str]:
        """Every figure that occurs."""
        return {name for _, _, values in self.steps for name in values}


def read_log(path: Path) -> Log:
    """The figures in the console log at `path`. Raises UserError where it cannot be read or is no such log."""
    log = Log()
    last_step = -1
    try:
        for line in _lines(path):
            log.lines += 1
            head = _HEAD.search(line)
            if head is None:
                continue
            epoch, epochs, step, steps = map(int, head.groups())
            values = _values(line[head.end() :])
            here = (epoch - 1) * steps + step
            if not values or not 1 <= epoch <= epochs or step > steps or steps == 0 or here < last_step:
                log.bad += 1
                continue
            last_step, log.epochs = here, epochs
            log.steps.append((here, _seconds(values, epoch, step / steps), values))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}", f"{path}：无法读取：{error.strerror}") from None
    if not log.steps:
        raise UserError(
            f"{path}: no line of a trainer's log in it (they begin with Epoch:[1/2](100/5000)), {log.lines} lines read",
            f"{path}：里面没有训练日志行（以 Epoch:[1/2](100/5000) 开头），共读 {log.lines} 行",
        )
    return log


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file that may be anything: long ones are cut, progress bars' carriage returns end a line too."""
    with open_to_read(path) as file:
        for _ in range(_MOST_LINES):
            raw = file.readline(_LINE_LIMIT)
            if not raw:
                return
            yield from raw.decode("utf-8", "replace").replace("\r", "\n").splitlines()


def _values(text: str) -> dict[str, float]:
    """Our names and the numbers of a line; a loss that includes the balancing of experts is told apart from it."""
    found: dict[str, float] = {}
    for name, number in _PAIR.findall(text):
        key = re.sub(r"\s+", "_", name.strip()).lower()
        try:
            value = float(number)
        except ValueError:
            continue
        if len(found) < _MOST_SERIES:
            found[OUR_NAMES.get(key, key)] = value
    if "logits_loss" in found and "loss" in found:
        found["total_loss"], found["loss"] = found["loss"], found.pop("logits_loss")
    if "epoch_time" in found:  # minutes remaining of the epoch
        found["eta_seconds"] = 60 * found.pop("epoch_time")
    return found


def _seconds(values: dict[str, float], epoch: int, share: float) -> float:
    """How long the run had worked, from what it believed to remain of an epoch; 0.0 where it does not say."""
    left = values.get("eta_seconds", 0.0)
    if not (0.0 < share < 1.0 and 0.0 < left < 1e9):
        return 0.0
    whole = left / (1.0 - share)
    return whole * (epoch - 1 + share)


def import_log(path: Path, *, name: str | None = None, root: Path | None = None) -> tuple[Path, Log]:
    """Make a run of the console log at `path`; returns its directory and what was read.

    The run counts as finished: it can be shown, compared, exported and deleted, not started. Raises UserError for a file
    that is no such log, a name that is not allowed, and where no run can be made.
    """
    log = read_log(path)
    called = checked_name(name) or clean_line(path.stem, 80).replace("/", "_")
    objective = _method(log.names)
    root = root or paths.runs()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory = new_directory(root, "import")
        with (directory / EVENTS).open("w", encoding="utf-8") as file:
            for line in _records(log, path.stat().st_mtime):
                file.write(line + "\n")
        write_atomic(directory / FINAL, _verdict(path, log), durable=True)
        write_atomic(directory / RUN, _request(directory, path, called, objective, log), durable=True)
    except OSError as error:
        raise UserError(
            f"{root}: no run can be made there: {error.strerror}", f"{root}：无法在此新建训练：{error.strerror}"
        ) from None
    return directory, log


def _records(log: Log, written: float) -> Iterator[str]:
    events: list[tuple[float, Event]] = [(0.0, Mark("started", 0, {"steps": log.steps[-1][0]}))]
    latest = 0.0
    for step, seconds, values in log.steps:
        latest = max(latest, seconds)
        events.append((latest, Scalars(step, values)))
    for seconds, event in events:
        yield to_json(event, t=round(seconds, 3), time=written)


def _verdict(path: Path, log: Log) -> dict[str, Any]:
    shown = clean_line(path.name, 80)
    en = f"read from the log {shown}: {len(log.steps)} records, {log.bad} bad lines"
    zh = f"读自日志 {shown}：{len(log.steps)} 条记录，{log.bad} 行无法读取"
    return {"outcome": "finished", "text": {"en": en, "zh": zh}, "step": log.steps[-1][0], "time": time.time()}


def _request(directory: Path, path: Path, name: str, objective: str, log: Log) -> dict[str, Any]:
    rates = [values["learning_rate"] for _, _, values in log.steps if 0.0 <= values.get("learning_rate", -1.0) <= 10.0]
    settings: dict[str, Any] = {"objective": objective, "epochs": float(min(max(log.epochs, 1), 10_000))}
    if rates:
        settings["learning_rate"] = max(rates)
    about = {"file": clean_line(path.name, 200), "lines": log.lines, "bad_lines": log.bad}
    return {
        "format": FORMAT,
        "id": directory.name,
        "name": name,
        "created": time.time(),
        "config": settings,
        "imported": about,
    }


def _method(names: set[str]) -> str:
    """The training method whose figures these are, as far as they tell."""
    for figure, method in (
        ("value_loss", "ppo"),
        ("reward", "grpo"),
        ("dpo_loss", "dpo"),
        ("distill_loss", "distillation"),
    ):
        if figure in names:
            return method
    return "pretrain"
