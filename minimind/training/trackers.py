"""Where a run's figures can be sent besides its own file: TensorBoard event files, trackio, Weights & Biases.

The packages are optional and imported when asked for. A tracker that fails never touches the run.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minimind.errors import UserError
from minimind.events import Sample
from minimind.training.run_view import RunView

PROJECT = "minimind"
TENSORBOARD = "tensorboard"
"""The folder in a run's directory that its event files are written to."""

_FLUSH_SECONDS = 5

RELEASED_NAMES = {
    "kl": "kl_ref",
    "answer_length": "avg_response_len",
    "reward_spread": "group_reward_std",
    "clip_fraction": "clipfrac",
    "approximate_kl": "approx_kl",
    "value_loss": "critic_loss",
    "load_balancing_loss": "aux_loss",
}
"""Our names and those under which the released trainers log the same figure."""


def released_values(values: Mapping[str, float]) -> dict[str, float]:
    """`values` under the names of the released trainers where they have one.

    Their `epoch_time` is minutes remaining; their `loss` is `logits_loss` (our loss) plus `aux_loss`.
    """
    named = {RELEASED_NAMES.get(name, name): value for name, value in values.items() if name != "eta_seconds"}
    if "eta_seconds" in values:
        named["epoch_time"] = values["eta_seconds"] / 60
    if "load_balancing_loss" in values and "loss" in values:
        named["logits_loss"] = values["loss"]
        named["loss"] = values["loss"] + values["load_balancing_loss"]
    return named


class Tracker(ABC):
    """Takes the figures of one run in order.

    whole    whether it is written anew from the beginning each time (else it goes on from the last step it knows)
    """

    whole = False

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float], time: float) -> None:
        """The figures of a step, recorded at the Unix time `time`."""

    def sample(self, sample: Sample, time: float) -> None:
        """A text that the model wrote. Most trackers have no place for it."""
        del sample, time

    @abstractmethod
    def close(self) -> None:
        """Nothing more comes."""


class TensorBoard(Tracker):
    """Event files as TensorBoard reads them, with the times at which the run recorded its figures."""

    whole = True

    def __init__(self, directory: Path) -> None:
        """Write to `directory`; what is there of the same run is replaced. Raises UserError without the package."""
        writer = _optional("tensorboard.summary.writer.event_file_writer", "tensorboard")
        self._events = _optional("tensorboard.compat.proto.event_pb2", "tensorboard")
        self._summaries = _optional("tensorboard.compat.proto.summary_pb2", "tensorboard")
        self._tensors = _optional("tensorboard.compat.proto.tensor_pb2", "tensorboard")
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(directory)
        self._writer = writer.EventFileWriter(str(directory), flush_secs=_FLUSH_SECONDS)

    def scalars(self, step: int, values: Mapping[str, float], time: float) -> None:
        """One event with a value a series."""
        made = [self._summaries.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(step, time, made)

    def sample(self, sample: Sample, time: float) -> None:
        """The text with its prompt, for the text panel."""
        text = f"{sample.prompt} ▸ {sample.text}".encode("utf-8", "replace")
        metadata = self._summaries.SummaryMetadata(
            plugin_data=self._summaries.SummaryMetadata.PluginData(plugin_name="text")
        )
        tensor = self._tensors.TensorProto(dtype="DT_STRING", string_val=[text])
        tag = f"sample/{sample.name or 'text'}"
        self._add(sample.step, time, [self._summaries.Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])

    def _add(self, step: int, time: float, values: list[Any]) -> None:
        summary = self._summaries.Summary(value=values)
        self._writer.add_event(self._events.Event(wall_time=time, step=step, summary=summary))

    def close(self) -> None:
        """End the file."""
        self._writer.close()


class OnlineTracker(Tracker):
    """trackio or wandb, which share the calls used here."""

    def __init__(self, package: str, view: RunView) -> None:
        """Open the run's page, or go on with it. Raises UserError without the package, or where it refuses."""
        module = _optional(package, package)
        about = {"project": PROJECT, "name": view.name or view.id, "config": view.config.to_dict(), "resume": "allow"}
        identity = {"id": view.id} if package == "wandb" else {}
        if package == "trackio":
            about["name"] = view.id  # its name is the identity by which it goes on
        try:
            self._run = module.init(**about, **identity)
        except Exception as error:  # whatever a foreign package raises, the run is not to notice
            raise UserError(f"{package} cannot be opened: {error}", f"无法打开 {package}：{error}") from None
        self._module = module

    def scalars(self, step: int, values: Mapping[str, float], time: float) -> None:
        """Log the finite figures of a step."""
        del time
        self._module.log({name: value for name, value in values.items() if math.isfinite(value)}, step=step)

    def close(self) -> None:
        """End the page's run."""
        self._module.finish()


def open_tracker(name: str, view: RunView, directory: Path | None = None) -> Tracker | None:
    """The tracker called `name` for the run of `view`; None for "none".

    TensorBoard's files go to `directory` (default: a folder in the run's). Raises UserError where its package is missing.
    """
    if name == "none":
        return None
    if name == "tensorboard":
        return TensorBoard(directory or view.directory / TENSORBOARD)
    return OnlineTracker(name, view)


def _optional(module: str, package: str) -> Any:
    """A module of a package that may not be installed. Raises UserError where it is not."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(
            f"{package} is not installed: pip install {package}", f"没有安装 {package}：pip install {package}"
        ) from None
