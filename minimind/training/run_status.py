"""What became of a run: a pure function of its directory, for any number of readers at any time.

Liveness is asked of the kernel (who holds run.lock), never of a heartbeat; what is not known is said to be unknown.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from minimind.events import Text
from minimind.safe_text import clean_line
from minimind.training.control import read_control
from minimind.training.liveness import RunProcesses, is_held, read_processes
from minimind.training.processes import boot_id, host_name, is_alive, is_here
from minimind.training.run_files import (
    CHECKPOINTS,
    EVENTS,
    EXIT,
    FINAL,
    LOCK,
    LOG,
    OUT_OF_MEMORY_CODE,
    open_to_read,
    read_json,
    whole_number,
)
from minimind.training.tail import last_records

State = Literal[
    "created",
    "running",
    "paused",
    "stopping",
    "finished",
    "stopped",
    "failed",
    "out-of-memory",
    "killed",
    "lost",
    "elsewhere",
    "unreadable",
]
STATE_NAMES: dict[State, Text] = {
    "created": Text("not started", "未启动"),
    "running": Text("running", "运行中"),
    "paused": Text("paused", "已暂停"),
    "stopping": Text("stopping", "停止中"),
    "finished": Text("finished", "已完成"),
    "stopped": Text("stopped", "已停止"),
    "failed": Text("failed", "出错"),
    "out-of-memory": Text("out of memory", "内存不足"),
    "killed": Text("killed", "被终止"),
    "lost": Text("lost", "失去踪迹"),
    "elsewhere": Text("elsewhere", "在别处"),
    "unreadable": Text("unreadable", "无法读取"),
}
LIVE_STATES: frozenset[State] = frozenset({"running", "paused", "stopping"})
RESUMABLE_STATES: frozenset[State] = frozenset({"created", "stopped", "failed", "out-of-memory", "killed", "lost"})

_LOG_LINES = 12
_LOG_BYTES = 64 << 10
_MARK_BYTES = 16 << 10
_LINE_WIDTH = 500
_START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The state of a run, why it is in it, and what a person can do next.

    `code` is the trainer's exit status, `signal` the signal that ended it; None where unknown or not ended.
    `supervised` is False while the trainer lives on without its shim. `log_lines` are the last lines of the log of a
    run that ended badly, cleaned. `host` is where the run was last started, `max_rss_bytes` its peak memory.
    """

    state: State
    reason: Text
    advice: Text | None = None
    code: int | None = None
    signal: int | None = None
    supervised: bool = True
    host: str = ""
    max_rss_bytes: int | None = None
    log_lines: tuple[str, ...] = ()

    @property
    def live(self) -> bool:
        """Whether some process of the run exists on this machine (or shares the lock with it)."""
        return self.state in LIVE_STATES

    @property
    def resumable(self) -> bool:
        """Whether the run can be started (again) and go on from its newest valid checkpoint."""
        return self.state in RESUMABLE_STATES


START_ANEW = Text("put that right, then start a new run", "请先解决这个问题，再新建一次训练")
BEGIN_AGAIN = Text("resume it: nothing was saved yet, it begins again", "可以恢复：还没有检查点，会从头开始")
RESUME = Text("resume it: it goes on from its newest checkpoint", "可以恢复：会从最新的检查点继续")


def status_of(directory: Path) -> RunStatus:
    """The status of the run in `directory`; never raises for what may stand in the files."""
    status = _status_once(directory)
    # A start that came between two reads can look like a run without a trace: only two equal answers count.
    for _ in range(3):
        if status.state not in ("lost", "created", "elsewhere"):
            break
        again = _status_once(directory)
        if again == status:
            break
        status = again
    return status


def log_tail(directory: Path, count: int) -> tuple[str, ...]:
    """The last `count` lines of the run's log, cleaned; of a line redrawn with carriage returns, its last state."""
    try:
        with open_to_read(directory / LOG) as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - _LOG_BYTES))
            raw = file.read(_LOG_BYTES)
    except OSError:
        return ()
    lines = raw.decode("utf-8", "replace").split("\n")
    if end > _LOG_BYTES:
        del lines[0]
    drawn = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in lines)
    return tuple(clean_line(line, _LINE_WIDTH) for line in drawn if line)[-count:]


def _status_once(directory: Path) -> RunStatus:
    processes = read_processes(directory)
    if is_held(directory, processes):
        return _living(directory, processes)
    processes = read_processes(directory)
    left, verdict = read_json(directory / EXIT), read_json(directory / FINAL)
    if left is not None or verdict is not None:
        return _ended(directory, left or {}, verdict or {}, processes)
    return _without_trace(directory, processes)


def _living(directory: Path, processes: RunProcesses | None) -> RunStatus:
    shim = processes.shim if processes else None
    trainer = processes.trainer if processes else None
    host = shim.host if shim else ""
    # From another machine or container the processes cannot be seen: that is no sign of their death.
    supervised = shim is not None and (not is_here(shim) or is_alive(shim))
    if not supervised and not is_alive(trainer):
        # Either nobody is left whom proc.json names, or it has not yet been written by the start under way.
        if _lock_taken_lately(directory):
            return RunStatus("running", _STARTING, host=host)
        return RunStatus("stopping", _ORPHANS, _FORCE, supervised=False, host=host)
    if trainer is not None and is_here(trainer) and not is_alive(trainer):
        return RunStatus("stopping", _SWEEPING, supervised=supervised, host=host)
    want = read_control(directory).want
    state: State = "running"
    reason = _UNSUPERVISED if not supervised else _TRAINING if trainer is not None else _STARTING
    if want == "stop":
        state, reason = "stopping", _STOPPING
    elif (paused := _pause_of(directory)) is not None and (want == "pause" or "reason" in paused):
        state, reason = "paused", _WAITING.get(str(paused.get("reason")), _PAUSED)
    elif want == "pause":
        reason = _PAUSING
    return RunStatus(state, reason, supervised=supervised, host=host)


def _lock_taken_lately(directory: Path) -> bool:
    """Whether somebody tried to start the run a moment ago: every shim touches the lock before it takes it."""
    try:
        touched = (directory / LOCK).stat().st_mtime
    except OSError:
        return False
    return abs(time.time() - touched) < _START_SECONDS


_TRAINING = Text("training", "训练中")
_UNSUPERVISED = Text(
    "running, but its supervisor was killed: how it ends will not be recorded by it",
    "训练仍在进行，但监护进程已被终止：不会再由它记录结局",
)
_PAUSED = Text("paused between two steps; memory is kept", "已在两步之间暂停，内存保留")
_WAITING = {
    "disk-full": Text(
        "paused: there is no room for a checkpoint; it goes on by itself when there is, or without saving when asked to",
        "已暂停：磁盘空间不够存检查点；有空间后会自动继续，也可以手动让它不保存就继续",
    ),
    "save-failed": Text(
        "paused: a checkpoint cannot be saved; it goes on by itself when that works again, or without saving when asked to",
        "已暂停：检查点存不进去；恢复正常后会自动继续，也可以手动让它不保存就继续",
    ),
}
"""Why a run paused by itself, by the reason in its mark."""
_PAUSING = Text("asked to pause: it will after the current step", "已要求暂停：当前步结束后生效")
_STOPPING = Text("asked to stop: it saves and leaves after the current step", "已要求停止：当前步结束后保存并退出")
_SWEEPING = Text("the trainer has ended; what it left behind is being ended", "训练进程已结束，正在清理它留下的进程")
_ORPHANS = Text(
    "the trainer and its supervisor were killed, but processes that they started remain",
    "训练与监护进程都被终止了，但它们启动的进程还在",
)
_FORCE = Text("stop it by force to end them", "可以强制停止来结束它们")
_STARTING = Text("starting", "正在启动")


def _pause_of(directory: Path) -> dict[str, Any] | None:
    """What the trainer said of the pause it is in; None where its last word about pausing is another."""
    for record in reversed(last_records(directory / EVENTS, _MARK_BYTES, b'"mark"')):
        if record.get("kind") == "mark" and record.get("what") in ("paused", "resumed", "started"):
            detail = record.get("detail")
            return (detail if isinstance(detail, dict) else {}) if record["what"] == "paused" else None
    return None


def _ended(directory: Path, left: dict[str, Any], verdict: dict[str, Any], processes: RunProcesses | None) -> RunStatus:
    """The status from the trainer's verdict (`verdict`) and the shim's record of its end (`left`), either may be {}."""
    code, number = whole_number(left.get("code")), whole_number(left.get("signal"))
    state, reason, advice = _by_verdict(directory, verdict) or _by_exit(directory, left, code, number)
    shim = processes.shim if processes else None
    return RunStatus(
        state,
        reason,
        _resumption(directory) if advice == RESUME else advice,
        code=code,
        signal=number,
        supervised=bool(left),
        host=shim.host if shim else "",
        max_rss_bytes=whole_number(left.get("max_rss_bytes")),
        log_lines=() if state in ("finished", "stopped") else log_tail(directory, _LOG_LINES),
    )


_Finding = tuple[State, Text, Text | None]


def _by_verdict(directory: Path, verdict: dict[str, Any]) -> _Finding | None:
    """What the trainer itself said, or None if it said nothing that is known."""
    # What is wrong before anything is saved (a file, a setting) is wrong again after a resume.
    after_failure = RESUME if _resumption(directory) == RESUME else START_ANEW
    known: dict[str, _Finding] = {
        "finished": ("finished", Text("all steps are done", "全部步骤已完成"), None),
        "stopped": ("stopped", Text("stopped as asked, and saved", "已按要求停止并保存"), RESUME),
        "failed": ("failed", Text("the trainer gave up", "训练程序放弃了"), after_failure),
        "out-of-memory": ("out-of-memory", Text("not enough memory", "内存（显存）不足"), LESS_MEMORY),
    }
    finding = known.get(str(verdict.get("outcome")))
    if finding is None:
        return None
    said = verdict.get("text")
    if isinstance(said, dict) and isinstance(said.get("en"), str) and isinstance(said.get("zh"), str):
        text = Text(clean_line(said["en"], _LINE_WIDTH), clean_line(said["zh"], _LINE_WIDTH))
        return finding[0], text, finding[2]
    return finding


LESS_MEMORY = Text(
    "start a new run with a smaller batch_size and more accumulation_steps, or a shorter sequence_length",
    "请新建一次训练：减小 batch_size 并增大 accumulation_steps，或缩短 sequence_length",
)


def _by_exit(directory: Path, left: dict[str, Any], code: int | None, number: int | None) -> _Finding:
    """What the way the trainer ended says, where it left no verdict of its own."""
    stop_requested = left.get("stop_requested") is True
    if stop_requested and left.get("escalated") is True:
        return (
            "stopped",
            Text(
                "it did not stop when asked and was ended by force: steps after its last checkpoint are lost",
                "要求停止后没有响应，已被强制结束：最后一个检查点之后的步数丢失",
            ),
            RESUME,
        )
    if number is not None:
        return _by_signal(number, left, stop_requested)
    if code == OUT_OF_MEMORY_CODE:
        return "out-of-memory", Text("not enough memory", "内存（显存）不足"), LESS_MEMORY
    problem = left.get("problem")
    if isinstance(problem, str):
        said = clean_line(problem, _LINE_WIDTH)
        return "failed", Text(f"it could not be started: {said}", f"无法启动：{said}"), RESUME
    if code == 0 and stop_requested:
        return "stopped", Text("stopped as asked", "已按要求停止"), RESUME
    last = next(iter(log_tail(directory, 1)), "")
    said = f": {last}" if last else ""
    if code == 0:
        return (
            "failed",
            Text(f"it left without saying how it went{said}", f"训练程序没有留下结论就退出了{said}"),
            RESUME,
        )
    return "failed", Text(f"it left with status {code}{said}", f"训练程序以状态 {code} 退出{said}"), RESUME


def _by_signal(number: int, left: dict[str, Any], stop_requested: bool) -> _Finding:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL and left.get("oom_kill") == "cgroup":
        return (
            "out-of-memory",
            Text("killed by the system for memory", "因内存不足被系统终止"),
            LESS_MEMORY,
        )
    if stop_requested and number == signal.SIGTERM:
        return "stopped", Text("stopped before it could save", "在能够保存之前已停止"), RESUME
    if number == signal.SIGKILL and left.get("oom_kill") == "machine":
        return (
            "killed",
            Text(
                f"ended by {name}; meanwhile the system was ending processes for want of memory",
                f"被 {name} 结束；期间系统正因内存不足而终止进程",
            ),
            RESUME,
        )
    return "killed", Text(f"ended by {name}", f"被 {name} 结束"), RESUME


def _without_trace(directory: Path, processes: RunProcesses | None) -> RunStatus:
    """Nothing lives and nobody recorded an end."""
    shim = processes.shim if processes else None
    if processes is None and not _has_content(directory / EVENTS):
        return RunStatus("created", Text("not started yet", "尚未启动"), Text("start it", "可以启动"))
    if shim is None:
        reason = Text("ended without a trace", "已结束，但没有留下任何记录")
    elif shim.host != host_name() and shim.boot != boot_id():
        host = clean_line(shim.host, 100)
        return RunStatus(
            "elsewhere",
            Text(
                f"started on {host}; whether it still runs cannot be seen from here",
                f"在 {host} 上启动；从这里看不到它是否仍在运行",
            ),
            Text(
                f"look at it on {host}, or take it over if that machine is gone",
                f"请到 {host} 上查看；若那台机器已不在，可以接管",
            ),
            host=shim.host,
        )
    elif shim.boot != boot_id():
        reason = Text("the machine was restarted while it ran", "运行期间机器重启了")
    elif not is_here(shim):
        reason = Text("its container was restarted while it ran", "运行期间容器重启了")
    else:
        reason = Text(
            "ended without a trace: it and its supervisor were killed (for memory, or by kill -9)",
            "没有留下任何记录：训练与监护进程都被终止了（内存不足或 kill -9）",
        )
    return RunStatus(
        "lost",
        reason,
        _resumption(directory),
        supervised=False,
        host=shim.host if shim else "",
        log_lines=log_tail(directory, _LOG_LINES),
    )


def _resumption(directory: Path) -> Text:
    """What resuming means: to go on where something was saved, otherwise to begin again."""
    try:
        saved = any((directory / CHECKPOINTS).iterdir())
    except OSError:
        saved = False
    return RESUME if saved else BEGIN_AGAIN


def _has_content(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False
