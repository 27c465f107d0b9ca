"""Which settings a method has, which values it is advised, and what it cannot begin without."""

from __future__ import annotations

from pathlib import Path

import pytest

from minimind.cli import main
from minimind.config import TRAIN_PRESETS, TrainConfig
from minimind.errors import UserError
from minimind.train_presets import RELEASED, released_recipe, train_preset
from minimind.training.recommend import recommended_config, refuse_incomplete


def test_settings_belong_to_methods() -> None:
    plain, lora = TrainConfig(objective="sft"), TrainConfig(objective="dpo", tune="lora")
    assert (plain.method, lora.method) == ("sft", "dpo-lora")
    assert not {"dpo_beta", "lora_rank", "teacher"} & plain.applying().keys()
    assert {"dpo_beta", "lora_rank", "learning_rate"} <= lora.applying().keys()
    assert "teacher" not in lora.applying()


@pytest.mark.parametrize(
    ("objective", "tune"),
    [("sft", "full"), ("sft", "lora"), ("dpo", "full"), ("dpo", "lora"), ("distillation", "full")],
)
def test_advice_is_a_config_and_has_one_duration(objective: str, tune: str) -> None:
    for model in ("nano", "mini"):
        for values in (train_preset(model, objective, tune), released_recipe(objective, tune)):
            TrainConfig.from_dict(values | {"objective": objective, "tune": tune})


def test_lora_is_advised_no_lower_rate_and_unmeasured_sizes_the_released_one() -> None:
    for objective in ("sft", "dpo"):
        full, lora = (train_preset("nano", objective, tune) for tune in ("full", "lora"))
        assert lora["learning_rate"] >= full["learning_rate"]
        assert lora.keys() >= full.keys()
    assert train_preset("mini", "dpo")["learning_rate"] == RELEASED["dpo"]["learning_rate"] == 4e-8
    assert train_preset("mini", "sft", "lora") == RELEASED["sft-lora"]
    assert TRAIN_PRESETS["nano", "sft"].items() <= train_preset("nano", "sft").items()
    chosen = recommended_config("sft", {"model": "nano-chat", "tune": "lora", "steps": "5"})
    assert (chosen.learning_rate, chosen.minutes, chosen.steps) == (3e-3, None, 5)


def test_what_a_method_cannot_do_without() -> None:
    with pytest.raises(UserError, match="name one with --teacher"):
        refuse_incomplete(TrainConfig(objective="distillation"))
    with pytest.raises(UserError, match="nano is only an architecture"):
        refuse_incomplete(TrainConfig(objective="sft", tune="lora"))
    with pytest.raises(UserError, match="lora_targets is empty"):
        TrainConfig(lora_targets=())
    with pytest.raises(UserError, match=r"lora_targets = .* is not allowed: use q_proj"):
        TrainConfig(lora_targets=("gate",))


def test_the_command_line_takes_a_method_from_a_file_and_refuses_flags_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIMIND_HOME", str(tmp_path / "home"))
    file = tmp_path / "lora.toml"
    file.write_text('objective = "dpo"\nmodel = "nano-chat"\ntune = "lora"\nlora_targets = ["v_proj"]\nsteps = 3\n')
    assert main(["train", "--config", str(file), "--lora-rank", "4", "--create-only"]) == 0
    made = Path(capsys.readouterr().out.strip())
    assert "-dpo-lora-" in made.name
    assert main(["runs", "show", made.name]) == 0
    shown = capsys.readouterr().out
    assert "v_proj" in shown
    assert "distill_alpha" not in shown
    assert main(["train", "sft", "--model", "nano-chat", "--dpo-beta", "0.3", "--create-only"]) == 2
    assert "--dpo-beta is for dpo, and this is sft: leave it out" in capsys.readouterr().err
    assert main(["train", "--create-only"]) == 2
    assert "say what to do" in capsys.readouterr().err
