"""A run with two windows on it, and a run during which the clock is set back."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minimind.events import Mark, Scalars
from minimind.training import launch
from minimind.training.control import ControlReader, read_control
from minimind.training.run_files import CONTROL
from minimind.training.runs import Recorder, RunView, request, status_of
from minimind.training.tail import last_records

Fake = Callable[..., list[str]]
Until = Callable[..., None]

SAVES = 15


class Window:
    """What one window does: it looks, asks for checkpoints, pauses and lets go on, in a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self.view = RunView(directory)
        self.states: set[str] = set()
        self.failures: list[BaseException] = []
        self._thread = threading.Thread(target=self._use)
        self._thread.start()

    def _use(self) -> None:
        try:
            for number in range(SAVES):
                request(self.view.directory, save=True)
                if number % 5 == 2:
                    request(self.view.directory, want="pause")
                self.view.refresh()
                self.states.add(self.view.status().state)
                if number % 5 == 4:
                    request(self.view.directory, want="run")
        except BaseException as error:
            self.failures.append(error)

    def join(self) -> None:
        self._thread.join()
        assert not self.failures


def test_two_windows_on_one_run(run_directory: Path, fake: Fake, until: Until) -> None:
    """No wish is lost between them, both see the same run, and closing one of them changes nothing for the other."""
    launch.launch(run_directory, command=fake(run_directory))
    windows = [Window(run_directory), Window(run_directory)]
    for window in windows:
        window.join()
    assert read_control(run_directory).save == 2 * SAVES
    assert windows[0].states | windows[1].states <= {"running", "paused"}
    request(run_directory, want="run")
    until(lambda: (RunView(run_directory).glance().step or 0) > 3)
    first, second = (window.view for window in windows)
    first.close()
    request(run_directory, want="stop")
    until(lambda: not status_of(run_directory).live)
    again = RunView(run_directory)
    for view in (second, again):
        view.refresh()
    steps = again.series["loss"].x
    assert steps == list(range(1, len(steps) + 1))
    assert (second.series["loss"].x, second.step, list(second.marks)) == (steps, again.step, list(again.marks))
    assert second.status() == again.status()
    assert again.status().state == "stopped"
    second.close()
    again.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the wall clock forward or back by some seconds; monotonic time is not moved by that."""
    real, real_nanoseconds = time.time, time.time_ns
    offset = 0.0

    def shift(seconds: float) -> None:
        nonlocal offset
        offset += seconds

    monkeypatch.setattr(time, "time", lambda: real() + offset)
    monkeypatch.setattr(time, "time_ns", lambda: real_nanoseconds() + int(offset * 1e9))
    return shift


@pytest.mark.parametrize("seconds", [-86_400.0, -2.0, 40 * 365 * 86_400.0])
def test_a_clock_that_jumps_breaks_nothing(seconds: float, run_directory: Path, clock: Callable[[float], None]) -> None:
    """Order and durations come from the file and the monotonic clock; wishes are followed by the file's identity."""
    reader = ControlReader(run_directory)
    view = RunView(run_directory)
    with Recorder(run_directory) as recorder:
        recorder.record(Mark("started", 0))
        for step in range(1, 4):
            recorder.record(Scalars(step, {"loss": 1 / step}))
        request(run_directory, save=True)
        assert reader.poll().save == 1
        view.refresh()
        clock(seconds)
        for step in range(4, 7):
            recorder.record(Scalars(step, {"loss": 1 / step}))
        for number in range(2, 5):  # each as old or as new as the jump makes it
            request(run_directory, save=True)
            moment = time.time()
            os.utime(run_directory / CONTROL, (moment, moment))
            assert reader.poll().save == number
        view.refresh()
        assert view.series["loss"].x == [1, 2, 3, 4, 5, 6]
        assert 0 <= view.elapsed < 60
        recorder.finish({"outcome": "stopped", "step": 6})
    times = [record["time"] for record in last_records(run_directory / "events.jsonl", 1 << 20)]
    assert abs(times[-1] - times[0] - seconds) < 60, "the jump was recorded, and did no harm"
    assert status_of(run_directory).state == "stopped"
    view.close()
