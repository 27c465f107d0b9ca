"""Runs and their records in words and as JSON data, for the commands that show them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.errors import UserError
from minimind.events import Alert, Claim, Event, Mark, Note, Sample, Scalars, Text, to_dict
from minimind.safe_text import clean_line
from minimind.training.runs import STATE_NAMES, CheckpointFile, RunStatus, RunView, TimedEvent

_POLL_SECONDS = 0.2
_SECONDS_BETWEEN_FIGURES = 1.0
_SAMPLE_WIDTH = 400
_MARK_NAMES: dict[str, Text] = {
    "started": Text("started", "启动"),
    "saved": Text("saved", "已保存"),
    "paused": Text("paused", "暂停"),
    "resumed": Text("resumed", "继续"),
    "control": Text("changed as asked", "按要求调整"),
    "ended": Text("ended", "结束"),
}


def number(value: float) -> str:
    """A figure in at most seven characters or so."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e6):
        return f"{value:.0f}"
    return f"{value:.4g}"


def size(count: int) -> str:
    """A number of bytes for a person."""
    amount = float(count)
    for unit in ("B", "KB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} GB"


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


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
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


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
        "directory": str(view.directory),
        "created": view.created,
        "objective": None if view.problem else view.config.objective,
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
    if status.log_lines:
        lines += [output.pick("the log ends with:", "日志末尾："), *(f"  | {line}" for line in status.log_lines)]
    return lines


def figures(values: Mapping[str, float]) -> str:
    """Names and values on one line."""
    return "  ".join(f"{clean_line(name, 60)} {number(value)}" for name, value in values.items())


def step_text(step: float, output: Output) -> str:
    """Which step is meant."""
    return output.pick(f"step {number(step)}", f"第 {number(step)} 步")


def event_line(event: Event, output: Output) -> str | None:
    """One record as a line; None for what only a screen can draw."""
    language = output.language
    match event:
        case Scalars():
            at = (
                step_text(event.x, output)
                if event.axis == "step"
                else f"{clean_line(event.axis, 20)} {number(event.x)}"
            )
            return f"{at}  {figures(event.values)}"
        case Sample():
            text = clean_line(f"{event.prompt} ▸ {event.text}", _SAMPLE_WIDTH)
            return f"{step_text(event.step, output)}  {text}"
        case Alert():
            step = "" if event.step is None else f"{step_text(event.step, output)}  "
            return f"{step}! {clean_line(event.text.of(language), _SAMPLE_WIDTH)}"
        case Mark():
            return f"{step_text(event.step, output)}  — {_MARK_NAMES[event.what].of(language)}"
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
    view = RunView(directory)
    printed, held = -math.inf, None
    try:
        while True:
            # The status is asked first: what is written before the end is then read after it.
            status = view.status()
            for timed in new_events(view):
                if not output.as_json and _is_one_of_many(timed, printed):
                    held = timed
                    continue
                if held is not None and isinstance(timed.event, Mark):  # the last figures before it belong to it
                    _print_event(held, output)
                held = None
                printed = timed.t if isinstance(timed.event, Scalars) else printed
                _print_event(timed, output)
            if not (wait and status.live):
                return status
            time.sleep(_POLL_SECONDS)
    finally:
        view.close()


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


def _is_one_of_many(timed: TimedEvent, printed: float) -> bool:
    """Whether a person can do without this line: the figures of a step within a second of the last ones printed."""
    event = timed.event
    of_a_step = isinstance(event, Scalars) and "validation_loss" not in event.values
    return of_a_step and 0 <= timed.t - printed < _SECONDS_BETWEEN_FIGURES


def _print_event(timed: TimedEvent, output: Output) -> None:
    if output.as_json:
        output.emit({"t": timed.t, "time": timed.time, **to_dict(timed.event)}, "")
        return
    line = event_line(timed.event, output)
    if line is not None:
        output.emit({}, line)


def comparison(first: RunView, second: RunView, output: Output) -> tuple[dict[str, Any], str]:
    """How two runs (read to their ends) differ: in what was asked for, and in what came of it."""
    asked, other = first.config.to_dict(), second.config.to_dict()
    differing = {name: (asked[name], other[name]) for name in asked if asked[name] != other[name]}
    names = [name for name in first.series if name in second.series]
    last = {name: (first.series[name].y[-1], second.series[name].y[-1]) for name in names}
    least = {name: (_least(first, name), _least(second, name)) for name in names}
    data = {
        "runs": [first.id, second.id],
        "config": {name: list(pair) for name, pair in differing.items()},
        "last": {name: [_finite_or_none(value) for value in pair] for name, pair in last.items()},
        "least": {name: [_finite_or_none(value) for value in pair] for name, pair in least.items()},
        "step": [first.step, second.step],
        "elapsed": [first.elapsed, second.elapsed],
    }
    rows = [
        ["", first.id, second.id],
        [output.pick("name", "名称"), first.name, second.name],
        *([name, setting_text(a), setting_text(b)] for name, (a, b) in differing.items()),
        [output.pick("step", "步数"), str(first.step), str(second.step)],
        [output.pick("time", "用时"), duration(first.elapsed), duration(second.elapsed)],
        *([f"{clean_line(name, 60)} ({output.pick('last', '最终')})", *map(number, last[name])] for name in names),
        *(
            [f"{clean_line(name, 60)} ({output.pick('lowest', '最低')})", *map(number, least[name])]
            for name in names
            if "loss" in name
        ),
    ]
    return data, in_columns(rows)


def _least(view: RunView, name: str) -> float:
    return min((value for value in view.series[name].y if math.isfinite(value)), default=math.nan)


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def setting_text(value: Any) -> str:
    """A setting's value on one line."""
    return clean_line(" ".join(value) if isinstance(value, tuple) else str(value), 100)
