"""Direct preference optimisation: of two answers to the same request, make the better one more likely than the worse."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind.data.packing import Batch
from minimind.data.shards import DataKind
from minimind.events import Event, Note, Text
from minimind.model.transformer import MiniMind
from minimind.training.distance import summed_distances
from minimind.training.evaluate import evaluating
from minimind.training.frozen import Reference
from minimind.training.loss import balanced, packed_hidden, token_log_probabilities
from minimind.training.objective import Setting
from minimind.training.objectives.sft import FineTune

LN_2 = math.log(2.0)
_NEAR = 0.001
"""Nats by which the first loss may miss ln 2: rounding of sums of a few hundred log-probabilities."""


class Rewards(NamedTuple):
    """The implicit rewards β · log(π(answer)/πref(answer)) of both sides of each pair, float32 [pairs]."""

    chosen: Tensor
    rejected: Tensor

    @property
    def margin(self) -> Tensor:
        """By how much the chosen answer is preferred [pairs]."""
        return self.chosen - self.rejected  # [pairs]

    @property
    def loss(self) -> Tensor:
        """-log of the probability that the chosen answer wins, by the Bradley-Terry model [pairs]."""
        return -F.logsigmoid(self.margin)  # [pairs]

    def means(self) -> dict[str, float]:
        """What is recorded of them. A pair without any margin counts as half right."""
        margin = self.margin.detach()  # [pairs]
        right = (margin > 0).float() + 0.5 * (margin == 0).float()  # [pairs]
        found = {
            "loss": self.loss,
            "accuracy": right,
            "margin": margin,
            "chosen_reward": self.chosen,
            "rejected_reward": self.rejected,
        }
        return {name: float(values.detach().mean()) for name, values in found.items()}


class PreferenceOptimization(FineTune):
    """-log σ(β · [log π(y⁺|x)/πref(y⁺|x) - log π(y⁻|x)/πref(y⁻|x)]), the mean over pairs of a better and a worse answer.

    The log-probabilities are sums over the tokens of the answer, in float32; πref is the model as the run found it. At
    the beginning π = πref, every margin is 0 and the loss is ln 2.
    Rafailov et al. 2023, "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", equation 7.
    """

    kind: DataKind = "dpo"
    rows_together = 2

    def prepare(self, setting: Setting) -> None:
        """Freeze the reference."""
        self._beta = setting.config.dpo_beta
        self._reference = Reference(setting.model, setting.precision)
        self._first: float | None = None

    def weight(self, batch: Batch) -> float:
        """How many pairs there are."""
        return float((batch.documents[0::2].amax(1) + 1).sum())

    def evaluated(self, batch: Batch) -> float:
        """The tokens of its answers."""
        return super().weight(batch)

    def loss(self, model: MiniMind, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The mean over the pairs, with their mean rewards, margin, and the share in which the better answer leads."""
        rewards = self._rewards(model, batch)
        scalars = rewards.means()
        if self._first is None:
            self._first = scalars["loss"]
        return balanced(model, rewards.loss.mean(), scalars)

    @torch.no_grad()
    def evaluate(self, model: MiniMind, batches: Sequence[Batch]) -> dict[str, float]:
        """The loss on held-out pairs, how often the chosen answer leads there, and by how much.

        ``validation_kl`` is KL(π ‖ πref) in nats a token, over all tokens that could follow and not only those that do:
        how far the model has moved on these answers.
        """
        with evaluating(model):
            found = [self._rewards(model, batch) for batch in batches]
            moved = sum(self._divergence(model, batch) for batch in batches)
        rewards = Rewards(*(torch.cat(side) for side in zip(*found, strict=True)))
        means = rewards.means()
        figures = {f"validation_{name}": means[name] for name in ("loss", "accuracy", "margin")}
        return figures | {"validation_kl": moved / max(sum(map(self.evaluated, batches)), 1.0)}

    def _divergence(self, model: MiniMind, batch: Batch) -> float:
        """KL(π ‖ πref), summed over the tokens of the answers."""
        with self._reference.of(model) as reference:
            usual, layer = (
                packed_hidden(reference, batch),
                reference.lm_head.weight,
            )  # [rows, time, hidden], [v, hidden]
        hidden = (usual, packed_hidden(model, batch))  # 2 × [rows, time, hidden]
        return float(summed_distances(hidden, (layer, model.lm_head.weight), batch.labels, 0.0, 1.0).divergence)

    def _rewards(self, model: MiniMind, batch: Batch) -> Rewards:
        with self._reference.of(model) as reference:
            usual = answer_log_probabilities(reference, batch)  # [rows, documents]
        ratios = answer_log_probabilities(model, batch) - usual  # [rows, documents]
        last = batch.documents[0::2].amax(1, keepdim=True)  # [rows / 2, 1]
        there = torch.arange(ratios.shape[1], device=last.device) <= last  # [rows / 2, documents]
        return Rewards(self._beta * ratios[0::2][there], self._beta * ratios[1::2][there])

    def state_tensors(self) -> dict[str, Tensor]:
        """The reference."""
        return self._reference.state_tensors()

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the reference back."""
        self._reference.load_state_tensors(tensors)

    def events(self, step: int) -> Iterator[Event]:
        """After the first update: whether the loss began at ln 2, and if not, why."""
        if step == 1 and self._first is not None:
            yield Note(_beginning(self._first))


def answer_log_probabilities(model: MiniMind, batch: Batch) -> Tensor:
    """log p(answer | request) of each document of each row [rows, documents], float32: the sum over its counted tokens."""
    values = token_log_probabilities(model, batch)  # [rows, time]
    width = int(batch.documents.max()) + 1
    sums = values.new_zeros(len(values), width)  # [rows, documents]
    return sums.scatter_add(1, batch.documents.clamp(min=0), values)  # [rows, documents]


def _beginning(loss: float) -> Text:
    if abs(loss - LN_2) < _NEAR:
        return Text(
            f"the loss began at {loss:.4f} = ln 2, as it must: model and reference are still the same, so neither answer "
            "is preferred",
            f"损失从 {loss:.4f} = ln 2 开始，理应如此：此时模型与参考模型相同，对两个回答没有偏好",
        )
    return Text(
        f"the loss began at {loss:.4f}, not at ln 2 = {LN_2:.4f}: model and reference differ at the start; dropout does "
        "that (the reference has none), else the precision",
        f"损失从 {loss:.4f} 开始，而不是 ln 2 = {LN_2:.4f}：模型与参考模型一开始就不同；通常是因为 dropout（参考模型不用），"
        "否则是计算精度所致",
    )


objective = PreferenceOptimization
