"""Models that a method holds the trained one against: frozen, without gradients, computing as it does."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from minimind.model.lora import has_lora, without_lora
from minimind.model.transformer import MiniMind
from minimind.training.acceleration import Precision, accelerate
from minimind.training.evaluate import evaluating

_NAME = "reference."


def frozen_copy(model: MiniMind, precision: Precision) -> MiniMind:
    """A copy of `model` that stays as it is, where and in the dtype in which `precision` computes, without dropout."""
    copied = copy.deepcopy(model).to(precision.device, precision.dtype).requires_grad_(False).eval()
    return accelerate(copied, precision, shared=model)


class Reference:
    """The model as it is when a run begins: the πref of DPO (Rafailov et al. 2023) and of RL with a penalty (Ziegler
    et al. 2019).

    Where LoRA trains, that is the trained model without its corrections, which costs nothing. Otherwise it is a copy,
    and goes into the run's checkpoints: a resumed run must not depend on what has become of its starting point.
    """

    def __init__(self, model: MiniMind, precision: Precision) -> None:
        """`model` is the one that will be trained, before its first step, with its corrections in it."""
        self._copy = None if has_lora(model) else frozen_copy(model, precision)

    @contextmanager
    def of(self, working: MiniMind) -> Iterator[MiniMind]:
        """The reference of `working`, the model that computes, with gradients and dropout off."""
        with torch.no_grad():
            if self._copy is not None:
                yield self._copy
            else:
                with evaluating(working), without_lora(working):
                    yield working

    def state_tensors(self) -> dict[str, Tensor]:
        """What a checkpoint must hold for it."""
        if self._copy is None:
            return {}
        return {f"{_NAME}{name}": parameter for name, parameter in self._copy.named_parameters()}

    @torch.no_grad()
    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state_tensors` gave. Raises KeyError where something is missing."""
        for name, parameter in self._copy.named_parameters() if self._copy is not None else ():
            parameter.copy_(tensors[f"{_NAME}{name}"])
