"""A process of its own for a learner's code, within limits on time, memory, output and files.

`lessons.exercise_launcher` is what runs in it. Its messages come as they are made, so that a training can be watched.
"""

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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

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


class Child:
    """One run of the launcher. After `messages` is exhausted or closed, nothing of it is left.

    `output` is what the code printed, made safe to show; `problem` and `limit` say which limit was reached, if one was.
    """

    def __init__(
        self, task: str, request: dict[str, Any], limits: Limits, cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        self.output = ""
        self.limit: str | None = None
        self._limits, self._cancelled = limits, cancelled
        self._token = secrets.token_hex(8)
        self._request = request | {
            "task": task,
            "path": [entry for entry in sys.path if entry] + [str(_package().parent)],
            "limits": asdict(limits),
            "token": self._token,
        }

    @property
    def problem(self) -> Text | None:
        """What to tell of the limit that was reached."""
        if self.limit is None:
            return None
        template, values = _LIMIT_REACHED[self.limit], asdict(self._limits)
        return Text(template.en.format(**values), template.zh.format(**values))

    def messages(self) -> Iterator[dict[str, Any]]:
        """What our own code in the process says, as it says it. `cancelled` is asked ten times a second."""
        with tempfile.TemporaryDirectory(prefix="minimind-exercise-") as scratch:
            reader, child = self._start(Path(scratch))
            try:
                for line in self._lines(child, reader):
                    yield from self._read(line)
            finally:
                os.close(reader)
                _end(child)
                self.output = _captured(Path(scratch) / "output")

    def _start(self, scratch: Path) -> tuple[int, subprocess.Popen[bytes]]:
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
        request = json.dumps(self._request | {"verdict": writer})
        try:
            with (scratch / "output").open("wb") as output:
                child = subprocess.Popen(
                    [sys.executable, "-I", str(_package() / "exercise_launcher.py"), request],
                    cwd=work,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=(writer,),
                )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        return reader, child

    def _lines(self, child: subprocess.Popen[bytes], reader: int) -> Iterator[bytes]:
        """The lines on the verdict pipe until the process ends; asks it to end when cancelled."""
        received = b""
        asked = False
        deadline = time.monotonic() + self._limits.load_seconds + self._limits.seconds + _GRACE_SECONDS
        while time.monotonic() <= deadline:
            ready, _, _ = select.select([reader], [], [], _POLL_SECONDS)
            if ready:
                piece = os.read(reader, _PIPE_BYTES)
                *lines, received = (received + piece).split(b"\n")
                yield from lines
                if not piece:
                    break
            if not asked and self._cancelled():
                asked = True
                child.terminate()
                deadline = time.monotonic() + _GRACE_SECONDS

    def _read(self, line: bytes) -> Iterator[dict[str, Any]]:
        try:
            message = json.loads(line)
        except ValueError:
            return  # the learner's code wrote to a descriptor that is not its own
        if not isinstance(message, dict):
            return
        if isinstance(message.get("end"), dict):
            limit = message["end"].get("limit")
            self.limit = limit if limit in _LIMIT_REACHED else None
        elif message.get("token") == self._token:
            yield message


def _end(child: subprocess.Popen[bytes]) -> None:
    """Wait for the launcher, which ends what it started; ask it first where nobody waits for a result any more."""
    try:
        child.wait(timeout=_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        child.terminate()
    try:
        child.wait(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _captured(path: Path) -> str:
    with path.open("rb") as file:
        return clean(file.read(_SHOWN_OUTPUT).decode("utf-8", "replace"))


def _package() -> Path:
    return Path(str(files("lessons")))
