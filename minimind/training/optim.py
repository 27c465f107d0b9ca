"""From gradients to new weights: which optimiser and decay each parameter has, and float32 master weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minimind.config import TrainConfig
from minimind.model.transformer import MiniMind
from minimind.training.average import WeightAverage
from minimind.training.group import Group
from minimind.training.muon import MOMENTUM, Muon, for_matrices, is_embedding

_FOLLOWED, _UPDATES, _SCALE = "|followed", "|average_updates", "|loss_scale"
_EXTRA = "extra"


def decay_groups(parameters: Mapping[str, Tensor], weight_decay: float, *, every: bool = False) -> list[dict[str, Any]]:
    """Optimiser groups: matrices, which decay, embeddings and vectors (norms), which do not unless `every` is true.

    Decay pulls a weight towards zero. That is a prior for a matrix; for a norm's scale it only fights the data, and a
    rare token's embedding would shrink each step it does not occur in.
    """
    kept = weight_decay if every else 0.0
    groups: dict[str, list[Tensor]] = {"matrices": [], "embeddings": [], "vectors": []}
    for name, parameter in parameters.items():
        kind = "embeddings" if is_embedding(name) else "matrices" if parameter.dim() >= 2 else "vectors"
        groups[kind].append(parameter)
    decays = {"matrices": weight_decay, "embeddings": kept, "vectors": kept}
    return [{"params": found, "weight_decay": decays[kind], "kind": kind} for kind, found in groups.items()]


class Optimizer:
    """AdamW, or Muon and AdamW, on float32 master weights of a model that may compute in bfloat16.

    In bfloat16 a weight has 8 significant bits: an update below 1/256 of it would be rounded away. So the updates are
    added to the float32 model, and a working copy, whose weights are roundings of those, computes the gradients. Where
    that computes in float32 too, the two are one and nothing is copied.
    Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"; Micikevicius et al. 2018, "Mixed Precision
    Training", section 3.1.
    """

    def __init__(
        self,
        model: MiniMind,
        config: TrainConfig,
        dtype: torch.dtype,
        extra: Mapping[str, nn.Parameter] | None = None,
    ) -> None:
        """`model` (float32) is what is trained; `working` is what computes: the same, or a copy of it in `dtype`.

        Parameters that do not require a gradient stay as they are. `extra` ones, which a method trains beside the
        model (a critic), compute in float32.
        """
        self.model = model
        self.working = model if dtype == torch.float32 else copy.deepcopy(model).to(dtype)
        self.peak = config.learning_rate
        self.clip = config.clip
        self.extra = dict(extra or {})
        self._masters = {name: item for name, item in model.named_parameters() if item.requires_grad} | self.extra
        self._parameters = {name: item for name, item in self.working.named_parameters() if item.requires_grad}
        self._rates = {
            "embeddings": config.embedding_rate,
            _EXTRA: config.critic_learning_rate / (config.learning_rate or 1.0),
        }
        inside = {name: master for name, master in self._masters.items() if name not in self.extra}
        names = for_matrices(inside) if config.optimizer == "muon" else []
        self.muon = self._muon(names, config, dtype) if names else None
        self.adamw = torch.optim.AdamW(
            self._groups({name: master for name, master in inside.items() if name not in names}, config),
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            fused=self._fused(),
        )
        self._parts: list[torch.optim.Optimizer] = [self.adamw] if self.muon is None else [self.adamw, self.muon]
        self._average = WeightAverage(inside, config.ema) if config.ema > 0 else None
        self.scaler = torch.amp.GradScaler(self._device.type) if dtype == torch.float16 else None

    def _groups(self, inside: Mapping[str, Tensor], config: TrainConfig) -> list[dict[str, Any]]:
        """AdamW's groups: the model's parameters, and those beside it, which have a rate of their own and no decay."""
        groups = decay_groups(inside, config.weight_decay, every=config.decay_all)
        beside = {"params": list(self.extra.values()), "weight_decay": 0.0, "kind": _EXTRA}
        return [*groups, beside] if self.extra else groups

    def _muon(self, names: list[str], config: TrainConfig, dtype: torch.dtype) -> Muon:
        """Muon for the parameters of these names; it iterates in bfloat16 where the model computes in it."""
        return Muon(
            [self._masters[name] for name in names],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            dtype=dtype if dtype == torch.bfloat16 else torch.float32,
        )

    def _fused(self) -> bool:
        """Whether one pass over memory updates a parameter, where PyTorch's default is a pass for each operation."""
        return self._device.type in ("cpu", "cuda")

    @property
    def _device(self) -> torch.device:
        return next(iter(self._masters.values())).device

    def scaled(self, loss: Tensor) -> Tensor:
        """What to take the gradients of. In float16 a multiple of `loss`, so that small gradients are not lost."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def collect(self) -> None:
        """Add the gradients of one micro-step to the masters', in float32, and clear them from the working model."""
        if self.working is self.model:
            return
        for name, parameter in self._parameters.items():
            if parameter.grad is None:
                continue
            master = self._masters[name]
            if master.grad is None:
                master.grad = parameter.grad.to(torch.float32)
            else:
                master.grad += parameter.grad
            parameter.grad = None

    def exchange(self, group: Group) -> None:
        """Let the masters' gradients be the sums of those of all processes."""
        group.sum_gradients(list(self._masters.values()))

    def clip_gradients(self) -> float:
        """Scale the gradients down to the largest allowed norm; returns the norm before (NaN or inf where one is).

        In float16 the multiple of `scaled` is taken out first, and the next one halved where gradients overflowed.
        Those of extra parameters are scaled by themselves: a critic's would else decide how far the model may move.
        """
        if self.scaler is not None:
            for part in self._parts:
                self.scaler.unscale_(part)
            self.scaler.update()
        inside = [master for name, master in self._masters.items() if name not in self.extra]
        norm = float(nn.utils.clip_grad_norm_(inside, self.clip))
        beside = float(nn.utils.clip_grad_norm_(self.extra.values(), self.clip))
        return norm if math.isfinite(beside) else beside

    def can_scale_down(self) -> bool:
        """Whether gradients that overflow may fit next time: in float16, until nothing of the multiple is left."""
        return self.scaler is not None and self.scaler.get_scale() >= 1

    def step(self, share: float) -> None:
        """One update at `share` of the peak learning rate."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = self.peak * share * self._rates.get(group.get("kind", ""), 1.0)
            part.step()
        if self._average is not None:
            self._average.update()
        self.publish()

    @property
    def whole(self) -> MiniMind:
        """The model in one piece, to be saved and to write samples with; as it was at the last `gather`."""
        return self.model

    def gather(self, aside: Path | None = None) -> None:
        """Put together what is in shards, in all processes at once: the model, and files under `aside` of the moments."""

    def files(self) -> dict[str, Path]:
        """The files that the last `gather` wrote, to be moved into the checkpoint under these names."""
        return {}

    def room(self) -> dict[str, Tensor]:
        """Where shards of the moments are wanted: tensors to read them into, by their names in `state_tensors`."""
        return {}

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let `model` and `working` have the average of the weights for a while, where there is one.

        That is what is evaluated, samples and is saved as the model: what a person will use.
        """
        if self._average is None:
            yield
            return
        self._average.exchange()
        self.publish()
        try:
            yield
        finally:
            self._average.exchange()
            self.publish()

    def discard(self) -> None:
        """Forget the gradients: after an update, or instead of one."""
        for master in self._masters.values():
            master.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the working weights."""
        if self.working is not self.model:
            for name, parameter in self._parameters.items():
                parameter.copy_(self._masters[name])

    def finite(self) -> bool:
        """Whether every weight is a finite number."""
        return all(bool(torch.isfinite(master).all()) for master in self._masters.values())

    def state_tensors(self) -> dict[str, Tensor]:
        """What a resumed run needs besides the model as it is saved, as ``<parameter>|<what>`` → tensor.

        The optimisers' moments and step counts; with an average, the weights it follows; in float16 the loss's scale.
        """
        found = {f"{name}|{what}": value for name, what, value in self._moments()}
        if self._average is not None:
            found |= {f"{name}{_FOLLOWED}": weight for name, weight in self._average.weights.items()}
            found[_UPDATES] = torch.tensor(self._average.updates)
        if self.scaler is not None:
            scale = self.scaler.state_dict()
            found[_SCALE] = torch.tensor([scale["scale"], scale["_growth_tracker"]], dtype=torch.float64)
        return found

    @torch.no_grad()
    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state_tensors` gave, in place of all there is; the weights are those of the saved model by then."""
        for part in self._parts:
            part.state.clear()
        if self._average is not None:
            self._average.reset()
            self._average.updates = int(tensors.get(_UPDATES, torch.tensor(0)))
        if self.scaler is not None and _SCALE in tensors:
            scale, tracker = tensors[_SCALE].tolist()
            self.scaler.load_state_dict(self.scaler.state_dict() | {"scale": scale, "_growth_tracker": int(tracker)})
        for key, value in tensors.items():
            name, _, what = key.rpartition("|")
            if key.endswith(_FOLLOWED):
                self._masters[name].copy_(value)
            elif name:
                self._take_moment(self._masters[name], what, value)
        self.publish()

    def _take_moment(self, master: Tensor, what: str, value: Tensor) -> None:
        stays = what == "step" and not self._fused()  # the unfused one counts in main memory
        part = self.muon if self.muon is not None and what == MOMENTUM else self.adamw
        part.state[master][what] = value if stays else value.to(master.device)

    @torch.no_grad()
    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Set every weight, trained or not, to `tensors` by parameter name."""
        for model in (self.model, self.working):
            for name, parameter in model.named_parameters():
                parameter.copy_(tensors[name])
        for name, parameter in self.extra.items():
            parameter.copy_(tensors[name])

    def _moments(self) -> Iterator[tuple[str, str, Tensor]]:
        for name, master in self._masters.items():
            for part in self._parts:
                for what, value in part.state.get(master, {}).items():
                    yield name, what, value
