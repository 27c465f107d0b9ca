"""GRPO and CISPO: losses and gradients against the formulas, degenerate groups, a bandit, resuming between updates."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from minimind.config import TrainConfig, train_preset
from minimind.data.packing import IGNORED, Batch
from minimind.data.shards import TokenDataset
from minimind.errors import UserError
from minimind.events import Sample, Scalars, Table
from minimind.model.transformer import MiniMind
from minimind.training import rollouts
from minimind.training.control import Control
from minimind.training.job import Job
from minimind.training.loop import Trainer
from minimind.training.policy import PolicyGradient, clipped_surrogate, kl_estimate, tasks_of
from minimind.training.rollouts import RolloutBatch
from minimind.training.state import State
from minimind.training.update import Updater
from tests.minimind.training.listening import MakeTrainer

METHODS = ("grpo", "cispo")
SETTINGS: dict[str, Any] = {"batch_size": 3, "group_size": 4, "max_new_tokens": 6, "evaluation_tokens": 100}
MakeJob = Callable[..., Job]


def by_length(_task: object, text: str) -> dict[str, float]:
    """A reward that differs between the answers of a model that has learned nothing."""
    return {"length": float(len(text)), "repetition": 0.0}


def first_batch(make_job: MakeJob, **settings: Any) -> tuple[Updater, PolicyGradient, RolloutBatch]:
    updater = Updater(make_job(**SETTINGS | settings))
    objective = updater.objective
    assert isinstance(objective, PolicyGradient)
    batch = next(objective.batches(updater._data, updater.config))
    assert isinstance(batch, RolloutBatch)
    updater.working.eval()
    return updater, objective, batch


def moved(model: MiniMind, by: float) -> None:
    """Change every weight a little, always in the same way."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator))


def plain_terms(
    model: MiniMind, reference: MiniMind, batch: RolloutBatch, temperature: float
) -> list[tuple[Tensor, Tensor, Tensor, float]]:
    """Of each answer: its tokens' log-probabilities, the old ones, the reference's, and its advantage, one by one."""
    found = []
    for row in range(len(batch.tokens)):
        for document in range(int(batch.documents[row].max()) + 1):
            here = batch.documents[row] == document
            labels = batch.labels[row][here]
            counted = labels != IGNORED
            values = []
            for network in (model, reference):
                scores = (network(batch.tokens[row][here][None])[0].float() / temperature).log_softmax(-1)
                values.append(scores[counted].gather(1, labels[counted][:, None])[:, 0])
            advantages = batch.advantages[row][here][counted]
            assert len(advantages.unique()) == 1
            old = batch.old_log_probabilities[row][here][counted]
            found.append((values[0], old, values[1].detach(), float(advantages[0])))
    return found


def plain_loss(method: str, terms: list[tuple[Tensor, Tensor, Tensor, float]], config: TrainConfig) -> Tensor:
    """The published objective, written down token by token."""
    answers: list[list[Tensor]] = []
    for new, old, usual, advantage in terms:
        tokens = []
        for now, before, at_start in zip(new, old, usual, strict=True):
            ratio = torch.exp(now - before)
            if method == "grpo":
                bounded = torch.clamp(ratio, 1 - config.clip_low, 1 + config.clip_high)
                gain = torch.min(ratio * advantage, bounded * advantage)
            else:
                gain = torch.clamp(ratio, max=config.importance_limit).detach() * advantage * now
            apart = at_start - now
            tokens.append(gain - config.kl_coefficient * (torch.exp(apart) - apart - 1))
        answers.append(tokens)
    if method == "grpo":
        return -torch.stack([torch.stack(tokens).mean() for tokens in answers]).mean()
    return -torch.cat([torch.stack(tokens) for tokens in answers]).mean()


@pytest.mark.parametrize("method", METHODS)
def test_loss_and_gradient_are_the_formulas(method: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the policy has moved, so that ratios are clipped and the divergence is not zero."""
    monkeypatch.setattr(rollouts, "reward_parts", by_length)
    settings: dict[str, Any] = {"rollout_temperature": 0.7, "kl_coefficient": 0.3, "importance_limit": 1.02}
    updater, objective, batch = first_batch(make_job, objective=method, clip_low=0.05, clip_high=0.1, **settings)
    model = updater.working
    reference = MiniMind(model.config).eval()
    reference.load_state_dict({name: tensor.clone() for name, tensor in updater.optimizer.model.state_dict().items()})
    moved(model, 0.01)

    loss, scalars = objective.loss(model, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    found = [parameter.grad for parameter in model.parameters()]
    terms = plain_terms(model, reference, batch, 0.7)
    expected = plain_loss(method, terms, updater.config)
    wanted = torch.autograd.grad(expected, list(model.parameters()))

    assert 0.05 < scalars["clip_fraction"] < 0.95
    assert scalars["loss"] == pytest.approx(float(expected.detach()), abs=1e-5)
    assert scalars["loss"] == pytest.approx(scalars["policy_loss"] + 0.3 * scalars["kl"], abs=1e-6)
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine is not None
        assert torch.allclose(mine, theirs, atol=1e-5, rtol=1e-3)
    count = len(terms) if method == "grpo" else sum(len(new) for new, *_ in terms)
    assert objective.weight(batch) == pytest.approx(count)


@pytest.mark.parametrize("method", METHODS)
def test_at_the_beginning_nothing_is_clipped_and_nothing_diverges(
    method: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollouts, "reward_parts", by_length)
    updater, objective, batch = first_batch(make_job, objective=method)
    _, scalars = objective.loss(updater.working, batch)
    assert scalars["clip_fraction"] == 0.0
    assert scalars["kl"] == pytest.approx(0.0, abs=1e-6)


def test_the_clipped_surrogate_in_numbers() -> None:
    ratios = torch.tensor([0.5, 0.9, 1.1, 1.5, 0.5, 1.5])
    advantages = torch.tensor([1.0, 1.0, 1.0, 1.0, -2.0, -2.0])
    found = clipped_surrogate(ratios.log(), torch.zeros(6), advantages, 0.2, 0.3)
    assert found.losses.tolist() == pytest.approx([-0.5, -0.9, -1.1, -1.3, 1.6, 3.0])
    assert found.clipped.tolist() == [False, False, False, True, True, False]


def test_the_divergence_estimate_is_unbiased_and_never_negative() -> None:
    """Its mean over π is KL(π ‖ πref), exactly."""
    generator = torch.Generator().manual_seed(0)
    policy, reference = torch.randn(2, 50, generator=generator).log_softmax(-1)
    estimate = kl_estimate(policy, reference)
    assert (estimate >= 0).all()
    divergence = (policy.exp() * (policy - reference)).sum()
    assert float((policy.exp() * estimate).sum()) == pytest.approx(float(divergence), rel=1e-4)
    assert kl_estimate(torch.tensor(-1.0), torch.tensor(-1.0)) == 0.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_groups_in_which_all_are_equal_teach_nothing(
    method: str, beta: float, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollouts, "reward_parts", lambda _task, _text: {"format": 0.1, "repetition": 0.0})
    updater, objective, batch = first_batch(make_job, objective=method, kl_coefficient=beta)
    loss, scalars = objective.loss(updater.working, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == pytest.approx(0.0, abs=1e-6)
    assert all(math.isfinite(value) for value in scalars.values())
    assert ("kl" in scalars) == (beta > 0)
    norm = torch.nn.utils.get_total_norm([p.grad for p in updater.working.parameters() if p.grad is not None])
    assert float(norm) == pytest.approx(0.0, abs=1e-5)
    told = next(event for event in objective.events(1) if isinstance(event, Scalars))
    assert told.values["degenerate_groups"] == 1.0


def probability_of(arms: Tensor, model: MiniMind, data: TokenDataset) -> float:
    """The mean over the first tasks of the probability that the first token of the answer is one of `arms`."""
    chances = []
    with torch.no_grad():
        for start, stop in zip(data.offsets[:20], data.offsets[1:21], strict=True):
            ids = torch.from_numpy(data.tokens[start:stop].astype("int64"))
            chances.append(float(model.eval()(ids[None])[0, -1].softmax(-1)[arms].sum()))
    return sum(chances) / len(chances)


@pytest.mark.parametrize("method", METHODS)
def test_a_bandit_is_won(method: str, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of one token, half of which pay: the probability of those that do, known exactly, rises towards 1."""
    job = make_job(
        **SETTINGS
        | {"objective": method, "max_new_tokens": 1, "batch_size": 2, "group_size": 16, "learning_rate": 0.02}
        | {"kl_coefficient": 0.0, "updates_per_rollout": 2, "steps": 30, "warmup": 0.0, "weight_decay": 0.0}
    )
    words = {job.tokenizer.decode([token]) for token in range(0, 2048, 2)}
    arms = torch.tensor([token for token in range(2048) if job.tokenizer.decode([token]) in words and token > 2])
    monkeypatch.setattr(rollouts, "reward_parts", lambda _task, text: {"right": float(text in words)})
    before = probability_of(arms, job.model, job.data.train)
    updater = Updater(job)
    for step in range(30):
        assert updater.update(step, 30).applied
    assert before < 0.6
    assert probability_of(arms, updater.optimizer.model, job.data.train) > before + 0.2


def tensors(trainer: Trainer) -> dict[str, Tensor]:
    optimizer, objective = trainer.updater.optimizer, trainer.job.objective
    named = dict(optimizer.model.named_parameters()) | optimizer.state_tensors() | objective.state_tensors()
    return {name: tensor.detach().clone() for name, tensor in named.items()}


def test_interrupted_between_updates_of_one_rollout_and_resumed(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three updates of the same answers, two micro-batches each: weights, generator, answers and losses to the last bit."""
    monkeypatch.setattr(rollouts, "reward_parts", by_length)
    settings: dict[str, Any] = SETTINGS | {
        "objective": "grpo",
        "updates_per_rollout": 3,
        "accumulation_steps": 2,
        "steps": 8,
    }
    straight, heard = make_trainer(tmp_path / "straight", **settings)
    assert straight.run().outcome == "finished"
    series = {name: {} for name in ("loss", "kl", "reward", "validation_reward")}  # type: dict[str, dict[int, float]]
    for stop in (2, 6, 99):
        trainer, listener = make_trainer(tmp_path / "interrupted", **settings)
        listener.wish = lambda step, stop=stop: Control(want="stop" if step >= stop else "run")
        trainer.run()
        for name, values in series.items():
            values |= listener.series(name)
        random.seed(0)
        torch.manual_seed(0)
    assert series == {name: heard.series(name) for name in series}
    assert sorted(series["reward"]) == [1, 4, 7]
    first, second = tensors(straight), tensors(trainer)
    assert first.keys() == second.keys()
    assert any(name.startswith("pending") for name in first)
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_run_tells_rewards_samples_and_a_table(make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollouts, "reward_parts", by_length)
    trainer, listener = make_trainer(**SETTINGS | {"objective": "grpo", "steps": 4, "sample_every": 2})
    assert trainer.run().outcome == "finished"
    for name in ("reward", "reward_length", "reward_spread", "degenerate_groups", "entropy", "answer_length", "kl"):
        assert sorted(listener.series(name)) == [1, 2, 3, 4], name
    held_out = listener.series("validation_reward")
    assert sorted(held_out) == [0, 4]
    assert held_out[4] == -listener.series("validation_loss")[4]
    rewarded = [event for event in listener.events if isinstance(event, Sample) and "length" in event.name]
    assert {event.step for event in rewarded} == {2, 4}
    table = next(event for event in listener.events if isinstance(event, Table))
    assert table.name == "rollouts"
    assert [len(row) for row in table.rows] == [4] * len(table.rows)
    assert listener.series("epoch")[4] == pytest.approx(12 / len(trainer.job.data.train))


def test_rewards_on_held_out_tasks_are_the_same_whenever_they_are_asked_for(make_job: MakeJob) -> None:
    updater, objective, _ = first_batch(make_job, objective="grpo")
    batches = objective.validation(updater._data, updater.config)
    first = objective.evaluate(updater.working, batches)
    assert first == objective.evaluate(updater.working, batches)
    assert objective.weight(batches[0]) >= 100
    assert sum(len(batch.tokens) for batch in batches) < 10


def test_texts_instead_of_tasks_are_refused(make_job: MakeJob) -> None:
    with pytest.raises(UserError, match="texts, not tasks"):
        tasks_of(make_job(objective="sft").data.train)
    with pytest.raises(UserError, match="max_new_tokens = 64 leaves no room"):
        make_job(objective="grpo", max_new_tokens=64)
    with pytest.raises(UserError, match="grpo draws its answers from a whole model"):
        make_job(objective="grpo", sharding="fsdp")


def test_an_epoch_answers_every_task_once(make_job: MakeJob) -> None:
    job = make_job(**SETTINGS | {"objective": "grpo", "accumulation_steps": 2, "updates_per_rollout": 3})
    assert job.objective.updates_per_epoch(job.data.train, job.config) == pytest.approx(len(job.data.train) / 6 * 3)
    assert isinstance(job.objective.validation(job.data.validation, job.config)[0], Batch)


def test_a_model_without_measured_settings_is_not_ruined_by_the_default_rate() -> None:
    assert train_preset("minimind3", "grpo")["learning_rate"] == 3e-7
    assert train_preset("nano", "cispo")["learning_rate"] == 1e-4
    assert train_preset("minimind3", "sft")["learning_rate"] == 1e-5


def test_a_run_by_rewards_ends_with_a_reward() -> None:
    state = State(steps=10, step=10)
    state.evaluated(-1.25)
    assert "held-out reward 1.250" in state.how_it_ended(by_reward=True).en
    assert "留出集奖励 1.250" in state.how_it_ended(by_reward=True).zh
    assert "held-out loss -1.250" in state.how_it_ended().en
