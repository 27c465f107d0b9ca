"""A mixture of experts: many feed-forward layers, of which a router chooses a few for each token."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind.config import ModelConfig


class MixtureOfExperts(nn.Module):
    """Σ gᵢ(x) · expertᵢ(x) over the chosen experts, and every shared expert besides.

    Of ``num_experts`` the ``num_experts_per_tok`` with the largest softmax score of the router work on a token; their
    scores are the weights gᵢ, divided by their sum where ``norm_topk_prob`` says so.
    Shazeer et al. 2017, "Outrageously Large Neural Networks"; Fedus et al. 2021, "Switch Transformers" (one expert a
    token, as minimind-3-MoE has it); Dai et al. 2024, "DeepSeekMoE" (shared experts, as in MiniMind2-MoE).

    `expert` makes one expert from the config and its width. After a forward pass in training mode, `imbalance` holds
    the load-balancing loss of that pass, to be collected by `load_balancing_loss`.
    """

    def __init__(self, config: ModelConfig, expert: Callable[[ModelConfig, int], nn.Module]) -> None:
        super().__init__()
        self.config = config
        self.gate = nn.Linear(config.hidden_size, config.num_experts, bias=False)
        self.experts = nn.ModuleList(expert(config, config.expert_size) for _ in range(config.num_experts))
        self.shared_experts = nn.ModuleList(expert(config, config.expert_size) for _ in range(config.n_shared_experts))
        self.imbalance: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Transform `x` [batch, time, hidden], each position by itself; the result has its shape."""
        tokens = x.flatten(0, -2)  # [tokens, hidden]
        scores = self.gate(tokens).softmax(-1, dtype=torch.float32)  # [tokens, experts]
        weights, chosen = scores.topk(self.config.num_experts_per_tok)  # 2 × [tokens, chosen]
        if self.config.norm_topk_prob:
            weights = weights / weights.sum(-1, keepdim=True)  # [tokens, chosen]
        if self.training:
            self.imbalance = imbalance(scores, chosen, len(x) if self.config.seq_aux else 1)  # []

        mixed = torch.zeros_like(tokens)  # [tokens, hidden]
        for index, expert in enumerate(self.experts):
            token, rank = (chosen == index).nonzero(as_tuple=True)  # 2 × [uses]
            weighted = expert(tokens[token]) * weights[token, rank, None]  # [uses, hidden]
            mixed.index_add_(0, token, weighted.type_as(mixed))  # [tokens, hidden]
        for expert in self.shared_experts:
            mixed = mixed + expert(tokens)  # [tokens, hidden]
        return mixed.view_as(x)  # [batch, time, hidden]


def imbalance(scores: Tensor, chosen: Tensor, groups: int = 1) -> Tensor:
    """How unevenly a router spreads the work: E · Σ fᵢPᵢ, which is 1 when every expert gets the same share.

    fᵢ is the share of the choices that fell on expert i, Pᵢ its mean score; only Pᵢ has a gradient. `scores` [tokens,
    experts] and `chosen` [tokens, choices] are split into `groups` equal runs of tokens (sequences), each counted by
    itself, and the mean is returned. Fedus et al. 2021, "Switch Transformers", equation 4.
    """
    experts = scores.shape[-1]
    used = F.one_hot(chosen, experts).sum(-2).float() / chosen.shape[-1]  # [tokens, experts]
    share = used.view(groups, -1, experts).mean(1)  # [groups, experts]
    mean = scores.view(groups, -1, experts).mean(1)  # [groups, experts]
    return experts * (share * mean).sum(-1).mean()  # []


def load_balancing_loss(model: nn.Module) -> Tensor | None:
    """What to add to the loss after a forward pass of `model` in training mode, in nats; None without experts.

    The sum over the layers of ``router_aux_loss_coef`` times their imbalance. Taking it forgets it, so that no graph
    outlives its step.
    """
    total: Tensor | None = None
    for module in model.modules():
        if isinstance(module, MixtureOfExperts) and module.imbalance is not None:
            term = module.config.router_aux_loss_coef * module.imbalance  # []
            total = term if total is None else total + term  # []
            module.imbalance = None
    return total
