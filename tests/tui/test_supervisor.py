"""What the window knows of runs, from their directories alone."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Mark, Progress, Sample, to_json
from minimind.training import launch
from minimind.training.runs import Recorder, status_of
from minimind_tui import supervisor
from minimind_tui.run_watch import RunWatch
from minimind_tui.supervisor import RunList
from tests.tui.fake_runs import alive, hostile_run, make_run, scalars


def test_a_list_of_nothing(home: Path) -> None:
    assert RunList().poll() == []
    assert not home.exists()


def test_rows_say_how_far_and_how_good(home: Path) -> None:
    directory = make_run(steps=60, checkpoints=(50,), name="mine")
    done = make_run(
        steps=100, verdict={"outcome": "finished"}, config=TrainConfig(objective="sft", model="/x/step-000050")
    )
    runs = RunList()
    with alive(directory):
        first, second = sorted(runs.poll(), key=lambda run: run.step or 0)
        assert (first.id, first.status.state, first.step, first.share) == (directory.name, "running", 60, 0.6)
        assert first.loss == pytest.approx(1.1)
        assert first.best_loss == pytest.approx(1.3)
        assert first.eta_seconds == pytest.approx(20.0)
        assert (first.name, first.objective, first.model) == ("mine", "pretrain", "nano")
        assert first.checkpoints == 1
        assert first.size > 1_000_000
        assert first.newest == directory / "checkpoints" / "step-000050"
        assert (second.directory, second.status.state, second.share, second.eta_seconds) == (
            done,
            "finished",
            1.0,
            None,
        )
        with Recorder(directory) as recorder:
            recorder.record(scalars(70))
        (directory / "checkpoints" / "step-000050" / "MANIFEST.json").unlink()
        (again,) = [run for run in runs.poll() if run.directory == directory]
        assert (again.step, again.checkpoints) == (70, 0)
        assert again.best_loss == pytest.approx(1.2 + 6 / 70)
    (ended,) = [run for run in runs.poll() if run.directory == directory]
    assert ended.status.state == "lost"
    runs.close()


def test_runs_that_come_and_go_and_one_that_is_no_run(home: Path) -> None:
    runs = RunList()
    first = make_run(steps=3)
    assert [run.directory for run in runs.poll()] == [first]
    second = make_run(steps=3)
    assert {run.directory for run in runs.poll()} == {first, second}
    supervisor.delete(first)
    assert [run.directory for run in runs.poll()] == [second]
    (second / "run.json").write_text("{", encoding="utf-8")
    (third := second.with_name("2026-01-01-sft-0000")).mkdir()
    (third / "events.jsonl").touch()
    fresh = RunList()
    states = {run.directory: run.status.state for run in fresh.poll()}
    assert states == {second: "unreadable", third: "unreadable"}
    fresh.close()
    runs.close()


def test_a_run_at_rest_is_not_read_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(steps=60, verdict={"outcome": "finished"})
    runs = RunList()
    before = runs.poll()
    monkeypatch.setattr("minimind_tui.supervisor.RunView.glance", None)
    assert runs.poll() == before
    runs.close()


def bytes_read() -> int:
    """What this process has read so far, from whatever file."""
    fields = Path("/proc/self/io").read_text(encoding="ascii").split()
    return int(fields[fields.index("rchar:") + 1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts what Linux counts")
def test_watching_ten_long_runs_reads_little(home: Path) -> None:
    """A poll of runs at rest reads a little of each, one of runs at work no more than the ends of their files."""
    directories = [make_run(steps=1000, total=100_000) for _ in range(10)]
    runs = RunList()
    with contextlib.ExitStack() as stack:
        for directory in directories:
            stack.enter_context(alive(directory))
        for _ in range(8):
            runs.poll()
        before = bytes_read()
        assert len(runs.poll()) == 10
        at_rest = bytes_read() - before
        for directory in directories:
            with Recorder(directory) as recorder:
                recorder.record(scalars(1001, 100_000))
        before = bytes_read()
        assert {run.step for run in runs.poll()} == {1001}
        at_work = bytes_read() - before
    runs.close()
    assert at_rest < 10 * 32_000
    assert at_work < at_rest + 10 * 80_000


def test_best_losses_of_long_runs_are_found_over_several_polls(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(steps=400, verdict={"outcome": "finished"})
    monkeypatch.setattr("minimind_tui.supervisor._SLICE", 4096)
    monkeypatch.setattr("minimind_tui.supervisor._SCAN_BYTES", 8192)
    runs = RunList()
    found = [runs.poll()[0].best_loss for _ in range(30)]
    assert found[0] != found[-1]
    assert found[-1] == pytest.approx(1.2 + 6 / 400)
    runs.close()


@pytest.mark.parametrize(
    ("model", "title"),
    [("nano", "nano"), ("/a/2026-run-1/checkpoints/step-000120", "2026-run-1 · step 120"), ("/a/b/", "b"), ("/", "/")],
)
def test_models_are_named_as_a_person_would(model: str, title: str) -> None:
    assert supervisor.model_title(model) == title


def test_a_watch_hands_over_everything_once_and_then_what_is_new(home: Path) -> None:
    directory = make_run(steps=60)
    watch = RunWatch(directory)
    first = watch.poll()
    assert first.curves is not None
    assert first.curves["loss"][0] == list(range(1, 61))
    assert (first.step, first.loading, len(first.samples)) == (60, None, 2)
    second = watch.poll()
    assert (second.curves, second.points) == (None, ())
    with Recorder(directory) as recorder:
        recorder.record(scalars(61))
        recorder.record(Sample(61, "a", "b"))
    third = watch.poll()
    assert ("loss", 61, scalars(61).values["loss"]) in third.points
    assert third.samples[-1].step == 61
    watch.close()


def test_a_watch_draws_anew_after_the_run_went_back(home: Path) -> None:
    directory = make_run(steps=60)
    watch = RunWatch(directory)
    watch.poll()
    with Recorder(directory) as recorder:
        recorder.record(Mark("started", 50))
        recorder.record(scalars(51))
    snapshot = watch.poll()
    assert snapshot.curves is not None
    assert snapshot.curves["loss"][0] == list(range(1, 52))
    watch.close()


def test_time_spent_counts_every_start_once_with_what_came_before_its_first_step(home: Path) -> None:
    directory = make_run()
    with (directory / "events.jsonl").open("w", encoding="utf-8") as file:
        for t, event in (
            (1.0, Progress(1, 2)),
            (40.0, Mark("started", 0)),
            (50.0, scalars(1)),
            (0.0, Progress(1, 2)),
            (3.0, Mark("started", 0)),
            (8.0, scalars(1)),
        ):
            file.write(to_json(event, t=t, time=0.0) + "\n")
    watch = RunWatch(directory)
    assert watch.poll().elapsed == 58.0
    watch.close()


def test_a_watch_takes_a_long_run_in_by_slices(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimind_tui.run_watch._POLL_SECONDS", 0.0)
    monkeypatch.setattr("minimind_tui.run_watch.SLICE", 8192)
    watch = RunWatch(make_run(steps=400))
    shares = [watch.poll().loading for _ in range(20)]
    steps = [share for share in shares if share is not None]
    assert len(steps) > 3
    assert steps == sorted(steps)
    assert 0 < steps[0] < 0.5
    assert shares[-1] is None
    assert watch.poll().step == 400
    watch.close()


def test_a_watch_of_a_deleted_run_says_so(home: Path) -> None:
    directory = make_run(steps=3)
    watch = RunWatch(directory)
    watch.poll()
    supervisor.delete(directory)
    with pytest.raises(FileNotFoundError):
        watch.poll()
    with pytest.raises(UserError):
        RunWatch(directory)


def test_hostile_text_is_clean_where_a_status_is_shown(home: Path) -> None:
    status = status_of(hostile_run())
    assert "\x1b" not in status.reason.en + status.reason.zh + "".join(status.log_lines)


def test_a_run_that_cannot_be_started_leaves_nothing_behind(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(directory: Path) -> None:
        raise UserError(f"{directory.name}: cannot be started", "无法启动")

    monkeypatch.setattr(launch, "launch", refuse)
    with pytest.raises(UserError, match="cannot be started"):
        supervisor.start(TrainConfig(steps=1))
    assert os.listdir(home / "runs") == []  # noqa: PTH208
