"""All that a run trains with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minimind.config import TrainConfig
from minimind.data.shards import Prepared
from minimind.data.tokenizer import Tokenizer
from minimind.model.transformer import MiniMind
from minimind.training.acceleration import Precision
from minimind.training.group import Group
from minimind.training.objective import Objective
from minimind.training.state import Surroundings


@dataclass(frozen=True, slots=True)
class Job:
    """All that a run trains with. `metadata` says where the model comes from and is kept in its checkpoints.

    `group` are the processes that share its batches.
    """

    config: TrainConfig
    model: MiniMind
    tokenizer: Tokenizer
    tokenizer_files: Mapping[str, bytes]
    objective: Objective
    data: Prepared
    precision: Precision
    surroundings: Surroundings
    metadata: Mapping[str, Any]
    group: Group = field(default_factory=Group)
