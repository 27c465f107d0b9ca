"""``minimind bench ui``: how soon the first screen is up, a page of a lesson is open, a key shows; how much is sent.

Run as ``python -m minimind_tui.bench``. The app runs in a pty of its own with an empty home; the keys are Chinese
characters typed into a line at the foot of the real screens, so that each can be found in what comes back.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lessons.lesson import load_lesson
from minimind import paths
from minimind.commands.output import Output, standard
from minimind.config import TrainConfig
from minimind.events import Mark, Progress, Sample, Scalars, Text
from minimind.language import from_locale
from minimind.training.run_files import LOCK, take_lock
from minimind.training.runs import Recorder, create_run

COLUMNS, ROWS = 100, 30
SITUATIONS = ("idle", "experiment", "run")
LESSON = "position"
"""Whose pages are opened."""
_FIRST_CHARACTER = 0x4E00
_KEY_SECONDS = 0.07
_LOST_SECONDS = 5.0
_PAGE_SECONDS = 1.0
"""For a page to settle before the next one is asked for."""
_READY = b"first model"


class Window:
    """A program in a pty; leave the `with` block and it is gone."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.received = 0
        self.began = time.monotonic()
        self._process = subprocess.Popen(
            list(command), stdin=slave, stdout=slave, stderr=slave, env=dict(environment), start_new_session=True
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def type(self, text: str) -> float:
        """Type `text`; returns when."""
        os.write(self._master, text.encode())
        return time.monotonic()

    def wait_for(self, wanted: bytes, seconds: float) -> float | None:
        """When `wanted` came back; None if it did not within `seconds`."""
        end = time.monotonic() + seconds
        tail = b""
        while (left := end - time.monotonic()) > 0:
            data = self._read(left)
            if wanted in tail + data:
                return time.monotonic()
            tail = (tail + data)[-len(wanted) :]
        return None

    def listen(self, seconds: float) -> int:
        """How many bytes come back within `seconds`."""
        before, end = self.received, time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._read(left)
        return self.received - before

    def processor_seconds(self) -> float:
        """CPU time the program has used so far, all its threads together."""
        import psutil

        times = psutil.Process(self._process.pid).cpu_times()
        return float(times.user + times.system)

    def _read(self, seconds: float) -> bytes:
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return b""
        try:
            data = os.read(self._master, 1 << 16)
        except OSError as error:
            raise RuntimeError("the app ended before it was measured") from error
        self.received += len(data)
        return data


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status."""
    parser = argparse.ArgumentParser(prog="minimind bench ui", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--lang", choices=("en", "zh"))
    parser.add_argument("--starts", type=int, default=7, metavar="N", help="starts to measure / 测几次启动")
    parser.add_argument("--keys", type=int, default=100, metavar="N", help="keys in each situation / 每种情形按多少键")
    parser.add_argument("--drive", choices=SITUATIONS, help=argparse.SUPPRESS)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.drive:
        from minimind_tui.bench_app import drive

        return drive(options.drive, options.run)
    output = standard(as_json=options.json, language=options.lang or from_locale())
    with tempfile.TemporaryDirectory(prefix="minimind-bench-") as home:
        paths.use_home(home)
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "en_US.UTF-8"}
        for name in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "NO_COLOR", "SSH_CONNECTION", "SSH_TTY"):
            environment.pop(name, None)
        _report_starts(output, environment, options.starts)
        _report_pages(output, environment, LESSON)
        for situation in SITUATIONS:
            _report_keys(output, environment, situation, options.keys)
    return 0


def _report_starts(output: Output, environment: Mapping[str, str], starts: int) -> None:
    """From the start of the process to the first screen."""
    walls, processor = [], []
    for _ in range(starts):
        with Window([sys.executable, "-m", "minimind_tui"], environment) as window:
            shown = window.wait_for(_READY, 60)
            if shown is None:
                raise RuntimeError("the home screen did not appear")
            walls.append(1000 * (shown - window.began))
            processor.append(1000 * window.processor_seconds())
    data = {
        "bench": "first paint",
        "milliseconds_median": round(statistics.median(walls)),
        "milliseconds_best": round(min(walls)),
        "processor_milliseconds_best": round(min(processor)),
        "starts": starts,
    }
    median, best, busy = (data[f"{name}"] for name in list(data)[1:4])
    output.emit(
        data,
        Text(
            f"first paint        {median} ms (best {best} ms, {busy} ms of CPU)",
            f"首屏               {median} 毫秒（最快 {best} 毫秒，CPU {busy} 毫秒）",
        ),
    )


def _report_pages(output: Output, environment: Mapping[str, str], slug: str) -> None:
    """From the key for the next page to that page, through a whole lesson; torch is loaded by its first experiment."""
    pages = len(load_lesson(slug).page_ids())
    walls = []
    with Window([sys.executable, "-m", "minimind_tui", "learn", slug, "--lang", "en"], environment) as window:
        if window.wait_for(f" 1/{pages} ".encode(), 60) is None:
            raise RuntimeError(f"{slug}: the lesson did not open")
        for place in range(2, pages + 1):
            window.listen(_PAGE_SECONDS)
            pressed = window.type("n")
            shown = window.wait_for(f" {place}/{pages} ".encode(), _LOST_SECONDS)
            if shown is None:
                raise RuntimeError(f"{slug}: page {place} did not open")
            walls.append(1000 * (shown - pressed))
    data = {
        "bench": "pages",
        "lesson": slug,
        "pages": len(walls),
        "milliseconds_median": round(statistics.median(walls)),
        "milliseconds_worst": round(max(walls)),
    }
    median, worst = data["milliseconds_median"], data["milliseconds_worst"]
    output.emit(
        data,
        Text(
            f"page of a lesson    {median} ms (worst of {len(walls)}: {worst} ms)",
            f"课程翻页           {median} 毫秒（{len(walls)} 页中最慢 {worst} 毫秒）",
        ),
    )


def _report_keys(output: Output, environment: Mapping[str, str], situation: str, keys: int) -> None:
    """From a key to its letter on the screen, and how much is sent while nobody types."""
    with contextlib.ExitStack() as stack:
        run = stack.enter_context(_training_run()) if situation == "run" else ""
        command = [sys.executable, "-m", "minimind_tui.bench", "--drive", situation, "--run", run]
        window = stack.enter_context(Window(command, environment))
        if window.wait_for(b"\xe2\x9c\x8e", 60) is None:
            raise RuntimeError(f"{situation}: the screen to be measured did not appear")
        window.listen(3.0)
        busy = window.processor_seconds()
        sent = window.listen(3.0) / 3.0
        share = (window.processor_seconds() - busy) / 3.0
        latencies, lost = _press(window, keys)
    ordered = sorted(latencies) or [float("nan")]
    data: dict[str, Any] = {"bench": "keys", "situation": situation, "keys": keys, "lost": lost}
    data |= {f"milliseconds_p{part}": round(_quantile(ordered, part / 100), 1) for part in (50, 95, 99)}
    data |= {"bytes_per_second": round(sent), "processor_share": round(share, 3)}
    p50, p99 = data["milliseconds_p50"], data["milliseconds_p99"]
    output.emit(
        data,
        Text(
            f"key, {situation:12}  p50 {p50} ms, p99 {p99} ms; {sent / 1000:.1f} kB/s sent, {share:.0%} of a core",
            f"按键，{situation:12} p50 {p50} 毫秒，p99 {p99} 毫秒；每秒发送 {sent / 1000:.1f} kB，占 {share:.0%} 个核",
        ),
    )


def _press(window: Window, keys: int) -> tuple[list[float], int]:
    """Type `keys` different characters; milliseconds until each came back, and how many did not."""
    latencies, lost = [], 0
    for number in range(keys):
        character = chr(_FIRST_CHARACTER + 7 * number)
        pressed = window.type(character)
        shown = window.wait_for(character.encode(), _LOST_SECONDS)
        if shown is None:
            lost += 1
        else:
            latencies.append(1000 * (shown - pressed))
        window.listen(_KEY_SECONDS)
    return latencies, lost


def _quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of the ordered values lie (the next one above, so that p99 of 100 is the worst but one)."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextlib.contextmanager
def _training_run() -> Iterator[str]:
    """The directory of a run that is recorded as a trainer would, twenty steps a second."""
    run = create_run(TrainConfig(steps=100_000), argv=("minimind", "bench", "ui"))
    done = threading.Event()
    thread = threading.Thread(target=_record, args=(run.directory, done), daemon=True)
    lock = take_lock(run.directory / LOCK, 0.5)
    thread.start()
    try:
        yield str(run.directory)
    finally:
        done.set()
        thread.join()
        if lock is not None:
            os.close(lock)


def _record(directory: Path, done: threading.Event) -> None:
    recorder = Recorder(directory)
    recorder.record(Mark("started", 0))
    step = 0
    while not done.wait(0.05):
        step += 1
        values = {"loss": 1 + 6 / step, "learning_rate": 3e-3, "gradient_norm": 0.5, "tokens_per_second": 12e3 + step}
        values |= {"memory_bytes": 3e8, "tokens": 4096.0 * step, "eta_seconds": 600.0 - step / 20}
        values |= {"validation_loss": 1.1 + 6 / step} if step % 20 == 0 else {}
        recorder.record(Scalars(step, values))
        recorder.record(Progress(step, 100_000))
        if step % 40 == 0:
            recorder.record(Sample(step, "Once upon a time", f" there was a step {step}.", "story"))
    recorder.close()


if __name__ == "__main__":
    sys.exit(main())
