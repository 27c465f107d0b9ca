"""A run goes on with other settings or data only where that is allowed, and says what differs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from minimind import cli
from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.training import worker
from minimind.training.changes import Difference, change_settings, differences, refuse
from minimind.training.run_files import take_lock
from minimind.training.runs import RunView, create_run
from tests.minimind.training.conftest import SETTINGS
from tests.minimind.training.test_distributed import curve, everything_loaded, run_directory, verdict

__all__ = ["everything_loaded", "run_directory"]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def text_run(run_directory: Callable[..., Path], home: Path) -> Callable[..., Path]:
    """A run on a text file of its own that has come to step 3 of 6."""

    def make(**settings: Any) -> Path:
        text = home.parent / "text.jsonl"
        text.write_text("".join(json.dumps({"text": f"line {n} of a few"}) + "\n" for n in range(200)))
        directory = run_directory(data=[str(text)], **settings)
        assert worker.run(directory) == 0
        shutil.rmtree(directory / "checkpoints" / "step-000006")
        return directory

    return make


def alerts(directory: Path) -> dict[str, str]:
    view = RunView(directory)
    view.refresh()
    view.close()
    return {alert.code: alert.text.en for alert in view.alerts}


def test_changed_data_are_refused_with_what_changed_and_go_on_where_allowed(text_run: Callable[..., Path]) -> None:
    directory = text_run()
    text = Path(RunView(directory).config.data[0])
    before = text.stat().st_size
    text.write_text(text.read_text() + json.dumps({"text": "one more line"}) + "\n")
    assert worker.run(directory) == 2
    said = verdict(directory)["text"]
    assert f"text.jsonl {before} bytes" in said["en"]
    assert f"→ {text.stat().st_size} bytes" in said["en"]
    assert "--allow-changes" in said["en"]
    assert "与训练开始时不同" in said["zh"]
    assert worker.main([str(directory), "--allow-changes"]) == 0
    assert "goes on with changes" in alerts(directory)["changed"]
    assert verdict(directory)["outcome"] == "finished"
    shutil.rmtree(directory / "checkpoints" / "step-000006")
    text.unlink()
    assert worker.run(directory) == 2


def test_a_changed_setting_is_refused_by_the_trainer_too(text_run: Callable[..., Path]) -> None:
    """Somebody edits run.json by hand."""
    directory = text_run()
    path = directory / "run.json"
    request = json.loads(path.read_text())
    path.write_text(json.dumps(request | {"config": request["config"] | {"weight_decay": 0.3, "save_every": 2}}))
    assert worker.run(directory) == 2
    assert "weight_decay 0.1 → 0.3" in verdict(directory)["text"]["en"]
    assert "save_every" not in verdict(directory)["text"]["en"]


def test_settings_change_by_command(text_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    directory = text_run()
    command = ["train", "--run", str(directory), "--detach", "--set", "learning_rate=0.0001", "steps=8"]
    assert cli.main(command) == 2
    assert "learning_rate 0.003 → 0.0001" in capsys.readouterr().err
    assert RunView(directory).config.steps == 6
    change_settings(directory, {"learning_rate": "0.0001", "steps": 8, "save_every": 4}, allow=True)
    assert RunView(directory).config.learning_rate == 1e-4
    assert RunView(directory).request["changes"][0]["settings"]["steps"] == [6, 8]
    assert worker.run(directory) == 0
    rates = curve(directory, "learning_rate")
    assert max(rates) == 8
    assert rates[2] > 1e-3
    assert 0 < rates[4] <= 1e-4
    assert "learning_rate 0.003 → 0.0001" in alerts(directory)["changed"]


def test_what_may_change() -> None:
    config = TrainConfig.from_dict(SETTINGS | {"model": "nano"})
    other = config.replace(save_every=7, processes=2, threads=3)
    free = differences(json.loads(json.dumps(config.to_dict())), other.to_dict())
    assert [change.name for change in free] == ["threads", "processes", "save_every"]
    refuse(free, allowed=False)
    older = {name: value for name, value in config.to_dict().items() if name != "sharding"}
    assert differences(older, config.to_dict()) == []
    with pytest.raises(UserError, match=r"learning_rate 0\.003 → 0\.001"):
        refuse([Difference("learning_rate", 3e-3, 1e-3)], allowed=False)
    refuse([Difference("learning_rate", 3e-3, 1e-3)], allowed=True)
    with pytest.raises(UserError, match="start a new run"):
        refuse([Difference("model", "nano", "mini")], allowed=True)


def test_a_living_run_is_left_alone(home: Path) -> None:
    directory = create_run(TrainConfig()).directory
    lock = take_lock(directory / "run.lock", 0.0)
    assert lock is not None
    with pytest.raises(UserError, match="is running"):
        change_settings(directory, {"save_every": 9}, allow=False)
    os.close(lock)
