"""The settings a person gets who names only what to do and with which model. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minimind import hub
from minimind.config import MODEL_PRESETS, ModelConfig, TrainConfig, released_recipe, train_preset
from minimind.declaration import read_settings
from minimind.errors import UserError
from minimind.interop.configs import model_config
from minimind.model.locate import CONFIG, locate_model
from minimind.train_config import DURATIONS

DEFAULT_MODEL = "nano"


def preset_of(model: str) -> str | None:
    """The preset that `model` is, or that the checkpoint or run it means has the architecture of; None for neither.

    The size of the vocabulary does not matter. Raises UserError where there is no such model.
    """
    if model in MODEL_PRESETS:
        return model
    config = architecture_of(model)
    for name, preset in MODEL_PRESETS.items():
        if config is not None and config.replace(vocab_size=preset.vocab_size) == preset:
            return name
    return None


def architecture_of(model: str) -> ModelConfig | None:
    """The architecture of a preset, or of the checkpoint or run that `model` means; None where no file tells it.

    Raises UserError where there is no such model.
    """
    if model in MODEL_PRESETS:
        return MODEL_PRESETS[model]
    path = locate_model(model)
    path = (path if path.is_dir() else path.parent) / CONFIG
    return model_config(read_settings(path), str(path)) if path.is_file() else None


def recommended_config(objective: str, given: Mapping[str, Any]) -> TrainConfig:
    """`given` settings (values or text), completed by those measured to be good for the model and the objective.

    With ``recipe = "released"`` they are completed by those of MiniMind's own scripts.
    A duration that is given (steps, minutes or epochs) replaces the recommended one. A run or checkpoint to start from
    is resolved to its directory, a downloaded data set to its file, so that the run keeps its starting point whatever
    becomes of the name. Raises UserError for settings that are refused, and for fine-tuning that names no model to
    start from.
    """
    chosen = {name: value for name, value in given.items() if value is not None}
    if objective != "pretrain" and "model" not in chosen:
        raise UserError(
            f"{objective} goes on from a trained model: name one with --model (a run: `minimind runs list`, or `last`)",
            f"{objective} 要从训练过的模型开始：请用 --model 指定（训练编号见 `minimind runs list`，或 `last`）",
        )
    model = str(chosen.get("model", DEFAULT_MODEL))
    preset = preset_of(model)
    tune = str(chosen.get("tune", "full"))
    values = train_preset(preset or "", objective, tune)
    if chosen.get("recipe") == "released":
        values = released_recipe(objective, tune)
    if any(name in chosen for name in DURATIONS):
        values = {name: value for name, value in values.items() if name not in DURATIONS}
    if model not in MODEL_PRESETS:
        chosen["model"] = str(locate_model(model).absolute())
    config = TrainConfig.from_dict(values | chosen | {"objective": objective})
    if config.teacher is not None:
        config = config.replace(teacher=str(locate_model(config.teacher).absolute()))
    return config.replace(data=tuple(map(_data_file, config.data)))


def refuse_incomplete(config: TrainConfig) -> None:
    """Raise UserError where a method lacks what it cannot do without: a teacher, or trained weights to correct."""
    if config.objective == "distillation" and config.teacher is None:
        raise UserError(
            "distillation learns from a trained model: name one with --teacher (a run, a folder or a shipped model)",
            "蒸馏要向训练好的模型学习：请用 --teacher 指定（训练编号、目录或自带的模型）",
        )
    if config.tune == "lora" and config.model in MODEL_PRESETS:
        raise UserError(
            f"tune = 'lora' corrects a trained model, and {config.model} is only an architecture: name one with --model",
            f"tune = 'lora' 用于修正训练好的模型，而 {config.model} 只是结构：请用 --model 指定一个模型",
        )


def _data_file(name: str) -> str:
    """The file of a downloaded data set; any other name, and that of a file which is there, as it is."""
    downloaded = None if Path(name).is_file() else hub.downloaded_dataset(name)
    return name if downloaded is None else str(downloaded)
