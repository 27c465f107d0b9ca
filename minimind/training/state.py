"""What a run must remember to go on as if nothing had happened, as the files of a checkpoint and back."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from minimind.data.packing import Position
from minimind.events import Text
from minimind.interop.adapters import ADAPTER, adapter_bytes
from minimind.model.files import WEIGHTS, model_files
from minimind.model.lora import corrected_weights, has_lora
from minimind.model.weights import read_weights
from minimind.safe_text import clean_line
from minimind.training.checkpoint import CheckpointError, Content, read_json, validate
from minimind.training.guards import Guards
from minimind.training.objective import Objective
from minimind.training.optim import Optimizer

OPTIMIZER, STATE = "optimizer.safetensors", "state.json"
_RANDOM, _EXTRA, _OBJECTIVE, _FROZEN = "random|", "extra|", "objective|", "frozen|"
_TORCH_RNG, _CUDA_RNG = f"{_RANDOM}torch", f"{_RANDOM}cuda"


@dataclass(slots=True)
class State:
    """Where a run is. Everything else that moves is a function of this, the weights and the random generators.

    steps             how many there will be; fixed when the run first starts
    step              optimiser steps done
    tokens, seconds   trained on so far; pauses not counted
    position          of the data, as `Batch.position` gave it
    learning_rate     the peak, where a person changed it during the run
    validation_loss   of the newest evaluation, and the `validation_step` it belongs to
    best_loss, best_step   the least validation loss that a checkpoint was saved with, and that checkpoint's step
    least_loss, least_step   the least validation loss so far, saved or not, and its step
    no_better         evaluations in a row since then
    guards            what the guards remember
    """

    steps: int
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    position: Position | None = None
    learning_rate: float | None = None
    validation_loss: float | None = None
    validation_step: int = -1
    best_loss: float | None = None
    best_step: int = -1
    least_loss: float | None = None
    least_step: int = -1
    no_better: int = 0
    guards: Guards = field(default_factory=Guards)

    def evaluated(self, loss: float) -> None:
        """Note the held-out `loss` of the present step, and whether it is the least so far."""
        self.validation_loss, self.validation_step = loss, self.step
        if self.least_loss is None or loss < self.least_loss:
            self.least_loss, self.least_step, self.no_better = loss, self.step, 0
        else:
            self.no_better += 1

    def how_it_ended(self, *, by_reward: bool = False) -> Text:
        """A sentence about a run whose steps are done, or that was no longer getting better.

        `by_reward`: its losses are rewards with another sign, and are told as rewards.
        """
        sign = -1 if by_reward else 1
        name = Text("held-out reward", "留出集奖励") if by_reward else Text("held-out loss", "留出集损失")
        loss, least = (None if value is None else sign * value for value in (self.validation_loss, self.least_loss))
        if self.step < self.steps and least is not None:
            return Text(
                f"ended early after step {self.step}: {self.no_better} evaluations without a better {name.en} than "
                f"{least:.3f}, that of step {self.least_step}, whose checkpoint is kept",
                f"在第 {self.step} 步提前结束：连续 {self.no_better} 次评估都没有超过第 {self.least_step} 步的{name.zh} "
                f"{least:.3f}（该检查点已保留）",
            )
        text = Text(f"all {self.step} steps are done", f"全部 {self.step} 步已完成")
        if loss is None:
            return text
        return Text(f"{text.en}; {name.en} {loss:.3f}", f"{text.zh}；{name.zh} {loss:.3f}")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the last digits of a result depend on besides the run's own settings."""

    device: str
    dtype: str
    threads: int
    data: str
    kernels: str = "torch"
    processes: int = 1
    torch: str = field(default_factory=lambda: str(torch.__version__))

    def differences(self, earlier: Mapping[str, Any]) -> Text | None:
        """What differs from the `earlier` surroundings in a checkpoint, as a sentence; None if nothing does."""
        before = {"processes": 1, **earlier}  # older checkpoints do not say it
        changed = [
            f"{item.name} {before.get(item.name)} → {getattr(self, item.name)}"
            for item in fields(self)
            if before.get(item.name) != getattr(self, item.name)
        ]
        if not changed:
            return None
        listed = ", ".join(changed)
        return Text(
            f"resumed under other conditions ({listed}): the result will not be the same to the last digit",
            f"恢复时环境有变（{listed}）：结果不会逐位相同",
        )


def checkpoint_files(
    optimizer: Optimizer, objective: Objective, state: State, about: Mapping[str, Any], metadata: Mapping[str, Any]
) -> dict[str, Content]:
    """The contents of a checkpoint by file name: weights, optimiser, the method's own, generators, where the run is.

    `about` (JSON data) is kept beside the state; `metadata` goes into the model's own config, for whoever opens it.
    """
    found = {
        **optimizer.state_tensors(),
        **{f"{_EXTRA}{name}": parameter for name, parameter in optimizer.extra.items()},
        **{f"{_OBJECTIVE}{name}": tensor for name, tensor in objective.state_tensors().items()},
        **{f"{_FROZEN}{name}": tensor for name, tensor in corrected_weights(optimizer.whole).items()},
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}
    tensors[_TORCH_RNG] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors[_CUDA_RNG] = torch.cuda.get_rng_state()
    version, words, gauss = random.getstate()
    described = {**about, "state": asdict(state), "python_random": [version, list(words), gauss]}
    optimizer_file = to_bytes(tensors)
    with optimizer.averaged():
        model = model_files(optimizer.whole, metadata)
        if has_lora(optimizer.whole):
            model[ADAPTER] = adapter_bytes(optimizer.whole, metadata)
    return {
        **model,
        **optimizer.files(),
        OPTIMIZER: optimizer_file,
        STATE: json.dumps(described, ensure_ascii=False, indent=1).encode(),
    }


def restore(directory: Path, optimizer: Optimizer, objective: Objective) -> tuple[State, dict[str, Any]]:
    """Put weights, optimiser and random generators back as the checkpoint in `directory` has them.

    Returns the state and what was kept beside it. Raises UserError where the checkpoint is damaged or another model's.
    """
    validate(directory)
    described = read_json(directory / STATE)
    try:
        tensors = from_bytes((directory / OPTIMIZER).read_bytes())
        stored = described.pop("state")
        position, guards = stored.pop("position"), stored.pop("guards", {})
        state = State(**stored, position=position and Position(**position), guards=Guards(**guards))
        version, words, gauss = described.pop("python_random")
        weights = read_weights(directory / WEIGHTS) | _named(tensors, _FROZEN) | _named(tensors, _EXTRA)
        if has_lora(optimizer.model):  # beside the weights they correct, where the model's file has them merged
            weights |= read_weights(directory / ADAPTER)
        optimizer.load_weights(weights)
        apart = (_RANDOM, _EXTRA, _OBJECTIVE, _FROZEN)
        moments = {key: value for key, value in tensors.items() if not key.startswith(apart)}
        optimizer.load_state_tensors(moments | _moments_in_shards(directory, optimizer))
        objective.load_state_tensors(_named(tensors, _OBJECTIVE))
        random.setstate((version, tuple(words), gauss))
        torch.set_rng_state(tensors[_TORCH_RNG])
        if _CUDA_RNG in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors[_CUDA_RNG])
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        what = clean_line(f"{type(error).__name__}: {error}", 200)
        raise CheckpointError(
            f"{directory}: does not fit this run ({what}): start a new run from it instead",
            f"{directory}：与这次训练不匹配（{what}）：请以它为起点新建一次训练",
        ) from None
    return state, described


def _moments_in_shards(directory: Path, optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimiser's moments, where the run was saved in shards."""
    if not any(directory.glob("optimizer-shard-*")):
        return {}
    from minimind.training.sharding import read_moments  # takes a second to load

    return read_moments(directory, optimizer.room())


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those of `tensors` whose name begins with `prefix`, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
