"""How a new model's weights differ from the architecture's own beginning, where a recipe wants it."""

from __future__ import annotations

import torch

from minimind.config import TrainConfig
from minimind.model.transformer import MiniMind

_OUTPUTS = ("o_proj.weight", "down_proj.weight")
_PLAIN_SCALE = 0.02
"""The standard deviation of a new model's matrices, embeddings among them."""


@torch.no_grad()
def set_initial_weights(model: MiniMind, config: TrainConfig) -> None:
    """Change the new `model` as `config` says.

    With `zero_output` every block adds nothing to the residual stream at first, so that the depth comes in as it is
    learned. Zhang et al. 2019, "Fixup Initialization", section 2; Bachlechner et al. 2021, "ReZero is All You Need".
    `embedding_scale` is the standard deviation of the embeddings (and of the output layer).
    """
    for name, parameter in model.named_parameters():
        if config.zero_output and name.endswith(_OUTPUTS):
            parameter.zero_()
        elif name.endswith(("embed_tokens.weight", "lm_head.weight")):
            parameter.mul_(config.embedding_scale / _PLAIN_SCALE)
