"""PPO: reinforcement learning with a critic, which says token by token how much better than expected an answer went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from minimind.config import TrainConfig
from minimind.data.packing import Batch, Position
from minimind.data.tasks import Task
from minimind.events import Event, Scalars
from minimind.model.transformer import MiniMind
from minimind.training.critic import Critic, clipped_value_loss, explained_variance, generalized_advantages
from minimind.training.frozen import Reference
from minimind.training.loss import balanced, label_log_probabilities, packed_hidden, token_log_probabilities
from minimind.training.objective import Setting
from minimind.training.policy import PolicyGradient, Surrogate, clipped_surrogate, kl_estimate
from minimind.training.rollouts import RolloutBatch, lay_out_rollouts

_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class ValuedBatch(RolloutBatch):
    """Answers with what the critic made of them; the added tensors are [batch, time] and 0 where nothing was drawn.

    features                     [batch, time, hidden]: the reference's last hidden states, which the critic reads
    values                       what the critic expected before each token
    returns                      what it should have expected
    reference_log_probabilities  of each label under the frozen reference
    """

    features: Tensor
    values: Tensor
    returns: Tensor
    reference_log_probabilities: Tensor


class ProximalPolicyOptimization(PolicyGradient):
    """-min(ρ·A, clip(ρ)·A) at each token, with advantages from a critic, and the critic's own clipped loss beside it.

    One answer to each task. A token's reward is -β·(log π_old - log πref), and at the last one the answer's reward
    besides (Ouyang et al. 2022, section 3.5); advantages are generalised (γ, λ) and scaled to mean 0 and deviation 1 over
    the rollout of `minibatches` · `batch_size` answers, which are gone through `updates_per_rollout` times in random
    order, until the policy has moved too far from the one that drew them.
    Schulman et al. 2017, "Proximal Policy Optimization Algorithms"; Schulman et al. 2016 on the advantages.
    """

    batch_type = ValuedBatch

    def prepare(self, setting: Setting) -> None:
        """Freeze the reference; begin the critic on top of it."""
        super().prepare(setting)
        self._anchor = self._reference or Reference(setting.model, setting.precision)
        self._reference = self._anchor
        self._device = setting.device
        self._critic = Critic(setting.model.config.hidden_size, setting.config.critic_width).to(setting.device)
        self._told: dict[str, float] = {}

    def parameters(self) -> Mapping[str, nn.Parameter]:
        """The critic."""
        return {f"critic.{name}": parameter for name, parameter in self._critic.named_parameters()}

    def _collect(
        self, tasks: Sequence[Task], order: Iterator[tuple[int, Position]], config: TrainConfig
    ) -> Sequence[ValuedBatch]:
        """All answers of a rollout, their advantages scaled together."""
        count = config.accumulation_steps * config.minibatches
        batches = [self._rollout(tasks, order, config) for _ in range(count)]
        drawn = [batch.token_weights > 0 for batch in batches]
        advantages, values, returns = (
            torch.cat([getattr(batch, name)[mask] for batch, mask in zip(batches, drawn, strict=True)])
            for name in ("advantages", "values", "returns")
        )  # 3 × [tokens]
        self._told = {
            "explained_variance": explained_variance(values.tolist(), returns.tolist()),
            "value": float(values.mean()),
        }
        mean, deviation = advantages.mean(), advantages.std(correction=0) + _EPSILON  # 2 × []
        return [
            replace(batch, advantages=(batch.advantages - mean) / deviation * mask)
            for batch, mask in zip(batches, drawn, strict=True)
        ]

    def _plan(self, count: int) -> list[int]:
        """Each pass in an order of its own."""
        orders = [
            torch.randperm(count, generator=self._sampler.generator) for _ in range(self._config.updates_per_rollout)
        ]
        return [number for order in orders for number in order.tolist()]

    def _rollout(
        self, tasks: Sequence[Task], order: Iterator[tuple[int, Position]], config: TrainConfig
    ) -> ValuedBatch:
        """One answer to each of the next tasks, and what the critic made of it."""
        groups, position = self._answer(tasks, order, 1)
        answers = [answer for group in groups for answer in group]
        episodes = [answer.episode for answer in answers]
        numbers = [[float(number)] * len(episode.tokens) for number, episode in enumerate(episodes)]
        weights = [[1.0] * len(episode.tokens) for episode in episodes]
        plain = lay_out_rollouts(episodes, numbers, weights, self._tokenizer, config.sequence_length, position)
        return self._judge(plain, [answer.reward for answer in answers])

    @torch.no_grad()
    def _judge(self, plain: RolloutBatch, rewards: Sequence[float]) -> ValuedBatch:
        """Values, returns and advantages of answers; in `plain` the advantages are the answers' numbers."""
        config, here = self._config, plain.to(self._device)
        with self._anchor.of(self._model) as reference:
            features = packed_hidden(reference, here)  # [batch, time, hidden]
            usual = label_log_probabilities(reference, features, here.labels, config.rollout_temperature)
        drawn = plain.token_weights > 0  # [batch, time]
        values = self._critic(features).cpu() * drawn  # [batch, time]
        usual = usual.cpu()  # [batch, time]
        penalties = -config.kl_coefficient * (plain.old_log_probabilities - usual)  # [batch, time]
        advantages, returns = torch.zeros_like(values), torch.zeros_like(values)  # 2 × [batch, time]
        for number, reward in enumerate(rewards):
            places = (drawn & (plain.advantages == number)).nonzero(as_tuple=True)  # 2 × [actions]
            earned = penalties[places].tolist()
            earned[-1] += reward
            better, found = generalized_advantages(earned, values[places].tolist(), config.gamma, config.gae_lambda)
            advantages[places], returns[places] = torch.tensor(better), torch.tensor(found)  # [actions]
        known = {item.name: getattr(plain, item.name) for item in fields(RolloutBatch)} | {"advantages": advantages}
        return ValuedBatch(
            **known, features=features.cpu(), values=values, returns=returns, reference_log_probabilities=usual
        )

    def token_weight(self, length: int) -> float:
        """Every token counts the same."""
        del length
        return 1.0

    def surrogate(self, batch: RolloutBatch, log_probabilities: Tensor) -> Surrogate:
        """The clipped objective."""
        low, high = self._config.clip_low, self._config.clip_high
        return clipped_surrogate(log_probabilities, batch.old_log_probabilities, batch.advantages, low, high)

    def loss(self, model: MiniMind, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """Policy loss plus value_coefficient times value loss; the divergences from the old policy and the reference."""
        assert isinstance(batch, ValuedBatch)
        config = self._config
        values = token_log_probabilities(model, batch, config.rollout_temperature)  # [batch, time]
        losses, clipped = self.surrogate(batch, values)  # 2 × [batch, time]
        shares = batch.token_weights / batch.token_weights.sum().clamp(min=1e-9)  # [batch, time]
        policy_loss = (losses * shares).sum()  # []
        expected = self._critic(batch.features)  # [batch, time]
        value_loss = clipped_value_loss(expected, batch.values, batch.returns, shares, config.value_clip)  # []
        loss = policy_loss + config.value_coefficient * value_loss  # []
        moved = kl_estimate(batch.old_log_probabilities, values.detach())  # [batch, time]
        away = kl_estimate(values.detach(), batch.reference_log_probabilities)  # [batch, time]
        scalars = {
            "loss": float(loss.detach()),
            "policy_loss": float(policy_loss.detach()),
            "value_loss": float(value_loss.detach()),
            "clip_fraction": float((clipped * shares).sum()),
            "approximate_kl": float((moved * shares).sum()),
            "kl": float((away * shares).sum()),
        }
        return balanced(model, loss, scalars)

    def updated(self, scalars: Mapping[str, float]) -> None:
        """Draw new answers where the policy has moved too far from the one that drew these."""
        if scalars["approximate_kl"] > self._config.early_stop_kl:
            self._queue = []

    def events(self, step: int) -> Iterator[Event]:
        """What the critic knew of new answers, besides what they were worth."""
        yield from super().events(step)
        if self._told:
            yield Scalars(step, self._told)
        self._told = {}


objective = ProximalPolicyOptimization
