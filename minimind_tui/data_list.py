"""The data sets that fit a training method, and whether they are on this machine. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from minimind import paths
from minimind.data.catalogue import CATALOGUE, EMBEDDED, Entry
from minimind.data.formats import Kind
from minimind.training.run_files import exists

_KINDS: Mapping[str, Kind] = {
    "pretrain": "pretrain",
    "sft": "sft",
    "distillation": "sft",
    "dpo": "dpo",
    "tools": "agent",
}


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set that can be named, and whether its text is here (or made here)."""

    entry: Entry
    is_here: bool


def fitting_data(objective: str) -> list[DataSet]:
    """What `objective` can learn from: what is made here first, then what is here, then what can be downloaded.

    Methods that reward answers learn from prompts (rlaif).
    """
    kind = _KINDS.get(objective, "rlaif")
    found = [
        DataSet(entry, (entry.size is None and entry.name.startswith(EMBEDDED)) or exists(paths.data() / entry.file))
        for entry in CATALOGUE
        if kind in entry.kinds or entry.name == EMBEDDED
    ]
    return sorted(found, key=lambda data: (data.entry.name != EMBEDDED, not data.is_here))
