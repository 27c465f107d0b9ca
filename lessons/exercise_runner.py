"""Check a learner's file in a process of its own, within limits on time, memory, output and files."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from lessons.exercise import CheckResult, Exercise, stage_results
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean

_SHOWN_OUTPUT = 64_000
_GRACE_SECONDS = 5.0
_POLL_SECONDS = 0.1
_PIPE_BYTES = 65536
_KEPT_VARIABLES = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a learner's code may use. `load_seconds` is for importing torch, before the code runs."""

    seconds: float = 20.0
    cpu_seconds: float = 10.0
    memory_bytes: float = 3 * 2**30
    file_bytes: float = 8 * 2**20
    load_seconds: float = 120.0


_LIMIT_REACHED = {
    "time": Text(
        "stopped after {seconds:g} s: is there a loop without an end?",
        "运行超过 {seconds:g} 秒，已停止：是不是有死循环？",
    ),
    "cpu": Text(
        "stopped after {cpu_seconds:g} s of computing: is there a loop without an end?",
        "计算超过 {cpu_seconds:g} 秒，已停止：是不是有死循环？",
    ),
    "memory": Text(
        "stopped at the memory limit: does a tensor or a list grow without bound?",
        "达到内存上限，已停止：是不是有张量或列表在无限增长？",
    ),
    "file": Text(
        "stopped: it printed or wrote too much: remove the prints", "输出或写入过多，已停止：请去掉多余的 print"
    ),
    "load": Text(
        "PyTorch did not load in time: the machine is very busy, try again",
        "PyTorch 迟迟没有载入：机器太忙，请再试一次",
    ),
    "stopped": Text("stopped", "已停止"),
}
_NO_VERDICT = Text(
    "your code ended the process before the check was done: remove calls such as exit()",
    "检查还没完成，你的代码就结束了进程：请去掉 exit() 之类的调用",
)


def run_exercise(
    exercise: Exercise,
    file: Path | None = None,
    *,
    limits: Limits | None = None,
    seed: int | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> CheckResult:
    """Check `file` (the learner's own by default). `seed` draws the inputs, fresh ones when None.

    `cancelled` is asked ten times a second. Raises UserError when there is no such file.
    """
    target = (file or exercise.file).absolute()
    if not target.is_file():
        raise UserError(
            f"{target}: no such file: begin with python -m lessons exercise {exercise.name} start",
            f"{target}：没有这个文件：请先运行 python -m lessons exercise {exercise.name} start",
        )
    limits = limits or Limits()
    token = secrets.token_hex(8)
    request = {
        "path": [entry for entry in sys.path if entry] + [str(_package().parent)],
        "check": str(exercise.directory / "check.py"),
        "file": str(target),
        "seed": secrets.randbelow(2**31) if seed is None else seed,
        "limits": asdict(limits),
        "token": token,
    }
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="minimind-exercise-") as scratch:
        messages = _launch(request, Path(scratch), limits, cancelled)
        output = _captured(Path(scratch) / "output")
    return _result(messages, token, limits, output, time.monotonic() - began)


def _launch(
    request: dict[str, Any], scratch: Path, limits: Limits, cancelled: Callable[[], bool]
) -> list[dict[str, Any]]:
    """Start the launcher and read its lines until it ends."""
    reader, writer = os.pipe()
    work = scratch / "work"
    work.mkdir()
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | {
        "HOME": str(work),
        "TMPDIR": str(work),
        "LANG": "C.UTF-8",
        "PYTHONIOENCODING": "utf-8",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [
        sys.executable,
        "-I",
        str(_package() / "exercise_launcher.py"),
        json.dumps(request | {"verdict": writer}),
    ]
    try:
        try:
            with (scratch / "output").open("wb") as output:
                child = subprocess.Popen(
                    command,
                    cwd=work,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(writer,),
                )
        finally:
            os.close(writer)
        deadline = time.monotonic() + limits.load_seconds + limits.seconds + _GRACE_SECONDS
        return _read_lines(child, reader, deadline, cancelled)
    finally:
        os.close(reader)


def _read_lines(
    child: subprocess.Popen[bytes], reader: int, deadline: float, cancelled: Callable[[], bool]
) -> list[dict[str, Any]]:
    received = b""
    asked = False
    while True:
        ready, _, _ = select.select([reader], [], [], _POLL_SECONDS)
        if ready:
            piece = os.read(reader, _PIPE_BYTES)
            if not piece:
                break
            received += piece
        if not asked and cancelled():
            asked = True
            child.terminate()
            deadline = time.monotonic() + _GRACE_SECONDS
        if time.monotonic() > deadline:
            break
    try:
        child.wait(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    messages = []
    for line in received.decode("utf-8", "replace").splitlines():
        try:
            message = json.loads(line)
        except ValueError:
            continue  # the learner's code wrote to a descriptor that is not its own
        if isinstance(message, dict):
            messages.append(message)
    return messages


def _result(messages: list[dict[str, Any]], token: str, limits: Limits, output: str, seconds: float) -> CheckResult:
    end: dict[str, Any] = next((m["end"] for m in messages if isinstance(m.get("end"), dict)), {})
    verdict = next((m["verdict"] for m in messages if m.get("token") == token), None)
    limit = end.get("limit")
    if limit in _LIMIT_REACHED:
        template = _LIMIT_REACHED[limit]
        values = asdict(limits)
        problem = Text(template.en.format(**values), template.zh.format(**values))
        return CheckResult(limit=limit, problem=problem, output=output, seconds=seconds)
    try:
        stages = stage_results(verdict["stages"] if isinstance(verdict, dict) else None)
        mutant = verdict["mutant"] if isinstance(verdict, dict) else None
    except (KeyError, TypeError, ValueError):
        return CheckResult(problem=_NO_VERDICT, output=output, seconds=seconds)
    return CheckResult(stages=stages, mutant=mutant, output=output, seconds=seconds)


def _captured(path: Path) -> str:
    with path.open("rb") as file:
        return clean(file.read(_SHOWN_OUTPUT).decode("utf-8", "replace"))


def _package() -> Path:
    return Path(str(files("lessons")))
