"""The inbox and the thread that fills it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from minimind import paths
from minimind.errors import UserError
from minimind.events import Band, Event, Heatmap, Level, Note, Progress, Scalars, Table, Text
from minimind_tui import lab
from minimind_tui.inbox import Inbox
from minimind_tui.lab import Lab


def points(count: int) -> Iterator[Event]:
    for x in range(count):
        yield Scalars(x, {"y": float(x)})


def test_points_come_out_in_order_and_what_replaces_itself_once() -> None:
    inbox = Inbox()
    for number in range(5):
        inbox.put(Scalars(number, {"y": 1.0}))
        inbox.put(Heatmap("a", ((float(number),),)))
        inbox.put(Heatmap("b", ((0.0,),)))
        inbox.put(Table("t", (), ((number,),)))
        inbox.put(Progress(number, 5))
        inbox.put(Level("c", "floor", number))
        inbox.put(Band("c", "y", (1.0,), (0.0,), (float(number),)))
    assert len(inbox) == 11
    drained = inbox.drain()
    assert [event.x for event in drained if isinstance(event, Scalars)] == [0, 1, 2, 3, 4]
    assert drained[5:] == [
        Heatmap("a", ((4.0,),)),
        Heatmap("b", ((0.0,),)),
        Table("t", (), ((4,),)),
        Progress(4, 5),
        Level("c", "floor", 4),
        Band("c", "y", (1.0,), (0.0,), (4.0,)),
    ]
    assert inbox.drain() == []


def test_it_is_bounded_and_counts_what_it_dropped() -> None:
    inbox = Inbox(capacity=10)
    for event in points(25):
        inbox.put(event)
    assert [event.x for event in inbox.drain() if isinstance(event, Scalars)] == list(range(15, 25))
    assert inbox.dropped == 15


def test_nothing_is_lost_between_threads() -> None:
    inbox = Inbox()
    labs = [Lab(lambda: points(2000), inbox) for _ in range(4)]
    for each in labs:
        each.start()
    seen = 0
    while any(each.state == "running" for each in labs):
        seen += len(inbox.drain())
        time.sleep(0.001)
    assert all(each.join(5) for each in labs)
    assert seen + len(inbox.drain()) == 8000
    assert {each.state for each in labs} == {"finished"}


def test_stopping_closes_the_generator() -> None:
    closed = threading.Event()

    def endless() -> Iterator[Event]:
        try:
            while True:
                yield Note(Text("x", "x"))
                time.sleep(0.001)
        finally:
            closed.set()

    inbox = Inbox()
    work = Lab(endless, inbox)
    work.start()
    assert lab.is_busy()
    while not len(inbox):
        time.sleep(0.001)
    work.stop()
    assert work.join(5)
    assert work.state == "stopped"
    assert closed.is_set()
    assert not lab.is_busy()


@pytest.mark.parametrize(
    ("error", "logged"), [(UserError("depth = 0", "深度 = 0"), False), (RuntimeError("of ours"), True)]
)
def test_a_failure_is_kept_for_the_screen(error: Exception, logged: bool) -> None:
    def failing() -> Iterator[Event]:
        yield Note(Text("x", "x"))
        raise error

    inbox = Inbox()
    work = Lab(failing, inbox)
    work.start()
    assert work.join(5)
    assert work.state == "failed"
    assert work.error is error
    assert len(inbox) == 1
    assert bool(list(paths.crash_logs().glob("*.txt"))) == logged


def test_the_thread_does_not_keep_the_process() -> None:
    release = threading.Event()

    def deaf() -> Iterator[Event]:
        release.wait(10)
        yield Note(Text("x", "x"))

    work = Lab(deaf, Inbox())
    work.start()
    thread = next(thread for thread in threading.enumerate() if thread.name.startswith(lab.THREAD_PREFIX))
    assert thread.daemon
    release.set()
    assert work.join(5)


@pytest.mark.parametrize("when", ["before", "with the first event"])
def test_an_experiment_that_brings_torch_leaves_the_window_a_core(monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    asked: list[int] = []
    torch = SimpleNamespace(set_num_threads=asked.append)
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(lab.os, "cpu_count", lambda: 4)
    if when != "before":
        monkeypatch.delitem(sys.modules, "torch")

    def stream() -> Iterator[Event]:
        sys.modules["torch"] = torch  # type: ignore[assignment]
        yield from points(3)

    run = Lab(stream, Inbox())
    run.start()
    assert run.join(10)
    assert asked == [3]


def test_a_paused_run_waits_and_goes_step_by_step() -> None:
    def work() -> Iterator[Event]:
        for x in range(100):
            yield Progress(x, 100)
            yield Scalars(x, {"y": 0.0})

    def waiting(run: Lab) -> bool:
        for _ in range(500):
            if run.is_waiting:
                return True
            time.sleep(0.01)
        return False

    inbox = Inbox()
    run = Lab(work, inbox)
    run.step()
    run.pause()
    run.start()
    assert waiting(run)
    assert len([event for event in inbox.drain() if isinstance(event, Scalars)]) == 0
    for x in range(3):
        run.step()
        assert waiting(run)
        assert [event.x for event in inbox.drain() if isinstance(event, Scalars)] == [x]
        time.sleep(0.02)
        assert len(inbox) == 0
    run.resume()
    assert run.join(5)
    assert (run.state, run.is_waiting) == ("finished", False)
    assert len([event for event in inbox.drain() if isinstance(event, Scalars)]) == 97


def test_a_paused_run_can_be_stopped() -> None:
    run = Lab(lambda: points(10**9), Inbox())
    run.pause()
    run.start()
    run.stop()
    assert run.join(5)
    assert run.state == "stopped"
    assert run.seconds >= 0
