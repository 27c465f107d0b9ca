"""A run outlives whoever started it, its end is recorded, and nothing of it stays behind (faults T1 to T13)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Mark
from minimind.training import launch
from minimind.training.liveness import RunProcesses, read_processes
from minimind.training.processes import ProcessIdentity, identify, is_alive, processes_with_variable
from minimind.training.run_files import LOCK, RUN_VARIABLE, lock_is_held
from minimind.training.runs import RunView, create_run, delete_run, list_runs, request, status_of

HERE = Path(__file__).parent
ROOT = HERE.parents[2]


def processes_of(directory: Path) -> RunProcesses:
    found = read_processes(directory)
    assert found is not None
    assert found.shim is not None
    assert found.trainer is not None
    return found


def kill(identity: ProcessIdentity | None) -> None:
    assert identity is not None
    os.kill(identity.pid, signal.SIGKILL)


def left_of(directory: Path) -> list[ProcessIdentity]:
    """The living processes of a run besides its shim: the trainer and its descendants."""
    return [identity for identity in processes_with_variable(RUN_VARIABLE, str(directory)) if is_alive(identity)]


def steps_done(directory: Path) -> int:
    view = RunView(directory)
    view.refresh()
    view.close()
    return view.step


def exit_record(directory: Path) -> dict[str, object]:
    return dict(json.loads((directory / "exit.json").read_text()))


def test_a_run_is_trained_to_its_end(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory, steps=20))
    status = status_of(run_directory)
    assert (status.state, status.supervised) == ("running", True)
    until(lambda: not status_of(run_directory).live)
    status = status_of(run_directory)
    assert (status.state, status.code, status.signal) == ("finished", 0, None)
    assert status.max_rss_bytes is not None
    assert 2**20 < status.max_rss_bytes < 2**30
    record = exit_record(run_directory)
    assert (record["swept"], record["stop_requested"], record["escalated"]) == (0, False, False)
    assert steps_done(run_directory) == 20
    assert left_of(run_directory) == []
    with pytest.raises(UserError, match="was started before"):
        launch.launch(run_directory, command=fake(run_directory))
    with pytest.raises(UserError, match="is finished"):
        launch.resume(run_directory, command=fake(run_directory))


def test_t1_the_starter_may_be_killed_at_once(run_directory: Path, fake, until) -> None:
    program = "import os, sys; from minimind.training import launch; launch.launch(sys.argv[1], command=sys.argv[2:]); "
    program += "os.kill(os.getpid(), 9)"
    starter = [sys.executable, "-c", program, str(run_directory), *fake(run_directory, steps=100)]
    assert subprocess.run(starter, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    shim = processes_of(run_directory).shim
    assert is_alive(shim)
    until(lambda: status_of(run_directory).state == "finished")
    assert steps_done(run_directory) == 100


def test_t2_a_lost_connection_does_not_end_it(home: Path, fake, until) -> None:
    kept, lost = create_run(TrainConfig()).directory, create_run(TrainConfig()).directory
    command = [part.replace(str(kept), "{}") for part in fake(kept, steps=100_000)]
    subprocess.run([sys.executable, str(HERE / "hang_up.py"), str(kept), str(lost), *command], check=True, timeout=60)
    until(lambda: steps_done(kept) > 3)
    before = steps_done(kept), steps_done(lost)
    until(lambda: steps_done(kept) > before[0] + 20)
    assert steps_done(lost) == before[1]  # the plain child, for comparison, died with its terminal
    assert status_of(kept).state == "running"


def test_t3_a_killed_trainer_is_recorded(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory))
    until(lambda: steps_done(run_directory) > 2)
    kill(processes_of(run_directory).trainer)
    until(lambda: not status_of(run_directory).live, 5)
    status = status_of(run_directory)
    assert (status.state, status.signal, status.code) == ("killed", signal.SIGKILL, None)
    assert not exit_record(run_directory)["stop_requested"]


def test_t4_a_killed_shim_does_not_end_it(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory, steps=150))
    kill(processes_of(run_directory).shim)
    until(lambda: not status_of(run_directory).supervised)
    assert status_of(run_directory).state == "running"
    with pytest.raises(UserError, match="already running"):
        launch.resume(run_directory, command=fake(run_directory))
    until(lambda: not status_of(run_directory).live)
    status = status_of(run_directory)
    assert (status.state, status.supervised) == ("finished", False)
    assert steps_done(run_directory) == 150


def test_t5_both_killed_is_called_lost_and_can_be_resumed(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory, children=2))
    until(lambda: steps_done(run_directory) > 2)
    both = processes_of(run_directory)
    kill(both.shim)
    kill(both.trainer)
    until(lambda: status_of(run_directory).state == "lost")
    assert len(left_of(run_directory)) == 2
    launch.resume(run_directory, command=fake(run_directory, steps=5))
    until(lambda: status_of(run_directory).state == "finished")
    assert left_of(run_directory) == []
    assert (exit_record(run_directory)["code"], exit_record(run_directory)["swept"]) == (0, 2)


def test_t5_the_last_starts_end_is_not_taken_for_this_ones(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory))
    until(lambda: steps_done(run_directory) > 2)
    launch.stop(run_directory)
    until(lambda: status_of(run_directory).state == "stopped")
    launch.resume(run_directory, command=fake(run_directory))
    both = processes_of(run_directory)
    kill(both.shim)
    kill(both.trainer)
    until(lambda: not status_of(run_directory).live)
    assert status_of(run_directory).state == "lost"


def test_t8_of_racing_starts_exactly_one_wins(run_directory: Path, fake, until) -> None:
    answers: list[str] = []
    stop_probing = threading.Event()
    probes = [0]

    def start() -> None:
        try:
            launch._start(RunView(run_directory), fake(run_directory), 1.0, 1.0)
            answers.append("won")
        except UserError as error:
            answers.append(str(error).partition(": ")[2])

    def probe() -> None:
        while not stop_probing.is_set():
            lock_is_held(run_directory / LOCK)
            status_of(run_directory)
            probes[0] += 1

    threads = [threading.Thread(target=start) for _ in range(8)]
    probers = [threading.Thread(target=probe) for _ in range(2)]
    for thread in probers + threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop_probing.set()
    for thread in probers:
        thread.join()
    assert sorted(answers) == ["is already running"] * 7 + ["won"]
    assert probes[0] > 10
    assert status_of(run_directory).state == "running"
    until(lambda: steps_done(run_directory) > 2)
    view = RunView(run_directory)
    view.refresh()
    assert [mark.what for mark in view.marks] == ["started"]
    view.close()


def test_t9_what_the_trainer_started_is_swept(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory, children=3))
    until(lambda: len(left_of(run_directory)) == 4)  # the trainer and three in sessions of their own
    kill(processes_of(run_directory).trainer)
    until(lambda: not status_of(run_directory).live)
    assert left_of(run_directory) == []
    assert exit_record(run_directory)["swept"] == 3


def test_t9_without_the_shim_force_ends_all_of_it(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory, children=2, deaf=1))
    until(lambda: len(left_of(run_directory)) == 3)
    kill(processes_of(run_directory).shim)
    until(lambda: not status_of(run_directory).supervised)
    launch.stop(run_directory)
    assert status_of(run_directory).state == "stopping"
    launch.stop(run_directory, force=True)
    until(lambda: left_of(run_directory) == [])
    assert not status_of(run_directory).live


def test_t10_a_deaf_trainer_is_ended_by_force(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory, deaf=1), wish_seconds=0.1, grace_seconds=0.3)
    until(lambda: steps_done(run_directory) > 2)
    launch.stop(run_directory)
    assert status_of(run_directory).state == "stopping"
    until(lambda: not status_of(run_directory).live, 10)
    record = exit_record(run_directory)
    assert (record["terminated"], record["escalated"], record["signal"]) == (True, True, signal.SIGKILL)
    status = status_of(run_directory)
    assert (status.state, status.resumable) == ("stopped", True)
    assert "by force" in status.reason.en


def test_force_skips_the_ladder(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory, deaf=1, children=1))
    launch.stop(run_directory, force=True)
    until(lambda: not status_of(run_directory).live, 10)
    assert left_of(run_directory) == []
    assert "by force" in status_of(run_directory).reason.en


@pytest.mark.parametrize("who", ["shim", "trainer"])
def test_sigterm_to_either_means_save_and_leave(run_directory: Path, fake, until, who: str) -> None:
    launch.launch(run_directory, command=fake(run_directory))
    until(lambda: steps_done(run_directory) > 2)
    os.kill(getattr(processes_of(run_directory), who).pid, signal.SIGTERM)
    until(lambda: not status_of(run_directory).live, 5)
    assert status_of(run_directory).state == "stopped"
    assert exit_record(run_directory)["code"] == 0


def test_pause_go_on_save_and_stop(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory))
    until(lambda: steps_done(run_directory) > 2)
    request(run_directory, want="pause")
    until(lambda: status_of(run_directory).state == "paused")
    at_rest = steps_done(run_directory)
    time.sleep(0.1)
    assert steps_done(run_directory) == at_rest
    request(run_directory, want="run")
    until(lambda: steps_done(run_directory) > at_rest)
    assert status_of(run_directory).state == "running"
    request(run_directory, save=True)
    view = RunView(run_directory)

    def saved() -> int:
        view.refresh()
        return sum(mark.what == "saved" for mark in view.marks)

    until(lambda: saved() == 1)
    request(run_directory, want="pause")
    until(lambda: status_of(run_directory).state == "paused")
    launch.stop(run_directory)
    until(lambda: not status_of(run_directory).live)
    assert status_of(run_directory).state == "stopped"
    assert exit_record(run_directory)["stop_requested"] is True
    with pytest.raises(UserError, match="is not running"):
        launch.stop(run_directory)
    assert saved() == 1
    view.close()


def test_a_resumed_run_forgets_the_old_wishes_and_goes_on(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory))
    until(lambda: steps_done(run_directory) > 2)
    request(run_directory, save=True, learning_rate=0.5)
    launch.stop(run_directory)
    until(lambda: status_of(run_directory).state == "stopped")
    stopped_at = steps_done(run_directory)
    launch.resume(run_directory, command=fake(run_directory, steps=stopped_at + 30))
    control = launch.read_control(run_directory)
    assert (control.want, control.save, control.learning_rate) == ("run", 0, 0.5)
    until(lambda: status_of(run_directory).state == "finished")
    view = RunView(run_directory)
    view.refresh()
    assert [mark for mark in view.marks if mark.what == "started"] == [Mark("started", 0), Mark("started", stopped_at)]
    assert view.series["loss"].x == list(range(1, stopped_at + 31))
    view.close()


def test_a_failing_trainer_shows_the_end_of_its_log(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory, die=3))
    until(lambda: not status_of(run_directory).live)
    status = status_of(run_directory)
    assert (status.state, status.code) == ("failed", 3)
    assert status.log_lines == ("ValueError: made to fail ␛[31m",)
    assert status.log_lines[0] in status.reason.en


def test_a_trainer_out_of_memory_is_told_from_a_failing_one(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory, die=12))
    until(lambda: not status_of(run_directory).live)
    assert status_of(run_directory).state == "out-of-memory"


def test_a_trainer_that_cannot_be_started_is_told_at_once(run_directory: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be started: .*no-such-program"):
        launch.launch(run_directory, command=["/no-such-program"])
    status = status_of(run_directory)
    assert (status.state, status.resumable) == ("failed", True)
    assert "no-such-program" in status.reason.en


def test_a_shim_that_cannot_work_is_told(run_directory: Path, monkeypatch: pytest.MonkeyPatch, fake) -> None:
    (run_directory / "run.lock").mkdir()
    with pytest.raises(UserError, match="cannot be started: IsADirectoryError"):
        launch.launch(run_directory, command=fake(run_directory))
    monkeypatch.setattr(sys, "executable", "/no-such-python")
    with pytest.raises(UserError, match=r"cannot be started: .*no-such-python"):
        launch.launch(run_directory, command=fake(run_directory))


def test_ten_runs_are_watched_at_once(home: Path, fake, until) -> None:
    directories = [create_run(TrainConfig()).directory for _ in range(10)]
    for directory in directories:
        launch.launch(directory, command=fake(directory, steps=40, seconds=0.02))
    views = [RunView(directory) for directory in directories]

    def all_ended() -> bool:
        ended = [not view.status().live for view in views]
        for view in views:
            view.refresh()
        return all(ended)

    until(all_ended, 30)
    for view in views:
        assert view.status().state == "finished"
        assert view.series["loss"].x == list(range(1, 41))
        view.close()
    assert {view.id for view in list_runs()} == {directory.name for directory in directories}


def test_a_living_run_is_not_deleted_and_a_stopped_one_is(run_directory: Path, fake, until) -> None:
    launch.launch(run_directory, command=fake(run_directory))
    with pytest.raises(UserError, match="not deleted"):
        delete_run(run_directory)
    launch.stop(run_directory)
    until(lambda: not status_of(run_directory).live)
    delete_run(run_directory)
    assert not run_directory.exists()


def test_the_shim_is_in_nobodys_session_and_keeps_nothing_open(run_directory: Path, fake) -> None:
    read_end, write_end = os.pipe()
    os.set_inheritable(write_end, True)
    launch.launch(run_directory, command=fake(run_directory))
    os.close(write_end)
    found = processes_of(run_directory)
    assert os.read(read_end, 1) == b""  # nobody inherited the other end
    os.close(read_end)
    for identity in (found.shim, found.trainer):
        assert identity is not None
        assert os.getsid(identity.pid) not in (os.getsid(0), identity.pid if identity is found.shim else None)
        opened = {str(link.readlink()) for link in Path(f"/proc/{identity.pid}/fd").iterdir()}
        assert str(run_directory / "run.lock") in opened
        assert not [path for path in opened if path.startswith("/dev/pts")]
    assert os.getpgid(found.trainer.pid) == found.trainer.pid


def test_the_trainer_gets_our_environment_without_the_windows(
    run_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTUAL_DRIVER", "x")
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror")
    monkeypatch.setenv("PYTHONPATH", "/mine")
    environment = launch.trainer_environment()
    assert not [name for name in environment if name.startswith("TEXTUAL")]
    assert environment["HF_ENDPOINT"] == "http://mirror"
    assert environment["PYTHONUNBUFFERED"] == "1"
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/mine"]
    assert launch.trainer_command(run_directory)[1:] == ["-P", "-m", "minimind.training.worker", str(run_directory)]


def test_relative_paths_start_where_the_run_was_asked_for(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    asked_in = tmp_path / "project"
    asked_in.mkdir()
    monkeypatch.chdir(asked_in)
    directory = create_run(TrainConfig()).directory
    monkeypatch.chdir(tmp_path)
    tell = "import os, pathlib, sys; pathlib.Path(sys.argv[1], 'cwd').write_text(os.getcwd())"
    launch.launch(directory, command=[sys.executable, "-S", "-c", tell, str(directory)])
    until(lambda: not status_of(directory).live)
    assert (directory / "cwd").read_text() == str(asked_in)
    monkeypatch.undo()
    asked_in.rmdir()
    launch.resume(directory, command=[sys.executable, "-S", "-c", tell, str(directory)])
    until(lambda: not status_of(directory).live)
    assert (directory / "cwd").read_text() == str(directory)


def test_another_machines_run_is_taken_over_only_when_told(run_directory: Path, fake, until) -> None:
    stranger = identify(os.getpid())._asdict() | {"host": "gpu-7", "boot": "7", "start": "1"}
    (run_directory / "proc.json").write_text(json.dumps({"shim": stranger, "trainer": stranger}))
    with pytest.raises(UserError, match="started on gpu-7"):
        launch.resume(run_directory, command=fake(run_directory))
    with pytest.raises(UserError, match="not deleted, started on gpu-7"):
        delete_run(run_directory)
    launch.resume(run_directory, take_over=True, command=fake(run_directory, steps=3))
    until(lambda: status_of(run_directory).state == "finished")
    (run_directory / "proc.json").write_text(json.dumps({"shim": stranger, "trainer": stranger}))
    for name in ("exit.json", "final.json"):
        (run_directory / name).unlink()
    assert status_of(run_directory).state == "elsewhere"
    delete_run(run_directory, take_over=True)
    assert not run_directory.exists()
