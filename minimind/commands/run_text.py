"""Runs and their records in words and as JSON data, for the commands that show them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.errors import UserError
from minimind.events import Alert, Claim, Event, Language, Mark, Note, Progress, Sample, Scalars, Text, to_dict
from minimind.figures import duration, number, percent, quantity, rough_duration, size
from minimind.safe_text import clean_line
from minimind.training.runs import STATE_NAMES, CheckpointFile, Outcome, RunStatus, RunView, TimedEvent

_POLL_SECONDS = 0.2
_SECONDS_BETWEEN_FIGURES = 1.0
_SAMPLE_WIDTH = 400
_PATIENCE = 5.0
"""Seconds between two lines about work that has no figures yet."""
_TRAINING = Text("training", "训练")
_VERDICTS = frozenset({"failed", "out-of-memory"})
"""Codes of the alert that a trainer leaves as its last word."""
_MARK_NAMES: dict[str, Text] = {
    "started": Text("started", "启动"),
    "saved": Text("saved", "已保存"),
    "paused": Text("paused", "暂停"),
    "resumed": Text("resumed", "继续"),
    "control": Text("changed as asked", "按要求调整"),
    "rolled-back": Text("went back", "回退"),
    "ended": Text("ended", "结束"),
}


def moment(unix_time: float) -> str:
    """A Unix time in the machine's own zone; empty for none."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_time)) if unix_time else ""


def status_data(status: RunStatus) -> dict[str, Any]:
    """A status as JSON data."""
    return {
        "state": status.state,
        "live": status.live,
        "resumable": status.resumable,
        "reason": text_data(status.reason),
        "advice": text_data(status.advice) if status.advice else None,
        "code": status.code,
        "signal": status.signal,
        "supervised": status.supervised,
        "host": status.host,
        "max_rss_bytes": status.max_rss_bytes,
        "log_lines": list(status.log_lines),
    }


def text_data(text: Text) -> dict[str, str]:
    """Both languages as JSON data."""
    return {"en": text.en, "zh": text.zh}


def plain_numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    """`values` as strict JSON knows them: null for what is not finite."""
    return {name: finite_or_none(value) for name, value in values.items()}


def checkpoint_data(checkpoint: CheckpointFile) -> dict[str, Any]:
    """A checkpoint as JSON data."""
    return {
        "step": checkpoint.step,
        "path": str(checkpoint.path),
        "size": checkpoint.size,
        "time": checkpoint.time,
    }


def run_data(view: RunView) -> dict[str, Any]:
    """What a list of runs says of one, as JSON data."""
    glance = view.glance()
    return {
        "id": view.id,
        "name": view.name,
        "tags": list(view.about.tags),
        "note": view.about.note,
        "directory": str(view.directory),
        "created": view.created,
        "objective": None if view.problem else view.config.objective,
        "tune": None if view.problem else view.config.tune,
        "step": glance.step,
        "latest": plain_numbers(glance.latest),
        **status_data(view.status()),
    }


def status_lines(status: RunStatus, output: Output) -> list[str]:
    """The state, why, what to do, and the end of the log where it went wrong."""
    language = output.language
    colon = output.pick(": ", "：")
    lines = [f"{STATE_NAMES[status.state].of(language)}{colon}{status.reason.of(language)}"]
    if status.advice:
        lines.append(f"→ {status.advice.of(language)}")
    if any(line != status.reason.en for line in status.log_lines):  # else it says only that once more
        lines += [output.pick("the log ends with:", "日志末尾："), *(f"  | {line}" for line in status.log_lines)]
    return lines


@dataclass(frozen=True, slots=True)
class _Figure:
    """How one series is shown: `phrase` holds the number as {}, `label` stands alone in a table."""

    label: Text
    phrase: Text
    shown: Callable[[float, Language], str]


def _plain(value: float, _language: Language) -> str:
    return number(value)


def _share(value: float, _language: Language) -> str:
    return percent(value)


_FIGURES: dict[str, _Figure] = {
    "loss": _Figure(Text("loss", "损失"), Text("loss {}", "损失 {}"), _plain),
    "validation_loss": _Figure(Text("held-out loss", "留出集损失"), Text("held-out loss {}", "留出集损失 {}"), _plain),
    "validation_bits_per_byte": _Figure(
        Text("held-out bits/byte", "留出集每字节比特"), Text("{} bits/byte", "每字节 {} 比特"), _plain
    ),
    "learning_rate": _Figure(Text("learning rate", "学习率"), Text("learning rate {}", "学习率 {}"), _plain),
    "gradient_norm": _Figure(Text("gradient norm", "梯度范数"), Text("gradient {}", "梯度范数 {}"), _plain),
    "tokens_per_second": _Figure(
        Text("tokens/s", "词元/秒"), Text("{} tokens/s", "{} 词元/秒"), lambda value, _: quantity(value)
    ),
    "memory_bytes": _Figure(Text("memory", "内存"), Text("{}", "{}"), lambda value, _: size(value)),
    "tokens": _Figure(Text("tokens", "词元"), Text("{} tokens", "{} 词元"), lambda value, _: quantity(value)),
    "ce_loss": _Figure(Text("text's loss", "文本损失"), Text("text's loss {}", "文本损失 {}"), _plain),
    "distill_loss": _Figure(Text("teacher's loss", "教师损失"), Text("teacher's loss {}", "教师损失 {}"), _plain),
    "accuracy": _Figure(Text("preferred", "偏好正确率"), Text("{} preferred", "偏好正确率 {}"), _share),
    "margin": _Figure(Text("margin", "间隔"), Text("margin {}", "间隔 {}"), _plain),
    "chosen_reward": _Figure(Text("reward, chosen", "选中的奖励"), Text("chosen {}", "选中 {}"), _plain),
    "rejected_reward": _Figure(Text("reward, rejected", "落选的奖励"), Text("rejected {}", "落选 {}"), _plain),
    "validation_accuracy": _Figure(
        Text("held-out preferred", "留出集偏好正确率"), Text("{} preferred there", "留出集偏好正确率 {}"), _share
    ),
    "validation_margin": _Figure(
        Text("held-out margin", "留出集间隔"), Text("margin {} there", "留出集间隔 {}"), _plain
    ),
    "validation_kl": _Figure(Text("KL to the start", "与起始模型的 KL"), Text("KL {} a token", "每词元 KL {}"), _plain),
    "epoch": _Figure(Text("epoch", "轮次"), Text("epoch {}", "第 {} 轮"), lambda value, _: f"{value:.2f}"),
    "data_wait": _Figure(Text("waiting for data", "等待数据"), Text("{}", "{}"), lambda value, _: percent(value)),
    "trained_share": _Figure(
        Text("trained tokens", "参与训练的词元"), Text("{}", "{}"), lambda value, _: percent(value)
    ),
    "eta_seconds": _Figure(Text("left", "剩余"), Text("{} left", "剩余 {}"), rough_duration),
}
_ONLY_IN_TABLES = frozenset({"tokens", "epoch", "data_wait", "trained_share"})


def figures(values: Mapping[str, float], output: Output) -> str:
    """The figures of a step on one line, as a person reads them; a series nobody knows by its own name."""
    words = []
    for name, value in values.items():
        if name == "validation_loss" and "validation_reward" in values:
            continue  # the same with another sign
        known = _FIGURES.get(name)
        if known is None:
            words.append(f"{clean_line(name, 60)} {number(value)}")
        elif name not in _ONLY_IN_TABLES:
            words.append(known.phrase.of(output.language).format(known.shown(value, output.language)))
    return " · ".join(words)


def figure_rows(values: Mapping[str, float], output: Output) -> list[list[str]]:
    """Label and value of each figure, for a table."""
    return [[figure_label(name, output), figure_value(name, value, output)] for name, value in values.items()]


def figure_label(name: str, output: Output) -> str:
    """What a series is called."""
    known = _FIGURES.get(name)
    return known.label.of(output.language) if known else clean_line(name, 60)


def figure_value(name: str, value: float, output: Output) -> str:
    """A value of a series as a person reads it."""
    known = _FIGURES.get(name)
    return known.shown(value, output.language) if known else number(value)


def step_text(step: float, output: Output) -> str:
    """Which step is meant."""
    return output.pick(f"step {step:.0f}", f"第 {step:.0f} 步")


def event_line(event: Event, output: Output) -> str | None:
    """One record as a line; None for what only a screen can draw."""
    language = output.language
    match event:
        case Scalars():
            at = step_text(event.x, output) if event.axis == "step" else f"{clean_line(event.axis, 20)} {event.x:g}"
            return f"{at}  {figures(event.values, output)}"
        case Sample():
            name = f"[{event.name}] " if event.name not in ("", event.prompt) else ""
            text = clean_line(f"{name}{event.prompt} ▸ {event.text}", _SAMPLE_WIDTH)
            return f"{step_text(event.step, output)}  {text}"
        case Alert():
            step = "" if event.step is None else f"{step_text(event.step, output)}  "
            return f"{step}! {clean_line(event.text.of(language), _SAMPLE_WIDTH)}"
        case Mark():
            return f"{step_text(event.step, output)}  — {_MARK_NAMES[event.what].of(language)}"
        case Progress(label=Text() as label):
            share = f" {percent(event.done / event.total)}" if event.total else ""
            return f"{clean_line(label.of(language), 60)}{share} …"
        case Note():
            return clean_line(event.text.of(language), _SAMPLE_WIDTH)
        case Claim():
            return clean_line(event.text.of(language), _SAMPLE_WIDTH)
        case _:
            return None


def follow(directory: Path, output: Output, *, wait: bool = True) -> RunStatus:
    """Print a run's records, and with `wait` the new ones until it ends; returns its status then.

    Raises UserError for what is no run; KeyboardInterrupt passes through (the run does not notice).
    """
    view, printer = RunView(directory), _Printer(output)
    try:
        while True:
            # The status is asked first: what is written before the end is then read after it.
            status = view.status()
            for timed in new_events(view):
                printer.take(timed)
            if not (wait and status.live):
                return status
            time.sleep(_POLL_SECONDS)
    finally:
        view.close()


class _Printer:
    """Prints records as they come: all of them as JSON, to a person those worth a line."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._printed = -math.inf
        self._figures: TimedEvent | None = None
        """The latest figures left out: those before a mark belong to it."""
        self._verdict: TimedEvent | None = None
        """Why the run ended badly: its status says that too, so it is a line only where the run went on."""
        self._waiting: tuple[Text | None, float] = (None, -math.inf)

    def take(self, timed: TimedEvent) -> None:
        """Print one record, or keep it until it is known whether it is needed."""
        event = timed.event
        if self._output.as_json:
            self._output.emit({"t": timed.t, "time": timed.time, **to_dict(event)}, "")
            return
        if isinstance(event, Progress) and not self._is_news(event, timed.t):
            return
        if _is_one_of_many(timed, self._printed):
            self._figures = timed
            return
        for earlier in (self._figures if isinstance(event, Mark) else None, self._verdict):
            if earlier is not None:
                self._print(earlier.event)
        self._figures = self._verdict = None
        if isinstance(event, Scalars):
            self._printed = timed.t
        if isinstance(event, Alert) and event.code in _VERDICTS:
            self._verdict = timed
        else:
            self._print(event)

    def _is_news(self, event: Progress, t: float) -> bool:
        """Whether work before the first step has begun, or has gone on for a while; training has figures instead."""
        label, since = self._waiting
        if event.label is None or event.label == _TRAINING or (event.label == label and 0 <= t - since < _PATIENCE):
            return False
        self._waiting = (event.label, t)
        return True

    def _print(self, event: Event) -> None:
        line = event_line(event, self._output)
        if line is not None:
            self._output.emit({}, line)


def new_events(view: RunView) -> Iterator[TimedEvent]:
    """Everything recorded since `view` was last refreshed. Raises UserError where the file cannot be read."""
    more = True
    while more:
        try:
            events = view.refresh()
        except OSError as error:
            raise UserError(
                f"{view.id}: its records cannot be read: {error.strerror}",
                f"{view.id}：无法读取训练记录：{error.strerror}",
            ) from None
        yield from events
        more = view.behind


def read_run(directory: Path) -> RunView:
    """A view that has taken in everything recorded so far. Raises UserError for what is no run or cannot be read."""
    view = RunView(directory)
    for _ in new_events(view):
        pass  # the view keeps what it needs
    view.close()
    return view


def _is_one_of_many(timed: TimedEvent, printed: float) -> bool:
    """Whether a person can do without this line: the figures of a step within a second of the last ones printed."""
    event = timed.event
    of_a_step = isinstance(event, Scalars) and "validation_loss" not in event.values
    return of_a_step and 0 <= timed.t - printed < _SECONDS_BETWEEN_FIGURES


def finite_or_none(value: float) -> float | None:
    """`value` as strict JSON knows it: null where it is not finite."""
    return value if math.isfinite(value) else None


def outcome_lines(rows: Sequence[Outcome], output: Output) -> list[str]:
    """Predicted beside actual figures, below an empty line; none where there is nothing to compare."""
    if not rows:
        return []
    shown: dict[str, Callable[[float], str]] = {
        "s": lambda value: duration(value, output.language),
        "bytes": size,
        "tokens": quantity,
    }
    table = [["", output.pick("predicted", "预估"), output.pick("actual", "实际"), ""]]
    for row in rows:
        show = shown.get(row.unit, lambda value, unit=row.unit: f"{value:.2f} {clean_line(unit)}")
        name = row.name.of(output.language)
        table.append([name, show(row.predicted), show(row.actual), f"{100 * (row.ratio - 1):+.0f} %"])
    return ["", in_columns(table)]


def setting_text(value: Any) -> str:
    """A setting's value on one line."""
    return clean_line(" ".join(value) if isinstance(value, tuple) else str(value), 100)
