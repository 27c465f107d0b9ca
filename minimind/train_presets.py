"""The settings a run gets that a person does not name: what measured best here, and what the released scripts have. No
torch."""

from __future__ import annotations

from typing import Any

from minimind.reinforcement_config import (
    NANO_PPO,
    NANO_REINFORCEMENT,
    NANO_TOOLS,
    REINFORCEMENT,
    RELEASED_PPO,
    RELEASED_REINFORCEMENT,
    RELEASED_TOOLS,
)
from minimind.train_config import DURATIONS

BEST_PRETRAINING: dict[str, Any] = {
    "optimizer": "muon",
    "learning_rate": 8e-3,
    "schedule": "linear",
    "minimum_learning_rate": 0.0,
    "zero_output": True,
}
"""The recipe that learned most from as many tokens on nano and on 256 x 4 (`minimind bench train --time-to-loss`)."""
TRAIN_PRESETS: dict[tuple[str, str], dict[str, Any]] = {
    ("nano", "pretrain"): {"minutes": 3.0, "batch_size": 8, "data_megabytes": 10.0, **BEST_PRETRAINING},
    ("mini", "pretrain"): {**BEST_PRETRAINING, "batch_size": 8},
    ("small", "pretrain"): {**BEST_PRETRAINING, "learning_rate": 4e-3},
    ("minimind2", "pretrain"): {**BEST_PRETRAINING, "learning_rate": 3e-3},
    ("minimind3", "pretrain"): {**BEST_PRETRAINING, "learning_rate": 3e-3},
    ("nano", "sft"): {"minutes": 1.5, "batch_size": 8, "learning_rate": 3e-3, "warmup": 0.1},
    ("nano", "sft-lora"): {"learning_rate": 3e-3, "warmup": 0.1},
    ("nano", "dpo"): {
        "minutes": 2.0,
        "batch_size": 16,
        "learning_rate": 3e-5,
        "data_megabytes": 1.5,
        "evaluate_every": 25,
    },
    ("nano", "dpo-lora"): {"learning_rate": 3e-4},
    ("nano", "distillation"): {"minutes": 1.5, "batch_size": 8, "learning_rate": 1e-3, "warmup": 0.1},
    ("nano", "grpo"): NANO_REINFORCEMENT,
    ("nano", "cispo"): NANO_REINFORCEMENT,
    ("nano", "ppo"): NANO_PPO,
    ("nano", "tools"): NANO_TOOLS,
}
"""The settings of TrainConfig that differ from its defaults for a preset and an objective, found by measurement.

Of the sizes from small on only the kind of recipe is: their rates follow those of nano and 256 x 4 with the root of the
width, as the update that suits a matrix does (Jordan et al. 2024).
"""


_RELEASED_OPTIMIZER: dict[str, Any] = {
    "optimizer": "adamw",
    "schedule": "cosine",
    "minimum_learning_rate": 0.1,
    "warmup": 0.0,
    "weight_decay": 0.01,
    "decay_all": True,
    "beta1": 0.9,
    "beta2": 0.999,
    "clip": 1.0,
    "zero_output": False,
    "embedding_scale": 0.02,
    "embedding_rate": 1.0,
}
RELEASED: dict[str, dict[str, Any]] = {
    "pretrain": {
        "epochs": 2.0,
        "batch_size": 32,
        "accumulation_steps": 8,
        "learning_rate": 5e-4,
        "sequence_length": 340,
    },
    "sft": {"epochs": 2.0, "batch_size": 16, "learning_rate": 1e-5, "sequence_length": 768},
    "sft-lora": {"epochs": 10.0, "batch_size": 32, "learning_rate": 1e-4, "sequence_length": 340},
    "dpo": {"epochs": 1.0, "batch_size": 4, "learning_rate": 4e-8, "sequence_length": 1024},
    "distillation": {"epochs": 6.0, "batch_size": 32, "learning_rate": 5e-6, "sequence_length": 340},
    "grpo": RELEASED_REINFORCEMENT,
    "cispo": RELEASED_REINFORCEMENT,
    "ppo": RELEASED_PPO,
    "tools": RELEASED_TOOLS,
}
"""What the released MiniMind-3 scripts set for a method, whatever the model."""


_UNMEASURED = {method: RELEASED[method] for method in ("sft", "dpo", "distillation", "sft-lora", *REINFORCEMENT)}
"""Where nothing was measured for a size: methods that would ruin a trained model at the default learning rate, which is
for new ones."""


def train_preset(model: str, objective: str, tune: str = "full") -> dict[str, Any]:
    """Recommended TrainConfig values for a model preset, an objective and a tuning.

    Where none were measured, those of the released scripts for methods that need them, else none.
    """
    found = (TRAIN_PRESETS.get((model, name), _UNMEASURED.get(name, {})) for name in (objective, f"{objective}-{tune}"))
    return _joined(*found)


def released_recipe(objective: str, tune: str = "full") -> dict[str, Any]:
    """The values of MiniMind's own scripts for a method; only the optimiser's where it is not in RELEASED."""
    return _joined(_RELEASED_OPTIMIZER, RELEASED.get(objective, {}), RELEASED.get(f"{objective}-{tune}", {}))


def _joined(*tables: dict[str, Any]) -> dict[str, Any]:
    """All values, later ones over earlier ones; one duration takes the place of another."""
    values: dict[str, Any] = {}
    for table in tables:
        if not table.keys().isdisjoint(DURATIONS):
            values = {name: value for name, value in values.items() if name not in DURATIONS}
        values |= table
    return values
