"""Runs wait for their turn: in order, never two at once, whatever is killed."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minimind import cli, paths
from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.training import companions, launch, queue
from minimind.training.liveness import read_processes
from minimind.training.processes import processes_with_variable, send_signal
from minimind.training.queue import busy_run, clear_queue, dequeue, enqueue, waiting_runs, wake_runner
from minimind.training.run_files import RUN_VARIABLE, lock_is_held
from minimind.training.runs import Recorder, create_run, list_runs, status_of

RUNNER = Path(__file__).with_name("fake_queue_runner.py")


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No runner is started."""
    monkeypatch.setattr(queue, "wake_runner", lambda: False)


@pytest.fixture
def runs(home: Path) -> Iterator[list[Path]]:
    """Three runs that were never started; what is left of them is ended."""
    made = [create_run(TrainConfig()).directory for _ in range(3)]
    yield made
    clear_queue()
    deadline = time.monotonic() + 10
    while lock_is_held(paths.queue() / queue.RUNNER_LOCK) and time.monotonic() < deadline:
        time.sleep(0.02)
    for directory in made:
        for identity in processes_with_variable(RUN_VARIABLE, str(directory.resolve())):
            send_signal(identity, signal.SIGKILL)


def start_runner(**environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(RUNNER)], env=os.environ | environment, stderr=subprocess.DEVNULL)


def started_at(directory: Path) -> float:
    return float(json.loads((directory / "proc.json").read_text())["started"])


def ended_at(directory: Path) -> float:
    return float(json.loads((directory / "exit.json").read_text())["time"])


def test_runs_wait_in_order(quiet: None, runs: list[Path]) -> None:
    first, second, third = runs
    assert [enqueue(first), enqueue(second), enqueue(third, first=True)] == [1, 2, 1]
    assert [entry.directory for entry in waiting_runs()] == [third, first, second]
    with pytest.raises(UserError, match="waits already"):
        enqueue(second)
    assert dequeue(first)
    assert not dequeue(first)
    assert clear_queue() == 2
    assert waiting_runs() == []
    assert not (paths.queue() / "waiting.json").exists()


def test_only_what_can_be_started_may_wait(quiet: None, runs: list[Path]) -> None:
    with Recorder(runs[0]) as recorder:
        recorder.finish({"outcome": "finished"})
    with pytest.raises(UserError, match="cannot wait for a start: all steps are done"):
        enqueue(runs[0])
    with pytest.raises(UserError):
        enqueue(runs[0].parent / "nothing")


@pytest.mark.parametrize("content", ["{", "[]", '{"runs": 3}', '{"runs": [3, {}, {"directory": 4}]}'])
def test_a_damaged_queue_is_an_empty_one(runs: list[Path], content: str) -> None:
    paths.queue().mkdir()
    (paths.queue() / "waiting.json").write_text(content)
    assert waiting_runs() == []


def test_one_after_another_never_two_at_once(quiet: None, runs: list[Path], until) -> None:
    for directory in runs:
        enqueue(directory)
    runners = [start_runner() for _ in range(2)]
    assert sorted(runner.wait(60) for runner in runners) == [0, 3]  # the other one found it there already
    until(lambda: all(status_of(directory).state == "finished" for directory in runs))
    for before, after in itertools.pairwise(runs):
        assert ended_at(before) <= started_at(after) + 0.01
    assert waiting_runs() == []


def test_it_waits_for_a_run_started_by_hand(quiet: None, runs: list[Path], fake, until) -> None:
    by_hand, queued, _ = runs
    launch.launch(by_hand, command=fake(by_hand, steps=60))
    assert busy_run() == by_hand
    enqueue(queued)
    runner = start_runner()
    assert runner.wait(60) == 0
    assert ended_at(by_hand) <= started_at(queued)


def test_a_runner_killed_at_any_moment_loses_and_doubles_nothing(quiet: None, runs: list[Path], until) -> None:
    draw = random.Random(7)
    for directory in runs:
        enqueue(directory)
    kills = 0
    while waiting_runs():
        runner = start_runner(FAKE_STEPS="20")
        until(lambda runner=runner: runner.poll() is not None or lock_is_held(paths.queue() / queue.RUNNER_LOCK))
        try:
            runner.wait(draw.uniform(0.0, 0.5))
        except subprocess.TimeoutExpired:
            runner.kill()
            runner.wait()
            kills += 1
        assert sum(status_of(directory).live for directory in runs) <= 1
    assert kills >= 2
    until(lambda: all(status_of(directory).state == "finished" for directory in runs))
    for directory in runs:
        records = (directory / "events.jsonl").read_text().splitlines()
        assert sum('"started"' in record for record in records) == 1


def test_a_shim_and_a_trainer_killed_let_the_next_one_begin(quiet: None, runs: list[Path], until) -> None:
    first, second, _ = runs
    enqueue(first)
    enqueue(second)
    runner = start_runner(FAKE_STEPS="100000")
    until(lambda: (first / "events.jsonl").exists())
    processes = read_processes(first)
    assert processes is not None
    for identity in (processes.shim, processes.trainer):
        assert identity is not None
        os.kill(identity.pid, signal.SIGKILL)
    until(lambda: (second / "events.jsonl").exists())
    assert status_of(first).state == "lost"
    assert runner.wait(20) == 0
    launch.stop(second, force=True)
    until(lambda: not status_of(second).live)


def test_the_end_of_a_run_wakes_a_runner(runs: list[Path], fake, until, monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand, queued, _ = runs
    monkeypatch.setattr(queue, "module_command", lambda *_: [sys.executable, str(RUNNER)])
    monkeypatch.setattr(launch, "afterwards_command", lambda directory: [sys.executable, str(RUNNER)])
    launch.launch(by_hand, command=fake(by_hand, steps=100_000))
    enqueue(queued)
    until(lambda: lock_is_held(paths.queue() / queue.RUNNER_LOCK))
    (runner,) = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit() and _is_runner(entry)]
    os.kill(int(runner.name), signal.SIGKILL)
    until(lambda: not lock_is_held(paths.queue() / queue.RUNNER_LOCK))
    launch.stop(by_hand)
    until(lambda: status_of(queued).state == "finished")


def _is_runner(process: Path) -> bool:
    """Whether this process in /proc is a queue runner of this test's home."""
    try:
        command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
    except OSError:
        return False
    return command.rstrip(b"\0").split(b"\0")[-1] == str(RUNNER).encode() and str(paths.home()).encode() in environment


def test_waking_is_cheap_and_never_raises(runs: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not wake_runner()
    paths.queue().write_text("a file where a folder should be")
    assert not wake_runner()
    paths.queue().unlink()

    def refuse(*_: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(queue, "start_detached", refuse)
    assert enqueue(runs[0]) == 1
    assert not wake_runner()


def test_what_must_be_there_for_something_to_be_done_after_a_run(home: Path) -> None:
    assert [Path(path) for path in companions.occasions()] == [
        home / "preferences.json",
        home / "queue" / "waiting.json",
    ]


def test_the_commands(
    quiet: None, runs: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "COMMANDS", ("queue", "train"))

    def call(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(list(arguments))
        return status, *capsys.readouterr()

    assert call("queue", "list")[2] == "nothing waits\n"
    assert call("queue", "add", runs[0].name, runs[1].name)[1].splitlines()[1] == f"{runs[1].name} waits, number 2"
    assert call("queue", "list")[1].splitlines()[0].split() == ["1", runs[0].name]
    assert json.loads(call("queue", "remove", runs[0].name, "--json")[1]) == {"removed": runs[0].name}
    assert call("queue", "remove", runs[0].name)[0] == 2
    status, out, _ = call("train", "pretrain", "--steps", "1", "--queue", "--json")
    made = json.loads(out)
    assert (status, made["place"]) == (0, 2)
    assert {view.id: view.status().state for view in list_runs()}[made["id"]] == "created"
    assert call("train", "--run", runs[2].name, "--queue", "--allow-changes")[0] == 2
    assert json.loads(call("queue", "clear", "--json")[1]) == {"removed": 2}
