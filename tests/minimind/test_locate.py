"""What a person may write where a model is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from minimind import paths
from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.model.locate import locate_model, shipped_models
from minimind.training.runs import create_run
from tests.minimind.tiny import save_tiny


def test_a_directory_a_file_in_it_and_a_folder_of_checkpoints(tmp_path: Path) -> None:
    older, newer = save_tiny(tmp_path, 100), save_tiny(tmp_path, 200)
    assert locate_model(older) == locate_model(str(older)) == locate_model(older / "model.safetensors") == older
    assert locate_model(tmp_path) == newer


def test_a_run_means_its_newest_valid_checkpoint(home: Path) -> None:
    run = create_run(TrainConfig(steps=1))
    with pytest.raises(UserError, match="no checkpoint yet"):
        locate_model(run.id)
    older, newer = (save_tiny(run.directory / "checkpoints", step) for step in (100, 200))
    assert locate_model(run.id) == locate_model(run.directory) == locate_model(run.id[-4:]) == newer
    (newer / "model.safetensors").write_bytes(b"damaged")
    assert locate_model(run.id) == older
    (older / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors"):
        locate_model(run.id)


def test_models_that_come_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "shipped_models", lambda: tmp_path / "models")
    assert shipped_models() == ()
    save_tiny(tmp_path).rename(tmp_path / "small-talk")
    (tmp_path / "models").mkdir()
    (tmp_path / "small-talk").rename(tmp_path / "models" / "small-talk")
    assert shipped_models() == ("small-talk",)
    assert locate_model("small-talk") == tmp_path / "models" / "small-talk"
    with pytest.raises(UserError, match=r"smalltalk: no model \(→ small-talk\?\): with weights there are small-talk, "):
        locate_model("smalltalk")


def test_a_preset_has_no_weights() -> None:
    with pytest.raises(UserError, match="mini: no model: it is an architecture without weights"):
        locate_model("mini")


def test_a_mistyped_preset_names_the_nearest_and_all_of_them(home: Path) -> None:
    create_run(TrainConfig(steps=1))
    with pytest.raises(UserError) as caught:
        locate_model("nanno")
    assert caught.value.text.en.startswith("nanno: no model (→ nano?)")
    for text in (caught.value.text.en, caught.value.text.zh):
        assert all(name in text for name in ("→ nano", "mini", "minimind3", "minimind runs list"))
        assert "—" not in text


def test_a_name_that_fits_several_runs_asks_for_more_of_it(home: Path) -> None:
    for _ in range(2):
        create_run(TrainConfig(steps=1))
    with pytest.raises(UserError, match="fits 2 runs"):
        locate_model("20")


def test_names_of_nothing_are_shown_harmlessly() -> None:
    with pytest.raises(UserError, match="no model") as caught:
        locate_model("\x1b[2J/none")
    assert "\x1b" not in caught.value.text.en + caught.value.text.zh
