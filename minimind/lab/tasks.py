"""Synthetic tasks whose best possible answer is known: what is learnt on them can be told from what is guessed.

Each task draws tokens and labels [batch, time] in the form `minimind.lab.arms.Plan.draw` wants: the label of a
position is the token to predict there, -100 where nothing can be predicted. `plan` makes a whole plan of a task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from minimind.data.packing import IGNORED
from minimind.lab.arms import Measure, Plan
from minimind.lab.tiny import tiny_model
from minimind.model.transformer import MiniMind

HELD_OUT_SEED = 10_000_019
"""Seeds the batches that accuracy is measured on; the seeds of training count from 0."""


class Task(Protocol):
    """What a synthetic task offers; `vocabulary` is how many tokens a model of it must know."""

    @property
    def vocabulary(self) -> int: ...

    def draw(self, generator: torch.Generator, batch: int) -> tuple[Tensor, Tensor]:
        """Tokens and labels, both [batch, time]."""
        ...


@dataclass(frozen=True)
class Induction:
    """A run of different random tokens, then the same run again and again: copying, with a period nobody is told.

    Each sequence has a period of its own in `shortest` … `longest`. Labels begin with the second run: the token that
    followed this one last time. A fixed period would be solved by looking a fixed distance back; this one is not.
    Olsson et al. 2022, "In-context Learning and Induction Heads", section "repeated random tokens".
    """

    vocabulary: int = 32
    time: int = 48
    shortest: int = 6
    longest: int = 24

    def draw(self, generator: torch.Generator, batch: int = 16) -> tuple[Tensor, Tensor]:
        """Tokens and labels, both [batch, time]. Raises ValueError where a run is longer than the vocabulary."""
        if not 1 <= self.shortest <= self.longest <= min(self.vocabulary, self.time):
            raise ValueError("needs 1 <= shortest <= longest, and no longer than the vocabulary and the time")
        periods = torch.randint(self.shortest, self.longest + 1, (batch, 1), generator=generator)  # [batch, 1]
        runs = torch.rand(batch, self.vocabulary, generator=generator).argsort(-1)  # [batch, vocabulary]
        places = torch.arange(self.time + 1)[None]  # [1, time + 1]
        stream = runs.gather(1, places % periods)  # [batch, time + 1]
        labels = stream[:, 1:].masked_fill(places[:, :-1] < periods, IGNORED)  # [batch, time]
        return stream[:, :-1], labels  # 2 × [batch, time]


@dataclass(frozen=True)
class TwoSources:
    """Random symbols; the label is a table's entry for the symbols `near` and `far` places back.

    Both places are needed at once: who sees only one of them is right no more often than `best_of_one`. The table is
    random and fixed by `seed`.
    """

    symbols: int = 8
    time: int = 32
    near: int = 1
    far: int = 3
    seed: int = 0

    @property
    def vocabulary(self) -> int:
        """As many tokens as symbols."""
        return self.symbols

    def draw(self, generator: torch.Generator, batch: int = 16) -> tuple[Tensor, Tensor]:
        """Tokens and labels, both [batch, time]."""
        tokens = torch.randint(0, self.symbols, (batch, self.time), generator=generator)  # [batch, time]
        labels = torch.full_like(tokens, IGNORED)  # [batch, time]
        first = tokens[:, self.far - self.near : self.time - self.near]  # [batch, time - far]
        second = tokens[:, : self.time - self.far]  # [batch, time - far]
        labels[:, self.far :] = self.table()[first, second]  # [batch, time - far]
        return tokens, labels

    def table(self) -> Tensor:
        """The label of each pair of symbols, the near one first: [symbols, symbols]."""
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randint(0, self.symbols, (self.symbols, self.symbols), generator=generator)  # [symbols, symbols]

    def best_of_one(self) -> float:
        """How often the best answer to one symbol alone is right, for the better of the two places; 0 to 1."""
        known = nn.functional.one_hot(self.table(), self.symbols).float().mean(1)  # [near symbol, label]
        other = nn.functional.one_hot(self.table().T, self.symbols).float().mean(1)  # [far symbol, label]
        return max(float(shares.max(-1).values.mean()) for shares in (known, other))


@dataclass(frozen=True)
class Facts:
    """`count` random facts (subject, relation) → answer, to be known by heart: there is nothing to understand.

    A sequence is one fact: tokens [subject, relation], and the answer as the label of the relation. Subjects,
    relations and answers have token ids of their own; `seed` draws the facts. Guessing is right once in `answers`.
    """

    count: int = 600
    subjects: int = 64
    relations: int = 32
    answers: int = 32
    seed: int = 0

    @property
    def vocabulary(self) -> int:
        """Subjects, relations and answers."""
        return self.subjects + self.relations + self.answers

    def draw(self, generator: torch.Generator, batch: int = 64) -> tuple[Tensor, Tensor]:
        """`batch` facts: tokens and labels, both [batch, 2]."""
        return self.facts(torch.randint(0, self.count, (batch,), generator=generator))

    def facts(self, chosen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The facts of these numbers [count], or all: tokens and labels, both [count, 2].

        Raises ValueError where there are fewer pairs of subject and relation than facts.
        """
        if self.count > self.subjects * self.relations:
            raise ValueError(f"{self.subjects * self.relations} pairs are fewer than {self.count} facts")
        generator = torch.Generator().manual_seed(self.seed)
        pairs = torch.randperm(self.subjects * self.relations, generator=generator)[: self.count]  # [count]
        answers = torch.randint(0, self.answers, (self.count,), generator=generator)  # [count]
        if chosen is not None:
            pairs, answers = pairs[chosen], answers[chosen]  # 2 × [chosen]
        tokens = torch.stack((pairs // self.relations, self.subjects + pairs % self.relations), 1)  # [count, 2]
        labels = torch.full_like(tokens, IGNORED)  # [count, 2]
        labels[:, 1] = self.subjects + self.relations + answers  # [count]
        return tokens, labels


def task_model(
    task: Task, *, seed: int = 0, change: Callable[[MiniMind], object] | None = None, **changes: Any
) -> MiniMind:
    """A T1 for `task` with the initial weights that PyTorch itself gives; `change` then alters it, as variants do.

    Embeddings of spread 1 and an output layer of its own make look-ups grow within a few hundred steps; from the small
    tied weights of a language model the same network needs many times as many.
    """
    fields = {"vocab_size": task.vocabulary, "tie_word_embeddings": False, **changes}
    model = tiny_model("T1", seed=seed, **fields)
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.reset_parameters()
    if change is not None:
        change(model)
    return model


@torch.no_grad()
def accuracy(model: nn.Module, tokens: Tensor, labels: Tensor) -> float:
    """The share of labels [batch, time] that are `model`'s first choice after `tokens` [batch, time]; 0 to 1."""
    known = labels != IGNORED  # [batch, time]
    guesses = model(tokens).argmax(-1)  # [batch, time]
    return float((guesses == labels)[known].float().mean())


@dataclass(frozen=True)
class TaskPlan:
    """How `plan` trains on a task; `measures` are added after the accuracy."""

    steps: int
    seeds: int = 1
    batch: int = 16
    learning_rate: float = 3e-3
    evaluate_every: int = 0
    held_out: int = 128
    measures: Mapping[str, Measure] = field(default_factory=dict)


def plan(task: Task, settings: TaskPlan) -> Plan:
    """A plan for `minimind.lab.arms.train_arms`: fresh batches of `task`, and the accuracy on batches kept aside."""
    tokens, labels = task.draw(torch.Generator().manual_seed(HELD_OUT_SEED), settings.held_out)
    return Plan(
        draw=lambda generator: task.draw(generator, settings.batch),
        measures={"accuracy": lambda model: accuracy(model, tokens, labels), **settings.measures},
        steps=settings.steps,
        seeds=settings.seeds,
        learning_rate=settings.learning_rate,
        evaluate_every=settings.evaluate_every,
        chart="loss",
    )
