"""What every method has in common that learns from the rewards of its own answers: rollouts, evaluation, what is told."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minimind.config import TrainConfig
from minimind.data.packing import IGNORED, Batch, Position
from minimind.data.shards import Prepared, ReportProgress, TokenDataset
from minimind.data.tasks import Task, TaskDataset, prepare_tasks
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.events import Event, Sample, Scalars, Table, Text
from minimind.model.transformer import MiniMind
from minimind.training.frozen import Reference
from minimind.training.loss import balanced, token_log_probabilities
from minimind.training.objective import Setting
from minimind.training.objectives.sft import FineTune
from minimind.training.rollouts import (
    Answer,
    Group,
    RolloutBatch,
    Sampler,
    group_advantages,
    lay_out_rollouts,
    rewards_of,
    summary,
    task_order,
)

_EVALUATION_SEED = 1
_GENERATOR, _QUEUE, _PENDING = "generator", "queue", "pending"
_SHOWN_GROUPS = 2
"""Groups of which the best and the worst answer are told."""
_COLUMNS = (Text("question", "问题"), Text("answer", "回答"), Text("reward", "奖励"), Text("parts", "组成"))


@dataclass(frozen=True, slots=True)
class TaskBatch(Batch):
    """Held-out tasks to be answered; `tokens` are their prompts, and nothing is predicted."""

    tasks: tuple[Task, ...]


class Surrogate(NamedTuple):
    """What a method minimises at each token, float32 [batch, time], and where its clipping bites, bool [batch, time]."""

    losses: Tensor
    clipped: Tensor


class PolicyGradient(FineTune):
    """Draw a group of answers to each task, reward them by rules, and make the better ones more likely.

    The answers to `batch_size` tasks are one micro-batch; `updates_per_rollout` updates are made of the same answers.
    A penalty of kl_coefficient (β) times an estimate of KL(π ‖ πref) holds the policy near the model it began as.
    A subclass says how much each token counts and what is minimised there.
    """

    batch_type: type[RolloutBatch] = RolloutBatch

    def prepare(self, setting: Setting) -> None:
        """Freeze the reference and begin the generator that answers are drawn with."""
        config = setting.config
        self._config, self._tokenizer, self._model = config, setting.tokenizer, setting.model
        self._reference = Reference(setting.model, setting.precision) if config.kl_coefficient > 0 else None
        self._sampler = self._make_sampler(config.seed)
        self._pending: list[RolloutBatch] = []
        self._queue: list[int] = []
        self._news: list[Group] = []

    def _make_sampler(self, seed: int) -> Sampler:
        config = self._config
        return Sampler(
            self._tokenizer,
            seed=seed,
            max_new_tokens=config.max_new_tokens,
            temperature=config.rollout_temperature,
            thinking_ratio=config.thinking_ratio,
        )

    def prepare_data(
        self,
        config: TrainConfig,
        tokenizer: Tokenizer,
        *,
        cache: Path,
        embedded_bytes: int | None = None,
        progress: ReportProgress | None = None,
    ) -> Prepared:
        """Tasks instead of texts. They are few: nothing is cached."""
        del cache, embedded_bytes, progress
        return self._prepare_tasks(config, tokenizer, kinds=config.tasks)

    def _prepare_tasks(self, config: TrainConfig, tokenizer: Tokenizer, **about: Any) -> Prepared:
        """The tasks of `config`; `about` are arguments of `prepare_tasks` that differ from method to method."""
        return prepare_tasks(
            config.data,
            tokenizer,
            seed=config.seed,
            longest=config.sequence_length - config.max_new_tokens,
            allow_bad=config.allow_bad,
            **about,
        )

    def fit_batch_size(self, data: TokenDataset, config: TrainConfig) -> tuple[int, Text | None]:
        """Any number of tasks is a batch: an epoch's end is no bound."""
        del data
        return config.batch_size, None

    def updates_per_epoch(self, data: TokenDataset, config: TrainConfig) -> float:
        """Every task is answered once."""
        return len(data) / (config.batch_size * config.accumulation_steps) * config.updates_per_rollout

    def epochs(self, data: TokenDataset, tokens: int, position: Position | None) -> float:
        """How often every task was answered."""
        del tokens
        return position.epoch + position.row / len(data) if position is not None else 0.0

    def batches(
        self, data: TokenDataset, config: TrainConfig, position: Position | None = None, *, epochs: int | None = None
    ) -> Iterator[Batch]:
        """Answers of the model as it is when they are asked for, `updates_per_rollout` times the same ones."""
        position = position or Position()
        tasks = tasks_of(data)
        while epochs is None or position.epoch < epochs:
            if not self._queue:
                order = task_order(len(tasks), config.seed, position)
                rollout = self._collect(tasks, order, config)
                self._pending = [replace(batch, position=rollout[-1].position) for batch in rollout]
                self._queue = self._plan(len(rollout))
            position = self._pending[-1].position
            while self._queue:
                yield self._pending[self._queue.pop(0)]

    def _collect(
        self, tasks: Sequence[Task], order: Iterator[tuple[int, Position]], config: TrainConfig
    ) -> Sequence[RolloutBatch]:
        """All that is drawn before the next updates."""
        return [self._rollout(tasks, order, config) for _ in range(config.accumulation_steps)]

    def _plan(self, count: int) -> list[int]:
        """In which order, and how often, the `count` batches of a rollout are trained on."""
        return list(range(count)) * self._config.updates_per_rollout

    def _rollout(
        self, tasks: Sequence[Task], order: Iterator[tuple[int, Position]], config: TrainConfig
    ) -> RolloutBatch:
        """Answers to the next tasks."""
        groups, position = self._answer(tasks, order, config.group_size)
        advantages = group_advantages(rewards_of(groups)).flatten().tolist()
        episodes = [answer.episode for group in groups for answer in group]
        return lay_out_rollouts(
            episodes,
            [[advantage] * len(episode.tokens) for advantage, episode in zip(advantages, episodes, strict=True)],
            [[self.token_weight(episode.length)] * len(episode.tokens) for episode in episodes],
            self._tokenizer,
            config.sequence_length,
            position,
        )

    def _answer(
        self, tasks: Sequence[Task], order: Iterator[tuple[int, Position]], size: int
    ) -> tuple[list[Group], Position]:
        """A group of `size` answers to each of the next tasks, and where the tasks go on."""
        numbers, positions = zip(*(next(order) for _ in range(self._config.batch_size)), strict=True)
        groups = self._sampler.groups(self._model, [tasks[number] for number in numbers], size)
        self._news += groups
        return groups, positions[-1]

    @abstractmethod
    def token_weight(self, length: int) -> float:
        """What each token of an answer of `length` tokens counts in the mean over the batch."""

    @abstractmethod
    def surrogate(self, batch: RolloutBatch, log_probabilities: Tensor) -> Surrogate:
        """What is minimised, without the penalty. `log_probabilities` [batch, time] have gradients."""

    def weight(self, batch: Batch) -> float:
        """The sum of the tokens' weights; of held-out tasks, the tokens that answering them may take."""
        return float(batch.token_weights.sum()) if isinstance(batch, RolloutBatch) else float(batch.useful_tokens)

    def loss(self, model: MiniMind, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The weighted mean of the surrogate and the penalty, with both apart and the share of tokens clipped."""
        assert isinstance(batch, RolloutBatch)
        temperature, beta = self._config.rollout_temperature, self._config.kl_coefficient
        values = token_log_probabilities(model, batch, temperature)  # [batch, time]
        losses, clipped = self.surrogate(batch, values)  # 2 × [batch, time]
        shares = batch.token_weights / batch.token_weights.sum().clamp(min=1e-9)  # [batch, time]
        policy_loss = (losses * shares).sum()  # []
        scalars = {"policy_loss": float(policy_loss.detach()), "clip_fraction": float((clipped * shares).sum())}
        loss = policy_loss  # []
        if self._reference is not None:
            with self._reference.of(model) as reference:
                usual = token_log_probabilities(reference, batch, temperature)  # [batch, time]
            divergence = (kl_estimate(values, usual) * shares).sum()  # []
            loss = loss + beta * divergence  # []
            scalars["kl"] = float(divergence.detach())
        return balanced(model, loss, {"loss": float(loss.detach()), **scalars})

    def validation(self, data: TokenDataset, config: TrainConfig) -> Sequence[Batch]:
        """As many of the held-out tasks as `evaluation_tokens` may answer."""
        tasks, width, cost = tasks_of(data), 1, 0
        chosen: list[list[int]] = []
        for start, stop in zip(data.offsets[:-1], data.offsets[1:], strict=True):
            if chosen and cost >= config.evaluation_tokens:
                break
            chosen.append(data.tokens[start:stop].tolist())
            width, cost = max(width, len(chosen[-1])), cost + len(chosen[-1]) + config.max_new_tokens
        rows = [ids + [data.pad_id] * (width - len(ids)) for ids in chosen]
        tokens = torch.tensor(rows)  # [tasks, time]
        empty = torch.zeros_like(tokens)  # [tasks, time]
        return [
            TaskBatch(tokens, empty + IGNORED, empty, empty, Position(), cost, 0, tuple(tasks[: len(rows)])),
        ]

    def evaluate(self, model: MiniMind, batches: Sequence[Batch]) -> dict[str, float]:
        """The mean reward on held-out tasks and its parts, of one answer each, always drawn with the same seed.

        The temperature is that of the rollouts, so that this is the quantity that is trained; the loss is minus that.
        """
        del model  # what writes is the trained model itself, not its twin with kernels
        sampler = self._make_sampler(_EVALUATION_SEED)
        tasks = [task for batch in batches if isinstance(batch, TaskBatch) for task in batch.tasks]
        values = summary(sampler.groups(self._model, tasks, 1))
        kept = {name: value for name, value in values.items() if name.startswith("reward") and "spread" not in name}
        found = {f"validation_{name}": value for name, value in kept.items()}
        return {"validation_loss": -values["reward"], **found, "validation_answer_length": values["answer_length"]}

    def state_tensors(self) -> dict[str, Tensor]:
        """The generator, answers that further updates are to be made of, and the reference."""
        tensors = {_GENERATOR: self._sampler.generator.get_state()}
        if self._reference is not None:
            tensors |= self._reference.state_tensors()
        if self._queue:
            tensors[_QUEUE] = torch.tensor(self._queue)  # [batches to come]
            for number, batch in enumerate(self._pending):
                tensors |= {f"{_PENDING}|{number}|{name}": t for name, t in batch.state_tensors().items()}
        return tensors

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state_tensors` gave. Raises KeyError where something is missing."""
        self._sampler.generator.set_state(tensors[_GENERATOR])
        if self._reference is not None:
            self._reference.load_state_tensors(tensors)
        pending: dict[int, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            if key.startswith(f"{_PENDING}|"):
                _, number, name = key.split("|")
                pending.setdefault(int(number), {})[name] = tensor
        self._pending = [self.batch_type.from_state_tensors(pending[number]) for number in sorted(pending)]
        self._queue = tensors[_QUEUE].tolist() if pending else []
        self._news = []

    def events(self, step: int) -> Iterator[Event]:
        """What new answers were worth; now and then, some of them."""
        news, self._news = self._news, []
        if not news:
            return
        yield Scalars(step, summary(news))
        if step % self._config.sample_every:
            return
        shown = [answer for group in news[:_SHOWN_GROUPS] for answer in _best_and_worst(group)]
        for answer in shown:
            yield Sample(step, answer.task.question, answer.text, name=f"{answer.reward:+.2f} = {_parts_text(answer)}")
        rows = tuple((answer.task.question, answer.text, answer.reward, _parts_text(answer)) for answer in shown)
        yield Table("rollouts", _COLUMNS, rows, Text(f"answers at step {step}", f"第 {step} 步的回答"))


def tasks_of(data: TokenDataset) -> tuple[Task, ...]:
    """The tasks of a data set. Raises UserError where it holds texts."""
    if not isinstance(data, TaskDataset):
        raise UserError("these data are texts, not tasks", "这些数据是文本，不是任务")
    return data.tasks


def kl_estimate(log_probabilities: Tensor, reference: Tensor) -> Tensor:
    """An estimate of KL(π ‖ πref) from one draw of π at each token: r - log r - 1 with r = πref/π, never negative.

    Both [batch, time], in nats. Schulman 2020, "Approximating KL Divergence" (k3); Shao et al. 2024, equation 4.
    """
    difference = reference - log_probabilities  # [batch, time]
    return difference.exp() - difference - 1  # [batch, time]


def clipped_surrogate(new: Tensor, old: Tensor, advantages: Tensor, low: float, high: float) -> Surrogate:
    """-min(ρ·A, clip(ρ, 1 - low, 1 + high)·A) with ρ = exp(new - old), and where the clipping holds; all [batch, time].

    Schulman et al. 2017, "Proximal Policy Optimization Algorithms", equation 7.
    """
    ratio = (new - old).exp()  # [batch, time]
    free = ratio * advantages  # [batch, time]
    bounded = ratio.clamp(1 - low, 1 + high) * advantages  # [batch, time]
    return Surrogate(-free.minimum(bounded), (bounded < free).detach())


def _best_and_worst(group: Group) -> list[Answer]:
    ordered = sorted(group, key=lambda answer: -answer.reward)
    return [ordered[0], ordered[-1]] if ordered[0].reward > ordered[-1].reward else ordered[:1]


def _parts_text(answer: Answer) -> str:
    return " ".join(f"{name} {value:+.2g}" for name, value in answer.parts.items() if not math.isclose(value, 0.0))
