"""`minimind bench ui`: that it measures what it says."""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lessons.lesson import load_lesson
from minimind.benchmarks import ui
from minimind.commands.output import Output
from minimind.errors import UserError
from minimind.training.runs import RunView
from minimind_tui import bench
from minimind_tui.bench import Window
from tests.tui.fake_runs import alive, make_run

ROOT = Path(__file__).resolve().parents[2]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}


def test_a_key_is_timed_from_being_typed_to_coming_back() -> None:
    slow_echo = (
        "import sys, time\n"
        "for line in sys.stdin:\n"
        "    while time.process_time() < 0.2: pass\n"
        "    print('got', line.strip(), flush=True)"
    )
    with Window([sys.executable, "-c", slow_echo], environment()) as window:
        typed = window.type("x\n")
        shown = window.wait_for(b"got x", 10)
        assert shown is not None
        assert 0.1 <= shown - typed < 10
        assert window.wait_for(b"never", 0.1) is None
        assert window.received > 5
        assert window.listen(0.05) == 0
        assert window.processor_seconds() >= 0.15


def test_what_comes_back_in_two_pieces_is_found() -> None:
    halves = "import sys, time\nfor part in ('fir', 'st'):\n    print(part, end='', flush=True); time.sleep(0.2)"
    with Window([sys.executable, "-c", halves], environment()) as window:
        assert window.wait_for(b"first", 10) is not None


def test_a_program_that_ends_is_no_measurement() -> None:
    with Window([sys.executable, "-c", ""], environment()) as window, pytest.raises(RuntimeError, match="ended"):
        window.wait_for(b"never", 10)


def test_quantiles() -> None:
    values = [float(value) for value in range(100)]
    assert bench._quantile(values, 0.5) == 50
    assert bench._quantile(values, 0.99) == 99
    assert bench._quantile([7.0], 0.99) == 7


def test_the_run_that_is_watched_lives_and_grows() -> None:
    with bench._training_run() as directory:
        view = RunView(directory)
        end = time.monotonic() + 10
        while len(view.series["loss"].x if "loss" in view.series else ()) < 5 and time.monotonic() < end:
            time.sleep(0.05)
            view.refresh()
        assert view.status().live
        steps = list(view.series["loss"].x)
        assert steps == sorted(steps)
        assert len(steps) >= 5
        view.close()
    assert not RunView(directory).status().live


def test_the_driven_app_shows_what_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_KEY_SECONDS", 0.01)
    with Window([sys.executable, "-m", "minimind_tui.bench", "--drive", "idle"], environment()) as window:
        assert window.wait_for("✎".encode(), 30) is not None
        latencies, lost = bench._press(window, 3)
    assert lost == 0
    assert len(latencies) == 3
    assert all(0 < latency < 5000 for latency in latencies)


def test_watching_a_run_at_rest_sends_little(home: Path) -> None:
    """Less than 10 kB in each second over somebody's SSH link (measured: nothing; 4 kB while it trains)."""
    directory = make_run(steps=60)
    command = [sys.executable, "-m", "minimind_tui.bench", "--drive", "run", "--run", str(directory)]
    with alive(directory), Window(command, environment() | {"MINIMIND_HOME": str(home)}) as window:
        assert window.wait_for("✎".encode(), 60) is not None
        window.listen(1.5)
        began = time.monotonic()
        sent = window.listen(2.0)
        assert sent < 10_000 * (time.monotonic() - began)


def test_first_paint_and_pages_are_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "SITUATIONS", ())
    monkeypatch.setattr(bench, "LESSON", "block")
    monkeypatch.setattr(bench, "_PAGE_SECONDS", 0.1)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    assert bench.main(["--json", "--starts", "1", "--keys", "1"]) == 0
    data, pages = map(json.loads, capsys.readouterr().out.splitlines())
    assert data["bench"] == "first paint"
    assert 0 < data["processor_milliseconds_best"] <= data["milliseconds_best"] * (os.cpu_count() or 1) + 50
    assert data["milliseconds_best"] <= data["milliseconds_median"]
    assert pages["pages"] == len(load_lesson("block").page_ids()) - 1
    assert 0 < pages["milliseconds_median"] <= pages["milliseconds_worst"] < 5000


def run(monkeypatch: pytest.MonkeyPatch, *flags: str, as_json: bool = False) -> list[str]:
    calls: list[list[str]] = []

    def note(command: list[str], check: bool) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(subprocess, "run", note)
    parser = argparse.ArgumentParser()
    ui.register(parser.add_subparsers())
    options = parser.parse_args(["ui", *flags])
    output = Output(as_json=as_json, language="zh", stdout=io.StringIO(), stderr=io.StringIO())
    assert options.run(options, output) == 3
    return calls[0]


def test_the_command_hands_over_to_the_apps_package(monkeypatch: pytest.MonkeyPatch) -> None:
    command = run(monkeypatch, "--starts", "2", "--keys", "9", as_json=True)
    assert command[1:] == ["-m", "minimind_tui.bench", "--lang", "zh", "--starts", "2", "--keys", "9", "--json"]
    assert "--json" not in run(monkeypatch)
    with pytest.raises(UserError, match="--keys"):
        run(monkeypatch, "--keys", "0")
