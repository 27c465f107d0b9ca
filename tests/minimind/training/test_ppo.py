"""PPO against plain loops over tokens, a bandit with a reward at the end of each answer, and resuming within a rollout."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from minimind.data.packing import IGNORED
from minimind.events import Scalars
from minimind.model.transformer import MiniMind
from minimind.training import rollouts
from minimind.training.control import Control
from minimind.training.job import Job
from minimind.training.objectives.ppo import ProximalPolicyOptimization, ValuedBatch
from minimind.training.update import Updater
from tests.minimind.training.listening import MakeTrainer
from tests.minimind.training.test_policy import by_length, moved, probability_of, tensors

SETTINGS: dict[str, Any] = {
    "objective": "ppo",
    "batch_size": 3,
    "minibatches": 2,
    "max_new_tokens": 6,
    "evaluation_tokens": 100,
}
MakeJob = Callable[..., Job]


@pytest.fixture
def first_rollout(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Updater, ProximalPolicyOptimization, list[ValuedBatch]]]:
    """A run's objective with its first rollout, judged by a critic that already expects something."""
    monkeypatch.setattr(rollouts, "reward_parts", by_length)

    def made(**settings: Any) -> tuple[Updater, ProximalPolicyOptimization, list[ValuedBatch]]:
        updater = Updater(make_job(**SETTINGS | settings))
        objective = updater.objective
        assert isinstance(objective, ProximalPolicyOptimization)
        with torch.no_grad():
            objective._critic.value.weight.add_(0.3)
        stream = objective.batches(updater._data, updater.config)
        batches = [batch for _, batch in zip(range(2), stream, strict=False) if isinstance(batch, ValuedBatch)]
        updater.working.eval()
        return updater, objective, batches

    return made


def answers_in(batch: ValuedBatch) -> list[tuple[Tensor, ...]]:
    """For each answer: its row's tokens and labels up to its end, and where what was drawn stands."""
    found = []
    for row in range(len(batch.tokens)):
        for document in range(int(batch.documents[row].max()) + 1):
            here = (batch.documents[row] == document).nonzero()[:, 0]
            found.append((torch.tensor(row), here, here[batch.labels[row][here] != IGNORED]))
    return found


def test_advantages_are_those_of_a_loop_over_tokens(first_rollout: Any) -> None:
    """Penalty at every token, the reward at the last one, values of the critic, GAE; then scaled over the rollout."""
    settings = {"kl_coefficient": 0.5, "gae_lambda": 0.9, "gamma": 0.97, "rollout_temperature": 0.8}
    updater, objective, batches = first_rollout(**settings)
    reference: MiniMind = updater.optimizer.model.eval()
    answers = [answer for group in objective._news for answer in group]
    raw: list[float] = []
    scaled: list[float] = []
    by_text = {answer.episode.tokens: answer.reward for answer in answers}
    for batch in batches:
        for row, here, drawn in answers_in(batch):
            tokens = batch.tokens[row][here]
            with torch.no_grad():
                hidden = reference.hidden(tokens[None])[0]
            expected = [float(value.detach()) for value in objective._critic(hidden)[drawn - here[0]]]
            scores = (reference.lm_head(hidden) / 0.8).log_softmax(-1)
            usual = scores.detach().gather(1, batch.labels[row][here].clamp(min=0)[:, None])[drawn - here[0], 0]
            old = batch.old_log_probabilities[row][drawn]
            last = int(batch.labels[row][drawn[-1]])
            rewards = [-0.5 * float(now - then) for now, then in zip(old, usual, strict=True)]
            rewards[-1] += by_text[(*tokens.tolist(), last)]
            advantages = [0.0] * len(rewards)
            for time in range(len(rewards)):
                for later in range(time, len(rewards)):
                    after = expected[later + 1] if later + 1 < len(rewards) else 0.0
                    surprise = rewards[later] + 0.97 * after - expected[later]
                    advantages[time] += (0.97 * 0.9) ** (later - time) * surprise
            raw += advantages
            scaled += batch.advantages[row][drawn].tolist()
            assert batch.values[row][drawn].tolist() == pytest.approx(expected, abs=1e-4)
            returns = [a + v for a, v in zip(advantages, expected, strict=True)]
            assert batch.returns[row][drawn].tolist() == pytest.approx(returns, abs=1e-3)
    mean = sum(raw) / len(raw)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in raw) / len(raw))
    assert scaled == pytest.approx([(value - mean) / deviation for value in raw], abs=2e-3)
    assert max(abs(value) for value in raw) > 1


def test_the_loss_is_the_mean_over_drawn_tokens(first_rollout: Any) -> None:
    updater, objective, (batch, _) = first_rollout(clip_low=0.05, clip_high=0.1, value_clip=0.05)
    moved(updater.working, 0.01)
    with torch.no_grad():
        objective._critic.value.bias.add_(0.03)
        objective._critic.value.weight.add_(0.05)
        loss, scalars = objective.loss(updater.working, batch)
        policy, value, count, clipped, moved_by = 0.0, 0.0, 0, 0, 0.0
        for row, here, drawn in answers_in(batch):
            scores = updater.working(batch.tokens[row][here][None])[0].log_softmax(-1)
            for place in drawn.tolist():
                new = float(scores[place - int(here[0]), batch.labels[row, place]])
                ratio = math.exp(new - float(batch.old_log_probabilities[row, place]))
                advantage = float(batch.advantages[row, place])
                policy -= min(ratio * advantage, min(max(ratio, 0.95), 1.1) * advantage)
                clipped += min(max(ratio, 0.95), 1.1) * advantage < ratio * advantage
                moved_by += ratio - 1 - math.log(ratio)
                old, wanted = float(batch.values[row, place]), float(batch.returns[row, place])
                now = float(objective._critic(batch.features[row, place]))
                near = old + min(max(now - old, -0.05), 0.05)
                value += 0.5 * max((now - wanted) ** 2, (near - wanted) ** 2)
                count += 1
    assert scalars["policy_loss"] == pytest.approx(policy / count, abs=1e-4)
    assert scalars["value_loss"] == pytest.approx(value / count, rel=1e-3)
    assert scalars["clip_fraction"] == pytest.approx(clipped / count, abs=1e-6)
    assert 0 < scalars["clip_fraction"] < 1
    assert scalars["approximate_kl"] == pytest.approx(moved_by / count, abs=1e-5)
    assert float(loss) == pytest.approx(scalars["policy_loss"] + 0.5 * scalars["value_loss"], abs=1e-5)
    assert objective.weight(batch) == count


def test_a_rollout_is_gone_through_several_times_or_until_the_policy_has_moved(make_job: MakeJob) -> None:
    settings = SETTINGS | {"updates_per_rollout": 3}
    updater = Updater(make_job(**settings))
    objective = updater.objective
    assert isinstance(objective, ProximalPolicyOptimization)
    stream = objective.batches(updater._data, updater.config)
    seen = [next(stream) for _ in range(6)]
    assert [sum(batch is one for batch in seen) for one in seen[:1]] == [3]
    assert len({id(batch) for batch in seen}) == 2
    assert len({batch.position for batch in seen}) == 1
    next(stream)
    objective.updated({"approximate_kl": updater.config.early_stop_kl})
    assert len(objective._queue) == 5
    objective.updated({"approximate_kl": updater.config.early_stop_kl + 0.01})
    assert id(next(stream)) not in {id(batch) for batch in objective._pending[:0]} | {id(batch) for batch in seen}


def test_a_bandit_with_a_critic_is_won(make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of one token, half of which pay: the probability of those that do, known exactly, goes to 1."""
    job = make_job(
        **SETTINGS
        | {"batch_size": 32, "max_new_tokens": 1, "steps": 60, "updates_per_rollout": 3, "learning_rate": 0.02}
        | {"kl_coefficient": 0.0, "warmup": 0.0, "weight_decay": 0.0, "critic_learning_rate": 0.01}
    )
    words = {job.tokenizer.decode([token]) for token in range(0, 2048, 2)}
    arms = torch.tensor([token for token in range(2048) if job.tokenizer.decode([token]) in words and token > 2])
    monkeypatch.setattr(rollouts, "reward_parts", lambda _task, text: {"right": float(text in words)})
    before = probability_of(arms, job.model, job.data.train)
    updater = Updater(job)
    values = []
    for step in range(60):
        assert updater.update(step, 60).applied
        told = [event.values for event in job.objective.events(step + 1) if isinstance(event, Scalars)]
        values += [found["value"] for found in told if "value" in found]
    assert 0.3 < before < 0.7
    assert probability_of(arms, updater.optimizer.model, job.data.train) > 0.9
    assert len(values) >= 10
    assert values[0] == 0.0
    assert values[-1] > 0.4  # the critic has seen that it pays


def test_critic_and_rollout_survive_an_interruption(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two passes over two batches are four updates: stopped within a rollout and at its end, equal to the last bit."""
    monkeypatch.setattr(rollouts, "reward_parts", by_length)
    settings = SETTINGS | {"updates_per_rollout": 2, "steps": 8}
    straight, heard = make_trainer(tmp_path / "straight", **settings)
    assert straight.run().outcome == "finished"
    names = ("loss", "value_loss", "approximate_kl", "reward", "explained_variance", "validation_reward")
    series: dict[str, dict[int, float]] = {name: {} for name in names}
    for stop in (1, 4, 99):
        trainer, listener = make_trainer(tmp_path / "interrupted", **settings)
        listener.wish = lambda step, stop=stop: Control(want="stop" if step >= stop else "run")
        trainer.run()
        for name, values in series.items():
            values |= listener.series(name)
        random.seed(0)
        torch.manual_seed(0)
    assert series == {name: heard.series(name) for name in series}
    assert not heard.series("degenerate_groups")  # there are no groups
    assert sorted(series["reward"]) == sorted(series["explained_variance"]) == [1, 5]
    first, second = tensors(straight), tensors(trainer)
    critics = dict(straight.updater.optimizer.extra), dict(trainer.updater.optimizer.extra)
    assert first.keys() == second.keys()
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert len(critics[0]) == 7
    assert all(torch.equal(parameter, critics[1][name]) for name, parameter in critics[0].items())


def test_the_critic_has_a_rate_and_a_norm_of_its_own(first_rollout: Any) -> None:
    updater, objective, (batch, _) = first_rollout(learning_rate=1e-3, critic_learning_rate=2e-2, clip=0.5)
    before = {name: parameter.detach().clone() for name, parameter in objective.parameters().items()}
    loss, _ = objective.loss(updater.working, batch)
    (loss * 1e3).backward()
    norm = updater.optimizer.clip_gradients()
    inside = [master.grad for master in updater.optimizer.model.parameters() if master.grad is not None]
    beside = [parameter.grad for parameter in objective.parameters().values() if parameter.grad is not None]
    assert norm > 0.5
    assert float(torch.nn.utils.get_total_norm(inside)) == pytest.approx(0.5, rel=1e-3)
    assert float(torch.nn.utils.get_total_norm(beside)) == pytest.approx(0.5, rel=1e-3)
    updater.optimizer.step(1.0)
    moved_by = max(float((objective.parameters()[name].detach() - old).abs().max()) for name, old in before.items())
    assert moved_by == pytest.approx(2e-2, rel=1e-2)  # AdamW's first step is the learning rate


def test_a_critic_that_is_not_finite_leaves_the_weights_alone(first_rollout: Any) -> None:
    updater, objective, _ = first_rollout()
    next(iter(objective.parameters().values())).grad = torch.full_like(objective._critic.norm.weight, math.nan)
    assert math.isnan(updater.optimizer.clip_gradients())


def test_a_correction_of_low_rank_trains_against_the_model_without_it(
    make_trainer: MakeTrainer, trained_tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reference, which the critic reads, is then the trained model itself with its corrections off."""
    monkeypatch.setattr(rollouts, "reward_parts", by_length)
    trainer, listener = make_trainer(
        tmp_path, **SETTINGS | {"tune": "lora", "model": str(trained_tiny), "steps": 4, "learning_rate": 0.05}
    )
    assert trainer.run().outcome == "finished"
    divergence = listener.series("kl")
    assert divergence[4] > divergence[1]
    assert not any(name.startswith("reference") for name in trainer.job.objective.state_tensors())
