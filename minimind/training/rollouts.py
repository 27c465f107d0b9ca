"""Rollouts: what the policy answers to tasks now, what that is worth, and both as a batch to learn from.

The base of every method that learns from rewards. `Sampler` asks the model; an `Episode` is one conversation with what
of it the model wrote; `lay_out_rollouts` packs episodes into a `RolloutBatch`, which survives checkpoints as tensors.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from minimind.data.packing import Batch, Part, Position, lay_out, lay_out_values, pack
from minimind.data.shards import TokenDataset, token_dtype, token_sizes
from minimind.data.tasks import Task, encode_task, shuffled
from minimind.data.tokenizer import Tokenizer
from minimind.inference.draw import draw_answers
from minimind.inference.engine import Engine
from minimind.model.transformer import MiniMind
from minimind.training.evaluate import evaluating
from minimind.training.rewards import Parts, reward_parts, total

_EQUAL = 1e-6
"""Rewards that differ by less are the same: they are sums of rounded numbers."""
_EPSILON = 1e-4
"""Added to the standard deviation of a group's rewards."""


@dataclass(frozen=True, slots=True)
class Episode:
    """A conversation as ids. `actions` says which of them the policy drew, `log_probabilities` (nats) how likely each was.

    All three are as long as the text; where nothing was drawn the log-probability is 0.
    """

    tokens: tuple[int, ...]
    actions: tuple[bool, ...]
    log_probabilities: tuple[float, ...]

    @property
    def length(self) -> int:
        """How many tokens the policy drew."""
        return sum(self.actions)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the policy made of a task. `entropy` (nats) is the mean over its tokens; `finished`: it ended by itself."""

    task: Task
    text: str
    episode: Episode
    parts: Parts
    finished: bool
    entropy: float

    @property
    def reward(self) -> float:
        """The sum of the parts."""
        return total(self.parts)


Group = Sequence[Answer]
"""Answers to the same task."""


@dataclass(frozen=True, slots=True)
class RolloutBatch(Batch):
    """Episodes packed into rows. The added tensors [batch, time] are float32, and 0 where `labels` are -100.

    advantages              how much better than expected it was to draw this label
    old_log_probabilities   of the label under the policy that drew it, at the temperature it was drawn at
    token_weights           what the label counts in the mean over the batch
    """

    advantages: Tensor
    old_log_probabilities: Tensor
    token_weights: Tensor

    def state_tensors(self) -> dict[str, Tensor]:
        """The batch as named tensors, for a checkpoint."""
        named = {item.name: getattr(self, item.name) for item in fields(self)}
        place = self.position
        numbers = (place.epoch, place.window, place.row, self.useful_tokens, self.trained_bytes)
        return {name: value for name, value in named.items() if isinstance(value, Tensor)} | {
            "numbers": torch.tensor(numbers, dtype=torch.int64)  # [5]
        }

    @classmethod
    def from_state_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The inverse of `state_tensors`. Raises KeyError where something is missing."""
        epoch, window, row, useful, trained = tensors["numbers"].tolist()
        named: dict[str, Any] = {name: value for name, value in tensors.items() if name != "numbers"}
        return cls(**named, position=Position(epoch, window, row), useful_tokens=useful, trained_bytes=trained)


class Sampler:
    """Asks a model for answers, with a random generator of its own."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        seed: int,
        max_new_tokens: int,
        temperature: float,
        thinking_ratio: float = 0.0,
    ) -> None:
        """`thinking_ratio` is the share of tasks whose answer is to begin with a thought."""
        self.generator = torch.Generator().manual_seed(seed)
        self.tokenizer = tokenizer
        self.max_new_tokens, self.temperature = max_new_tokens, temperature
        self.thinking_ratio = thinking_ratio

    def groups(self, model: MiniMind, tasks: Sequence[Task], group_size: int) -> list[Group]:
        """`group_size` answers to each of `tasks`, all drawn together, with their rewards. Dropout is off."""
        chances = torch.rand(len(tasks), generator=self.generator).tolist()
        prompts = [
            encode_task(self.tokenizer, task, open_thinking=chance < self.thinking_ratio)
            for task, chance in zip(tasks, chances, strict=True)
        ]
        with evaluating(model):
            engine = Engine(model, self.tokenizer)
            engine.use_native()
            drawn = draw_answers(
                engine,
                [prompt for prompt in prompts for _ in range(group_size)],
                max_new_tokens=self.max_new_tokens,
                temperature=self.temperature,
                generator=self.generator,
            )
        answers = []
        for number, one in enumerate(drawn):
            task, prompt = tasks[number // group_size], prompts[number // group_size]
            text = self.tokenizer.decode(one.tokens[:-1] if one.finished else one.tokens)
            unseen = len(prompt)
            episode = Episode(
                (*prompt, *one.tokens),
                (False,) * unseen + (True,) * len(one.tokens),
                (0.0,) * unseen + tuple(one.log_probabilities),
            )
            entropy = statistics.fmean(one.entropies)
            answers.append(Answer(task, text, episode, reward_parts(task, text), one.finished, entropy))
        return [answers[start : start + group_size] for start in range(0, len(answers), group_size)]


def group_advantages(rewards: Tensor) -> Tensor:
    """How much better than its group each answer is, in standard deviations: `rewards` [groups, answers] → the same shape.

    Exactly 0 in a group whose rewards are all equal: there is nothing to learn from it.
    Shao et al. 2024, "DeepSeekMath", section 4.1.2.
    """
    centred = rewards - rewards.mean(1, keepdim=True)  # [groups, answers]
    spread = rewards.std(1, correction=0, keepdim=True)  # [groups, 1]
    return torch.where(is_degenerate(rewards)[:, None], torch.zeros_like(centred), centred / (spread + _EPSILON))


def is_degenerate(rewards: Tensor) -> Tensor:
    """Whether all answers of a group are worth the same: `rewards` [groups, answers] → bool [groups]."""
    return rewards.amax(1) - rewards.amin(1) < _EQUAL  # [groups]


def rewards_of(groups: Sequence[Group]) -> Tensor:
    """The rewards float32 [groups, answers]."""
    return torch.tensor([[answer.reward for answer in group] for group in groups])  # [groups, answers]


def lay_out_rollouts(
    episodes: Sequence[Episode],
    advantages: Sequence[Sequence[float]],
    token_weights: Sequence[Sequence[float]],
    tokenizer: Tokenizer,
    width: int,
    position: Position,
) -> RolloutBatch:
    """The episodes packed into rows of `width` predictions; one that is longer makes all rows longer.

    `advantages` and `token_weights` have one number for each token of each episode, of which those of actions are used;
    `position` is where the data go on after this batch. Raises ValueError where no episode holds an action.
    """
    lengths = [len(episode.tokens) for episode in episodes]
    actions = np.array([acts for episode in episodes for acts in episode.actions], dtype=np.uint8)  # [tokens]
    if not actions.any():
        raise ValueError("there is nothing to learn from: no token was drawn")
    offsets = np.cumsum([0, *lengths], dtype=np.int64)  # [episodes + 1]
    dataset = TokenDataset(
        tokens=np.array(
            [token for episode in episodes for token in episode.tokens], dtype=token_dtype(tokenizer.vocab_size)
        ),
        offsets=offsets,
        mask=actions,
        token_bytes=token_sizes(tokenizer),
        fingerprint="rollouts",
        pad_id=tokenizer.pad_id,
    )
    width = max(width, max(lengths) - 1)  # the same as far as possible: products are compiled for each size
    parts = [Part(int(start), length - 1) for start, length in zip(offsets[:-1], lengths, strict=True)]
    rows = pack(parts, width)
    plain = lay_out(dataset, rows, width, position)
    known = torch.from_numpy(actions.astype(np.float32))  # [tokens]

    def laid(values: Iterator[Sequence[float]]) -> Tensor:
        flat = torch.tensor([value for episode in values for value in episode])  # [tokens]
        return lay_out_values(flat * known, rows, width)  # [batch, time]

    return RolloutBatch(
        **{item.name: getattr(plain, item.name) for item in fields(Batch)},
        advantages=laid(iter(advantages)),
        old_log_probabilities=laid(episode.log_probabilities for episode in episodes),
        token_weights=laid(iter(token_weights)),
    )


def task_order(count: int, seed: int, position: Position) -> Iterator[tuple[int, Position]]:
    """The numbers of the tasks from `position` on, without end, each with the position after it."""
    epoch, row = position.epoch, position.row
    while True:
        for index in shuffled(count, seed, epoch, row):
            row += 1
            yield index, Position(epoch, 0, row) if row < count else Position(epoch + 1)
        epoch, row = epoch + 1, 0


def _spread(rewards: Tensor) -> dict[str, float]:
    """How much the answers of a group differ: `rewards` [groups, answers]."""
    if rewards.shape[1] == 1:
        return {}
    spread = float(rewards.std(1, correction=0).mean())
    return {"reward_spread": spread, "degenerate_groups": float(is_degenerate(rewards).float().mean())}


def summary(groups: Sequence[Group]) -> dict[str, float]:
    """What is recorded about answers: the mean reward, its parts (each over the answers that have it), lengths in tokens,
    entropy; of groups of several answers also the mean standard deviation in a group, and the share of groups without any.
    """
    answers = [answer for group in groups for answer in group]
    rewards = rewards_of(groups)  # [groups, answers]
    parts = {
        f"reward_{name}": statistics.fmean(answer.parts[name] for answer in answers if name in answer.parts)
        for name in dict.fromkeys(name for answer in answers for name in answer.parts)
    }
    return {
        "reward": float(rewards.mean()),
        **parts,
        **_spread(rewards),
        "answer_length": statistics.fmean(answer.episode.length for answer in answers),
        "finished_share": statistics.fmean(answer.finished for answer in answers),
        "entropy": statistics.fmean(answer.entropy for answer in answers),
    }
