"""The models a person can talk to or train on from here: those shipped, and every checkpoint of every run. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minimind import paths
from minimind.model.locate import CONFIG, shipped_models
from minimind.safe_text import clean_line
from minimind.training.run_files import read_json
from minimind.training.runs import list_runs

DEFAULT_MODEL = "nano-chat"
"""The shipped model that the first chat is with."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be opened: `path` for the child, `title` for a person; `time` is Unix time, 0 if shipped."""

    path: str
    title: str
    objective: str
    step: int | None
    time: float

    @property
    def is_shipped(self) -> bool:
        """Whether it comes with the package."""
        return self.time == 0.0


def list_models(root: Path | None = None) -> list[Model]:
    """All models, shipped ones first, then checkpoints of the newest run first, the newest checkpoint first."""
    found = [_shipped(name) for name in shipped_models()]
    for view in list_runs(root):
        if view.problem is None:
            found += [
                Model(
                    str(checkpoint.path),
                    f"{view.name or view.id} · step {checkpoint.step}",
                    view.config.method,
                    checkpoint.step,
                    checkpoint.time,
                )
                for checkpoint in reversed(view.checkpoints())
            ]
    return found


def _shipped(name: str) -> Model:
    directory = paths.shipped_models() / name
    metadata: Any = (read_json(directory / CONFIG) or {}).get("metadata")
    objective = metadata.get("objective") if isinstance(metadata, dict) else None
    return Model(name, name, clean_line(objective, 20) if isinstance(objective, str) else "", None, 0.0)


def first_model(models: Sequence[Model]) -> Model | None:
    """The model to open when nobody said which: the shipped one, else the newest checkpoint; None where there is none."""
    shipped = next((model for model in models if model.path == DEFAULT_MODEL), None)
    return shipped or max(models, key=lambda model: model.time, default=None)


_LEARNS_FROM_PRETRAINED = frozenset({"sft", "distillation"})


def starting_model(models: Sequence[Model], objective: str) -> Model | None:
    """The model that training with `objective` most likely goes on from; None where there is none, or none is needed.

    Fine-tuning goes on from what pretraining left; preferences and rewards need a model that already answers. The
    newest checkpoint of a run that fits, else a shipped model.
    """
    if objective == "pretrain":
        return None
    wants_pretrained = objective in _LEARNS_FROM_PRETRAINED
    own = [model for model in models if not model.is_shipped and (model.objective == "pretrain") == wants_pretrained]
    return max(own, key=lambda model: model.time, default=None) or next(
        (model for model in models if model.is_shipped), None
    )
