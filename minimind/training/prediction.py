"""What a run was predicted to take, and what it took. No torch.

``minimind estimate`` keeps what it found under the settings it was asked about; a run made with the same settings
within a day takes it into its run.json, so that the two can be compared when it has ended.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minimind import paths
from minimind.config import TrainConfig
from minimind.events import Text
from minimind.training.processes import host_name
from minimind.training.run_files import FINAL, finite_number, read_json, write_atomic
from minimind.training.run_view import RunView

_KEPT_SECONDS = 24 * 3600.0
_FIGURES = (
    "seconds",
    "seconds_low",
    "seconds_high",
    "steps",
    "tokens",
    "tokens_per_second",
    "peak_memory_bytes",
    "disk_bytes",
    "price_per_hour",
)


def keep_prediction(config: TrainConfig, figures: Mapping[str, Any]) -> None:
    """Keep what was found for `config`; raises OSError where it cannot be written."""
    path = _place(config)
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = {name: figures[name] for name in _FIGURES if name in figures}
    write_atomic(path, {**numbers, "currency": figures.get("currency"), "host": host_name(), "time": time.time()})


def kept_prediction(config: TrainConfig) -> dict[str, Any] | None:
    """What was found for the same settings on this machine within a day; None otherwise."""
    found = read_json(_place(config))
    if found is None or found.get("host") != host_name():
        return None
    made = finite_number(found.get("time"))
    return found if made is not None and abs(time.time() - made) < _KEPT_SECONDS else None


def _place(config: TrainConfig) -> Path:
    asked = json.dumps(config.to_dict(), sort_keys=True)
    key = hashlib.sha256(asked.encode("utf-8", "replace")).hexdigest()[:16]
    return paths.cache() / "estimates" / f"found-{key}.json"


class Outcome(NamedTuple):
    """A figure of a run: what was predicted and what came of it. `unit` is "s", "bytes", "tokens" or a currency."""

    name: Text
    unit: str
    predicted: float
    actual: float

    @property
    def ratio(self) -> float:
        """Actual over predicted; infinite where nothing was predicted."""
        return self.actual / self.predicted if self.predicted else float("inf")


def outcomes(view: RunView) -> list[Outcome]:
    """Predicted against actual for a run that went all its steps; empty before, and where nothing was predicted."""
    final, predicted = read_json(view.directory / FINAL) or {}, view.request.get("prediction")
    actual = final.get("actual")
    if final.get("outcome") != "finished" or not isinstance(predicted, dict) or not isinstance(actual, dict):
        return []
    rows = []
    for key, name, unit in _COMPARED:
        before, after = finite_number(predicted.get(key)), finite_number(actual.get(key))
        if before is not None and after is not None:
            rows.append(Outcome(name, unit, before, after))
    price, currency = finite_number(predicted.get("price_per_hour")), predicted.get("currency")
    if price is not None and rows and rows[0].unit == "s" and isinstance(currency, str):
        before, after = (seconds / 3600 * price for seconds in (rows[0].predicted, rows[0].actual))
        rows.append(Outcome(Text("cost", "费用"), currency[:8], before, after))
    return rows


_COMPARED = (
    ("seconds", Text("time", "时间"), "s"),
    ("tokens", Text("tokens", "词元"), "tokens"),
    ("peak_memory_bytes", Text("memory", "内存"), "bytes"),
)
