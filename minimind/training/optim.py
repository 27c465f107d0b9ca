"""From gradients to new weights: which parameters decay, how the learning rate moves, and float32 master weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from minimind.config import TrainConfig


def learning_rate_share(step: int, steps: int, warmup: float, minimum: float) -> float:
    """The learning rate of update `step` (0 … steps-1) as a share of its peak, in [minimum, 1].

    Rises linearly over the first `warmup` share of the steps, then falls along half a cosine to `minimum`, which the
    last step reaches. A pure function of the step, so that a resumed run needs no stored scheduler.
    Loshchilov and Hutter 2017, "SGDR", equation 5 (without restarts).
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    progress = (step - rising) / max(steps - 1 - rising, 1)
    return minimum + (1 - minimum) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def decay_groups(parameters: Mapping[str, Tensor], weight_decay: float) -> list[dict[str, object]]:
    """Two optimiser groups: matrices, which decay, and embeddings, norms and other vectors, which do not.

    Decay pulls a weight towards zero. That is a prior for a matrix; for a norm's scale it only fights the data, and a
    rare token's embedding would shrink each step it does not occur in.
    """
    decayed = [p for name, p in parameters.items() if p.dim() >= 2 and not _is_embedding(name)]
    kept = [p for name, p in parameters.items() if p.dim() < 2 or _is_embedding(name)]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": kept, "weight_decay": 0.0}]


def _is_embedding(name: str) -> bool:
    return "embed_tokens" in name or "lm_head" in name


class Optimizer:
    """AdamW on float32 master weights of a model that may compute in bfloat16.

    In bfloat16 a weight has 8 significant bits: an update below 1/256 of it would be rounded away. So the updates are
    added to float32 copies, and the model's own weights are roundings of those. Where the model computes in float32
    its parameters are the masters and nothing is copied.
    Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"; Micikevicius et al. 2018, "Mixed Precision
    Training", section 3.1.
    """

    def __init__(self, model: nn.Module, config: TrainConfig, dtype: torch.dtype) -> None:
        """Cast `model`, whose parameters are float32 now, to `dtype`, and keep its weights as masters."""
        self.peak = config.learning_rate
        self.clip = config.clip
        self.parameters: dict[str, nn.Parameter] = dict(model.named_parameters())
        self.masters: dict[str, Tensor] = {
            name: parameter if dtype == torch.float32 else nn.Parameter(parameter.detach().clone())
            for name, parameter in self.parameters.items()
        }
        self._cast = dtype != torch.float32
        model.to(dtype)
        self._adamw = torch.optim.AdamW(
            decay_groups(self.masters, config.weight_decay),
            lr=config.learning_rate,
            betas=(config.beta1, config.beta2),
            eps=1e-8,
        )

    def collect(self) -> None:
        """Add the gradients of one micro-step to the masters', in float32, and clear them from the model."""
        if not self._cast:
            return
        for name, parameter in self.parameters.items():
            if parameter.grad is None:
                continue
            master = self.masters[name]
            if master.grad is None:
                master.grad = parameter.grad.to(torch.float32)
            else:
                master.grad += parameter.grad
            parameter.grad = None

    def clip_gradients(self) -> float:
        """Scale the gradients down to the largest allowed norm; returns the norm before (NaN or inf where one is)."""
        return float(nn.utils.clip_grad_norm_(self.masters.values(), self.clip))

    def step(self, share: float) -> float:
        """One AdamW update at `share` of the peak learning rate; returns that rate."""
        rate = self.peak * share
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()
        self.publish()
        return rate

    def discard(self) -> None:
        """Forget the gradients: after an update, or instead of one."""
        for master in self.masters.values():
            master.grad = None

    @torch.no_grad()
    def publish(self) -> None:
        """Round the masters into the model's own weights."""
        if self._cast:
            for name, parameter in self.parameters.items():
                parameter.copy_(self.masters[name])

    def finite(self) -> bool:
        """Whether every weight is a finite number."""
        return all(bool(torch.isfinite(master).all()) for master in self.masters.values())

    def state_tensors(self) -> dict[str, Tensor]:
        """AdamW's moments and step counts as ``<parameter>|<what>`` → tensor; what a resumed run needs."""
        return {f"{name}|{what}": value for name, what, value in self._moments()}

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state_tensors` gave."""
        for key, value in tensors.items():
            name, _, what = key.rpartition("|")
            master = self.masters[name]
            self._adamw.state[master][what] = value.to(master.device) if what != "step" else value

    @torch.no_grad()
    def load_weights(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the masters, and the model, to float32 `tensors` by parameter name."""
        for name, master in self.masters.items():
            master.copy_(tensors[name])
        self.publish()

    def _moments(self) -> Iterator[tuple[str, str, Tensor]]:
        for name, master in self.masters.items():
            for what, value in self._adamw.state.get(master, {}).items():
                yield name, what, value
