"""One optimiser step: batches in, better weights out, and figures about it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from minimind.config import TrainConfig
from minimind.data.packing import IGNORED, Batch, Position
from minimind.hardware import is_out_of_memory
from minimind.model.transformer import MiniMind
from minimind.training.acceleration import accelerate, compile_model
from minimind.training.job import Job
from minimind.training.objective import Setting
from minimind.training.optim import Optimizer
from minimind.training.schedule import scheduled_share


def random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Where torch's generators are: the processor's and, on a GPU, that of `device`."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def set_random_state(drawn: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    """Put torch's generators back to where `random_state` found them."""
    processor, gpu = drawn
    torch.set_rng_state(processor)
    if gpu is not None:
        torch.cuda.set_rng_state(gpu, device)


class Update(NamedTuple):
    """What one step was: `applied` is False where the weights were left alone.

    That is so where a number was not finite, and where nothing counted (`weight`, the sum of all micro-batches', is 0).
    `scalars` are means over the counted tokens (``loss`` in nats); `tokens` are those read, without padding, `trained`
    those with a label; `waited` is the part of `seconds` in which batches were made; `position` is where the data go on.
    `overflowed` tells of an update that was left out because its gradients were too large for float16: that is expected
    now and then, and the next ones are scaled down.
    """

    applied: bool
    scalars: dict[str, float]
    gradient_norm: float
    learning_rate: float
    tokens: int
    seconds: float
    position: Position
    trained: int
    waited: float
    weight: float
    overflowed: bool = False


class Updater:
    """Holds a model, its optimiser and its stream of batches, and takes one step after another."""

    def __init__(self, job: Job) -> None:
        """The job's model (float32) is moved to its device and trained. Batches begin at the start of the data.

        `working` is the model that computes: with the trained one's weights, or roundings of them in bfloat16. `parts` is
        into how many pieces each micro-batch is cut; it doubles when memory does not suffice.
        """
        precision = job.precision
        self.config = job.config
        self.objective = job.objective
        self.device = precision.device
        self.group = job.group
        model = job.model.to(precision.device)
        self.objective.prepare(Setting(job.config, model, job.tokenizer, precision))
        self.sharded = job.config.sharding == "fsdp" and self.group.size > 1
        self.optimizer = self._optimizer(model, job.config, precision.dtype)
        self.working = accelerate(self.optimizer.working, precision, shared=self.optimizer.model)
        self.parts = 1
        self._compile_from = precision.compile_from
        self._data = job.data.train
        self._batches: Iterator[Batch] = iter(())
        self.seek(None)

    def _optimizer(self, model: MiniMind, config: TrainConfig, dtype: torch.dtype) -> Optimizer:
        extra = self.objective.parameters()
        if not self.sharded:
            return Optimizer(model, config, dtype, extra)
        from minimind.training.sharding import ShardedOptimizer  # takes a second to load

        return ShardedOptimizer(model, config, dtype, extra, self.group)

    def compile(self, steps: int) -> bool:
        """Let torch.compile have the model if that pays for `steps` more steps; returns whether it does."""
        if self._compile_from is None or steps < self._compile_from:
            return False
        compile_model(self.working)
        return True

    def seek(self, position: Position | None) -> None:
        """Let the data go on from `position`."""
        self._batches = self.objective.batches(self._data, self.config, position)

    def update(self, step: int, steps: int) -> Update:
        """Take step number `step` of `steps`.

        The micro-batches are weighed (`Objective.weight`: by their counted tokens), so that accumulating them gives the
        gradient of one big batch even where they differ in that number. Of several processes each computes its share of
        their rows, and all take the same update.
        """
        began = time.monotonic()
        batches = [next(self._batches) for _ in range(self.config.accumulation_steps)]
        waited = time.monotonic() - began
        own = [self._own_part(batch) for batch in batches]
        total = self.group.total(sum(count for _, count in own))
        share = scheduled_share(step, steps, self.config)
        scalars: dict[str, float] = {}
        norm, applied = 0.0, False
        if total > 0:
            self.group.vary(self.config.seed, step)
            scalars = self._accumulate_in_memory(own, total)
            norm = self.optimizer.clip_gradients()
            applied = math.isfinite(norm) and all(map(math.isfinite, scalars.values()))
        if applied:
            self.optimizer.step(share)
            self.objective.updated(scalars)
        self.optimizer.discard()
        overflowed = total > 0 and not applied and self.optimizer.can_scale_down()
        if self.optimizer.scaler is not None:
            scalars["loss_scale"] = self.optimizer.scaler.get_scale()
        return Update(
            applied,
            scalars,
            norm,
            self.optimizer.peak * share,
            sum(batch.useful_tokens for batch in batches),
            time.monotonic() - began,
            batches[-1].position,
            sum(int((batch.labels != IGNORED).sum()) for batch in batches),
            waited,
            total,
            overflowed,
        )

    def _own_part(self, batch: Batch) -> tuple[Batch, float]:
        """This process's rows of `batch` and their weight; where there are none, another's rows that weigh nothing.

        All processes must do the same work: a model in shards cannot compute without any one of them.
        """
        size, together = self.group.size, self.objective.rows_together
        part = batch.share(self.group.rank, size, together)
        if len(part.tokens):
            return part, self.objective.weight(part)
        return batch.share(size - 1, size, together), 0.0  # the last part is never empty

    def _accumulate_in_memory(self, own: Sequence[tuple[Batch, float]], total: float) -> dict[str, float]:
        """`_accumulate`; where memory does not suffice once more from the beginning, with pieces half as large.

        Raises what the allocator raised where a piece cannot be cut further, and in a group: its processes would have to
        cut in step with each other.
        """
        drawn = random_state(self.device)
        while True:
            try:
                return self._accumulate(self._pieces(own), total)
            except (MemoryError, RuntimeError) as error:
                most = max(len(part.tokens) for part, _ in own) // self.objective.rows_together
                if self.group.size > 1 or self.parts >= most or not is_out_of_memory(error):
                    raise
            # Outside the handler: the error's traceback holds on to the tensors of the attempt.
            self.parts = min(2 * self.parts, most)
            self.optimizer.discard()
            self.working.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            set_random_state(drawn, self.device)

    def _pieces(self, own: Sequence[tuple[Batch, float]]) -> list[tuple[Batch, float]]:
        """The micro-batches cut into `parts`, with their weights; in a group, whose every process has less, uncut."""
        if self.parts == 1 or self.group.size > 1:
            return list(own)
        together = self.objective.rows_together
        cut = (batch.share(index, self.parts, together) for batch, _ in own for index in range(self.parts))
        return [(piece, self.objective.weight(piece)) for piece in cut if len(piece.tokens)]

    def _accumulate(self, parts: Sequence[tuple[Batch, float]], total: float) -> dict[str, float]:
        """Sum up the gradients of weighted micro-batches; returns the means of their scalars. `total` is all weight."""
        scalars: dict[str, float] = {}
        self.working.train()
        for part, count in parts:
            loss, values = self.objective.loss(self.working, part.to(self.device))
            self.optimizer.scaled(loss * (count / total)).backward()  # type: ignore[no-untyped-call]
            self.optimizer.collect()
            for name, value in values.items():
                scalars[name] = scalars.get(name, 0.0) + value * count / total
        scalars = self.group.total_scalars(scalars)
        self.optimizer.exchange(self.group)
        return scalars
