"""Low-rank adaptation: leave a weight as it is and learn a small correction beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from minimind.errors import UserError

SQUARE = frozenset({"q_proj", "o_proj"})
"""What MiniMind adapts: the linear layers that are square in its dense models."""


class LowRank(nn.Module):
    """The correction x ↦ B(Ax), of rank r: A [r, in] random, B [out, r] zero, so that training starts at the model."""

    def __init__(self, features_in: int, features_out: int, rank: int) -> None:
        super().__init__()
        self.A = nn.Linear(features_in, rank, bias=False)
        self.B = nn.Linear(rank, features_out, bias=False)
        nn.init.normal_(self.A.weight, std=0.02)
        nn.init.zeros_(self.B.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Take `x` [..., in] to [..., out]."""
        correction: Tensor = self.B(self.A(x))  # [..., out]
        return correction


class LoraLinear(nn.Linear):
    """y = Wx + scale · B(Ax), with W frozen. Its ``weight`` keeps its name, its correction is called ``lora``.

    Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3. `scale` is their α/r; MiniMind has
    no α, which is a scale of 1.
    """

    def __init__(self, base: nn.Linear, rank: int, scale: float = 1.0) -> None:
        with torch.device("meta"):
            super().__init__(base.in_features, base.out_features, bias=False)
        self.weight = base.weight
        self.weight.requires_grad_(False)
        self.scale = scale
        self.corrects = True
        self.lora = LowRank(base.in_features, base.out_features, rank).to(base.weight.device, base.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Take `x` [..., in] to [..., out]."""
        plain = super().forward(x)  # [..., out]
        return plain + self.scale * self.lora(x) if self.corrects else plain  # [..., out]

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """One plain layer with W + scale · BA, computed in float32."""
        correction = self.scale * self.lora.B.weight.float() @ self.lora.A.weight.float()  # [out, in]
        with torch.device("meta"):
            plain = nn.Linear(self.in_features, self.out_features, bias=False)
        plain.weight = nn.Parameter((self.weight.float() + correction).type_as(self.weight))  # [out, in]
        return plain


def add_lora(model: nn.Module, rank: int, *, targets: Collection[str] = SQUARE, scale: float = 1.0) -> list[str]:
    """Freeze `model` and put a correction of `rank` beside each linear layer whose name, or last name, is in `targets`.

    Returns the names of the adapted layers. Raises UserError where there is none.
    """
    model.requires_grad_(False)
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and (name in targets or name.rpartition(".")[2] in targets)
    ]
    if not found:
        names = ", ".join(sorted(targets))
        raise UserError(f"no linear layer is called {names}", f"没有名为 {names} 的线性层")
    for name, module in found:
        model.set_submodule(name, LoraLinear(module, rank, scale), strict=True)
    return [name for name, _ in found]


def merge_lora(model: nn.Module) -> int:
    """Fold every correction into its weight and leave plain layers; returns how many there were."""
    found = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLinear)]
    for name, module in found:
        model.set_submodule(name, module.merged(), strict=True)
    return len(found)


def has_lora(model: nn.Module) -> bool:
    """Whether there is a correction in `model`."""
    return any(isinstance(module, LoraLinear) for module in model.modules())


@contextmanager
def without_lora(model: nn.Module) -> Iterator[None]:
    """Leave every correction of `model` out for a while: the model as it was before it was adapted."""
    layers = [module for module in model.modules() if isinstance(module, LoraLinear)]
    for layer in layers:
        layer.corrects = False
    try:
        yield
    finally:
        for layer in layers:
            layer.corrects = True


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of `model` with its corrections folded into their weights, as `merge_lora` would leave it."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}
    added = tuple(f"{name}.lora." for name in layers)
    state = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(added)}
    return state | {f"{name}.weight": layer.merged().weight for name, layer in layers.items()}


def corrected_weights(model: nn.Module) -> dict[str, Tensor]:
    """The frozen weights [out, in] that have a correction beside them, by name; empty where there is none."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}
    return {f"{name}.weight": layer.weight for name, layer in layers.items()}


def weights_hash(model: nn.Module) -> str:
    """SHA-256 of the names and numbers of `model`, its corrections left out: which model an adapter was trained on.

    Of the numbers as bfloat16, so that a model is the same whether it was opened in float32 or in that.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if ".lora." not in name:
            digest.update(name.encode() + b"\0")
            digest.update(parameter.detach().cpu().to(torch.bfloat16).contiguous().view(torch.int16).numpy().data)
    return digest.hexdigest()
