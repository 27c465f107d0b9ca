"""What is recorded is whole, in order, and written once; what could not be written is counted."""

from __future__ import annotations

import errno
import json
import mmap
import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minimind.events import Alert, Note, Sample, Scalars, Text
from minimind.training import recorder as recorder_module
from minimind.training.recorder import LINE_LIMIT, Recorder
from minimind.training.tail import Tail


def read_all(directory: Path) -> tuple[list[dict[str, object]], int]:
    tail = Tail(directory / "events.jsonl")
    records = tail.read(1 << 30)
    tail.close()
    return records, tail.bad


def steps(records: list[dict[str, object]]) -> list[object]:
    return [record["x"] for record in records if record["kind"] == "scalars"]


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Beyond `size` bytes the kernel cuts a write short, then refuses it: what a full disk does, without one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_each_record_is_one_write_with_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    real = os.write
    monkeypatch.setattr(recorder_module.os, "write", lambda fd, data: written.append(data) or real(fd, data))
    with Recorder(tmp_path) as recorder:
        for step in range(5):
            recorder.record(Scalars(step, {"loss": 1.0}))
        recorder.record(Sample(5, "从前", "line\nline\u2028\u0085 \ud800"))
        recorder.sync()
    assert len(written) == 6
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in written)
    records, bad = read_all(tmp_path)
    assert bad == 0
    assert steps(records) == [0, 1, 2, 3, 4]
    assert records[-1]["text"] == "line\nline\u2028\u0085 ?"
    assert [record["t"] for record in records] == sorted(record["t"] for record in records)
    assert all(abs(record["time"] - time.time()) < 60 for record in records)
    assert (tmp_path / "events.jsonl").stat().st_mode & 0o777 == 0o600


def test_the_half_line_of_a_killed_writer_is_ended(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b'{"kind":"scalars","x":1,"values":{"loss":1}}\n{"kind":"sca')
    with Recorder(tmp_path) as recorder:
        recorder.record(Scalars(2, {"loss": 1}))
        recorder.record(Scalars(3, {"loss": 1}))
    records, bad = read_all(tmp_path)
    assert (steps(records), bad) == ([1, 2, 3], 1)


def test_an_overlong_record_is_refused_and_told(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.record(Note(Text("x" * LINE_LIMIT, "")))
        recorder.record(Scalars(1, {"loss": 1.0}))
        assert recorder.lost == 1
    records, bad = read_all(tmp_path)
    assert [record["kind"] for record in records] == ["alert", "scalars"]
    assert bad == 0


def test_a_full_disk_delays_records_but_loses_none_and_keeps_their_order(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    with file_size_limit(2000):
        for step in range(200):
            recorder.record(Scalars(step, {"loss": 1.0}))
        assert (tmp_path / "events.jsonl").stat().st_size == 2000
    for step in range(200, 210):
        recorder.record(Scalars(step, {"loss": 1.0}))
    recorder.finish({"outcome": "finished"})
    records, bad = read_all(tmp_path)
    assert steps(records) == list(range(210))
    assert bad <= 1
    assert recorder.lost == 0
    assert "lost_records" not in json.loads((tmp_path / "final.json").read_text())


def test_a_disk_that_stays_full_is_counted_and_told(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    with file_size_limit(2000):
        for step in range(3000):
            recorder.record(Scalars(step, {"loss": 1.0}))
    written = len(steps(read_all(tmp_path)[0]))
    assert recorder.lost == 3000 - 1000 - written
    recorder.record(Scalars(3000, {"loss": 1.0}))
    recorder.finish({"outcome": "finished"})
    records, _ = read_all(tmp_path)
    assert steps(records) == list(range(written)) + list(range(3000 - 1000, 3001))
    assert records[-1]["code"] == "records-lost"
    assert json.loads((tmp_path / "final.json").read_text())["lost_records"] == recorder.lost


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_training_goes_on_whatever_the_write_says(tmp_path: Path, monkeypatch, code: int) -> None:
    recorder = Recorder(tmp_path)

    def refuse(descriptor: int, data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(recorder_module.os, "write", refuse)
        recorder.record(Scalars(1, {"loss": 1.0}))
    recorder.record(Scalars(2, {"loss": 1.0}))
    recorder.close()
    assert steps(read_all(tmp_path)[0]) == [1, 2]


@pytest.mark.parametrize("missing", range(12))
def test_a_write_cut_short_anywhere_neither_tears_nor_doubles(tmp_path: Path, monkeypatch, missing: int) -> None:
    recorder = Recorder(tmp_path)
    recorder.record(Scalars(1, {"loss": 1.0}))
    real = os.write
    cuts = iter([missing, 1_000, None, missing, None])

    def cut(descriptor: int, data: bytes) -> int:
        left_out = next(cuts, None)
        return real(descriptor, data if left_out is None else data[: max(1, len(data) - left_out)])

    monkeypatch.setattr(recorder_module.os, "write", cut)
    for step in range(2, 8):
        recorder.record(Scalars(step, {"loss": 1.0}))
    recorder.close()
    assert steps(read_all(tmp_path)[0]) == [1, 2, 3, 4, 5, 6, 7]


def test_the_verdict_is_kept_with_its_time(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.finish({"outcome": "failed", "text": {"en": "NaN", "zh": "出现 NaN"}, "step": 7})
    verdict = json.loads((tmp_path / "final.json").read_text(encoding="utf-8"))
    assert (verdict["outcome"], verdict["text"]["zh"], verdict["step"]) == ("failed", "出现 NaN", 7)
    assert not list(tmp_path.glob(".*"))


def record_until_killed(directory: Path, series: str) -> None:
    """In a forked child: nothing but records."""
    try:
        recorder = Recorder(directory)
        step = 0
        while True:
            recorder.record(Scalars(step, {series: step}))
            step += 1
    finally:
        os._exit(1)


def torn_ends(events: Path) -> list[int]:
    """Where in the file the lines end that are no JSON."""
    ends, place = [], 0
    for line in events.read_bytes().split(b"\n")[:-1]:
        place += len(line)
        try:
            json.loads(line)
        except ValueError:
            ends.append(place)
        place += 1
    return ends


def test_kill_minus_nine_while_recording_tears_no_more_than_the_line_being_written(tmp_path: Path, until) -> None:
    draw = random.Random(7)
    events = tmp_path / "events.jsonl"
    events.touch()
    names = [f"writer-{number}" for number in range(40)]
    for name in names:
        before = events.stat().st_size
        pid = os.fork()
        if pid == 0:
            record_until_killed(tmp_path, name)
        try:
            until(lambda before=before: events.stat().st_size > before)
            time.sleep(draw.uniform(0.0, 0.01))
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    records, bad = read_all(tmp_path)
    torn = torn_ends(events)
    assert len(torn) == bad
    # The kernel copies a write page by page, and a kill is only heard between two: the one place where a line may end.
    assert [end % mmap.PAGESIZE for end in torn] == [0] * bad
    for name in names:
        mine = [record for record in records if name in record["values"]]
        assert len(mine) > 0
        assert [record["x"] for record in mine] == list(range(len(mine)))
        assert all(record["values"][name] == record["x"] for record in mine)


def test_an_alert_is_an_event_like_any_other(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.record(Alert("error", "nan", Text("NaN", "NaN"), step=3))
    (record,), _ = read_all(tmp_path)
    assert (record["level"], record["step"]) == ("error", 3)
