"""Figures for other programs: files, event files, and trackers of which a stand-in is enough."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from minimind.errors import UserError
from minimind.events import Mark, Sample, Scalars
from minimind.preferences import Preferences, save_preferences
from minimind.training import follower
from minimind.training.follower import Follower
from minimind.training.run_export import EXPORT_FORMATS, export_run
from minimind.training.runs import Recorder, RunView
from minimind.training.trackers import open_tracker, released_values


@pytest.fixture
def recorded(run_directory: Path) -> Path:
    """A run that went back from step 3 to step 2."""
    with Recorder(run_directory) as recorder:
        recorder.record(Mark("started", 0))
        recorder.record(Scalars(0, {"validation_loss": 8.0}))
        for step in (1, 2, 3):
            recorder.record(Scalars(step, {"loss": 8.0 - step, "eta_seconds": 120.0}))
        recorder.record(Sample(3, "a", "taken back"))
        recorder.record(Mark("started", 2))
        recorder.record(Scalars(3, {"loss": math.inf}))
        recorder.record(Mark("rolled-back", 2))
        recorder.record(Scalars(3, {"loss": 4.5, "=evil()": 1.0}))
        recorder.record(Scalars(3, {"validation_loss": math.nan}))
        recorder.record(Sample(3, "Once", " upon a time 从前", "story"))
    return run_directory


class FakeTracker(ModuleType):
    """Keeps the calls that trackio and wandb share."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[tuple[str, Any]] = []

    def init(self, **about: Any) -> None:
        self.calls.append(("init", about))

    def log(self, values: dict[str, float], step: int) -> None:
        self.calls.append(("log", (step, values)))

    def finish(self) -> None:
        self.calls.append(("finish", None))


def test_a_csv_file_has_a_line_a_step(recorded: Path, tmp_path: Path) -> None:
    place = tmp_path / "new" / "run.csv"
    assert export_run(recorded, "csv", place) == 4
    with place.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["loss"] for row in rows] == ["", "7.0", "6.0", "4.5"]
    assert rows[3]["validation_loss"] == "nan"
    assert "'=evil()" in rows[0]


def test_json_lines_are_strict_json(recorded: Path, tmp_path: Path) -> None:
    export_run(recorded, "jsonl", tmp_path / "x.jsonl", "released")
    lines = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert lines[1]["epoch_time"] == 2.0
    assert "eta_seconds" not in lines[1]
    assert lines[3]["validation_loss"] is None
    assert lines[3]["time"] > 1e9


def test_event_files_are_read_back_by_tensorboard(recorded: Path, tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "events.out.tfevents.old").write_bytes(b"from before")
    export_run(recorded, "tensorboard", tmp_path / "board")
    found = accumulators.EventAccumulator(str(tmp_path / "board"))
    found.Reload()
    losses = found.Scalars("loss")
    assert [(event.step, event.value) for event in losses] == [(1, 7.0), (2, 6.0), (3, 4.5)]
    assert losses[0].wall_time > 1e9
    (text,) = found.Tensors("sample/story")
    assert text.tensor_proto.string_val[0].decode() == "Once ▸  upon a time 从前"


@pytest.mark.parametrize("package", ["trackio", "wandb"])
def test_trackers_get_a_run_of_their_own(recorded: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    module = FakeTracker(package)
    monkeypatch.setitem(sys.modules, package, module)
    assert export_run(recorded, package, recorded) == 4  # type: ignore[arg-type]
    assert [name for name, _ in module.calls] == ["init", *["log"] * 4, "finish"]
    about = module.calls[0][1]
    assert (about["project"], about["resume"], about["name"]) == ("minimind", "allow", recorded.name)
    assert about["config"]["batch_size"] == 16
    assert about.get("id") == (recorded.name if package == "wandb" else None)
    assert module.calls[-2][1] == (3, {"loss": 4.5, "=evil()": 1.0})


@pytest.mark.parametrize("package", ["tensorboard", "trackio", "wandb"])
def test_a_missing_package_is_one_line(recorded: Path, monkeypatch: pytest.MonkeyPatch, package: Any) -> None:
    for name in [package, *(name for name in sys.modules if name.startswith(f"{package}."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=f"{package} is not installed: pip install {package}"):
        export_run(recorded, package, recorded.parent / "board")


def test_a_tracker_that_refuses_is_one_line(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("wandb")
    module.init = lambda **_: 1 / 0
    monkeypatch.setitem(sys.modules, "wandb", module)
    with pytest.raises(UserError, match="wandb cannot be opened: division by zero"):
        open_tracker("wandb", RunView(recorded))


def test_nothing_recorded_and_nowhere_to_write(recorded: Path, tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "file" / "x.csv"):
        (tmp_path / "file").touch()
        with pytest.raises(UserError, match="cannot be written"):
            export_run(recorded, "csv", wrong)
    (recorded / "events.jsonl").write_text("")
    with pytest.raises(UserError, match="nothing is recorded"):
        export_run(recorded, "csv", tmp_path / "x.csv")


def test_names_of_the_released_trainers() -> None:
    ours = {"loss": 1.0, "kl": 2.0, "answer_length": 3.0, "reward_spread": 4.0, "eta_seconds": 90.0}
    named = {"loss": 1.0, "kl_ref": 2.0, "avg_response_len": 3.0, "group_reward_std": 4.0, "epoch_time": 1.5}
    assert released_values(ours) == named
    experts = released_values({"loss": 2.0, "load_balancing_loss": 0.5})
    assert experts == {"loss": 2.5, "logits_loss": 2.0, "aux_loss": 0.5}
    assert set(EXPORT_FORMATS) == {"csv", "jsonl", "tensorboard", "trackio", "wandb"}


def test_a_follower_goes_on_where_the_last_one_stopped(run_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = FakeTracker("wandb")
    monkeypatch.setitem(sys.modules, "wandb", module)
    preferences = Preferences(track="wandb")
    recorder = Recorder(run_directory)
    for step in (1, 2):
        recorder.record(Scalars(step, {"loss": 1.0}))
    Follower(RunView(run_directory), preferences, open_tracker("wandb", RunView(run_directory))).take_new()
    recorder.record(Scalars(3, {"loss": 0.5}))
    recorder.finish({"outcome": "finished"})
    save_preferences(preferences)
    follower.run(run_directory)
    steps = [call[1][0] for call in module.calls if call[0] == "log"]
    assert steps == [1, 2, 2, 3]
    assert module.calls[-1][0] == "finish"


def test_a_follower_without_its_tracker_leaves_in_peace(
    run_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    save_preferences(Preferences(track="trackio"))
    with Recorder(run_directory) as recorder:
        recorder.finish({"outcome": "finished"})
    follower.run(run_directory)
    assert "trackio is not installed" in capsys.readouterr().err
    follower.run(run_directory.parent / "gone")
    assert "gone" in capsys.readouterr().err
