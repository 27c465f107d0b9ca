"""What `minimind bench train` measures: a job on documents of realistic length, and steps that differ in one technique."""

from __future__ import annotations

import copy
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from minimind.config import ModelConfig, TrainConfig
from minimind.data import corpus, packing, shards
from minimind.data.packing import Batch, Position
from minimind.data.shards import TokenDataset
from minimind.data.tokenizer import Tokenizer
from minimind.events import Text
from minimind.model.transformer import MiniMind
from minimind.scale import forward_flops_per_token
from minimind.training.acceleration import Precision, choose_precision
from minimind.training.job import Job
from minimind.training.kernels.library import load_kernels
from minimind.training.kernels.modules import PARTS
from minimind.training.loop import Trainer
from minimind.training.objective import find_objective
from minimind.training.objectives.pretrain import Pretrain
from minimind.training.prepare import surroundings_of
from minimind.training.recorder import Recorder
from minimind.training.update import Updater

if TYPE_CHECKING:
    from minimind.benchmarks.reference import Reference
    from minimind.training.objective import Objective
    from minimind.training.update import Update

Step = Callable[[], int]
"""One optimiser step; returns the useful tokens it read."""
_JOINED = (1, 2, 2, 3)
"""So many texts of the embedded corpus, in turn, make a document: about 200 tokens on average, 60 to 500."""


def write_documents(path: Path, megabytes: float) -> Path:
    """A JSONL file of pretraining texts, about 200 tokens each, the same at every call; returns `path`."""
    texts = (corpus.pretrain_document(index, split="train") for index in itertools.count())
    written = 0
    with path.open("w", encoding="utf-8") as file:
        for number in itertools.cycle(_JOINED):
            text = "\n".join(itertools.islice(texts, number))
            written += file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            if written >= megabytes * 1e6:
                return path
    return path


def open_job(shape: ModelConfig, tokenizer: str | None, file: Path, config: TrainConfig, cache: Path) -> Job:
    """A job with a fresh model of `shape` on the texts of `file`."""
    precision, _ = choose_precision(config)
    torch.manual_seed(config.seed)
    loaded = Tokenizer.load(tokenizer)
    data = shards.prepare([str(file)], loaded, kind="pretrain", cache_directory=cache)
    return Job(
        config=config,
        model=MiniMind(shape),
        tokenizer=loaded,
        tokenizer_files={},
        objective=Pretrain(),
        data=data,
        precision=precision,
        surroundings=surroundings_of(precision, data),
        metadata={},
    )


def our_step(job: Job, precision: Precision | None = None, objective: Objective | None = None) -> Step:
    """The step of the training loop, on a copy of the job's model."""
    updater = _updater(job, precision, objective)
    return lambda: updater.update(1, 1000).tokens


def _updater(job: Job, precision: Precision | None = None, objective: Objective | None = None) -> Updater:
    model = copy.deepcopy(job.model)
    own = objective or find_objective(job.config.objective)
    return Updater(replace(job, model=model, objective=own, precision=precision or job.precision))


class Padded(Pretrain):
    """Pretraining with one document a row, cut or padded to the row's length, as a first script does it."""

    def batches(
        self, data: TokenDataset, config: TrainConfig, position: Position | None = None, *, epochs: int | None = None
    ) -> Iterator[Batch]:
        """Always from the beginning and without end: a benchmark asks for no more."""
        del position, epochs
        documents = itertools.cycle(range(len(data)))
        shape = (config.batch_size, config.sequence_length)
        while True:
            tokens = torch.full(shape, data.pad_id)  # [batch, time]
            labels = torch.full(shape, packing.IGNORED)  # [batch, time]
            numbers = torch.full(shape, packing.NO_DOCUMENT)  # [batch, time]
            for row, document in enumerate(itertools.islice(documents, config.batch_size)):
                start, end = int(data.offsets[document]), int(data.offsets[document + 1])
                ids = torch.from_numpy(data.tokens[start:end].astype("int64"))[: shape[1] + 1]  # [ids]
                length = len(ids) - 1
                tokens[row, :length], labels[row, :length], numbers[row, :length] = ids[:-1], ids[1:], 0
            positions = torch.arange(shape[1]).expand(shape).contiguous()  # [batch, time]
            useful = int((labels != packing.IGNORED).sum())
            yield Batch(tokens, labels, positions, numbers, Position(), useful, 0)


def plain_step(job: Job) -> Step:
    """What a first script does: padded rows, float32, all scores at once, PyTorch's attention and AdamW."""
    device = job.precision.device
    model = copy.deepcopy(job.model).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    batches = Padded().batches(job.data.train, job.config)

    def step() -> int:
        batch = next(batches)
        logits = model(batch.tokens.to(device))  # [batch, time, vocabulary]
        loss = F.cross_entropy(logits.flatten(0, 1), batch.labels.to(device).flatten())  # []
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return batch.useful_tokens

    return step


def ablations(job: Job) -> Mapping[str, tuple[Text, Callable[[], Step]]]:
    """By name: what a step does without, and how to make that step. Only what the job uses can be left out."""
    precision = job.precision
    found: dict[str, tuple[Text, Callable[[], Step]]] = {
        "packing": (Text("packed rows", "打包"), lambda: our_step(job, objective=Padded())),
        "fused-adamw": (Text("AdamW in one pass", "单趟 AdamW"), lambda: _with_plain_adamw(job)),
    }
    kernels = precision.kernels
    if precision.dtype == torch.bfloat16:
        narrow = replace(precision, dtype=torch.float32, kernels=kernels and load_kernels(torch.float32))
        found["bfloat16"] = (Text("bfloat16", "bfloat16"), lambda: our_step(job, narrow))
    if kernels is None:
        return found
    found["kernels"] = (
        Text("all our kernels", "全部自带内核"),
        lambda: our_step(job, replace(precision, kernels=None)),
    )
    for part in sorted(PARTS if kernels.onednn else PARTS - {"linear"}):
        without = replace(precision, parts=PARTS - {part})
        found[part] = (_PART_TEXTS[part], lambda without=without: our_step(job, without))  # type: ignore[misc]
    return found


_PART_TEXTS = {
    "attention": Text("the attention kernel", "注意力内核"),
    "norm": Text("the RMSNorm kernel", "RMSNorm 内核"),
    "swiglu": Text("the SwiGLU kernel", "SwiGLU 内核"),
    "loss": Text("the cross-entropy kernel", "交叉熵内核"),
    "linear": Text("oneDNN's float32 products", "oneDNN 的 float32 矩阵乘"),
}


def compiled_step(job: Job) -> tuple[Step, float]:
    """A step by torch.compile in place of our kernels, and the seconds its first step took."""
    updater = _updater(job, replace(job.precision, kernels=None, compile_from=0))
    updater.compile(1)
    began = time.monotonic()
    updater.update(1, 1000)
    return (lambda: updater.update(1, 1000).tokens), time.monotonic() - began


def _with_plain_adamw(job: Job) -> Step:
    updater = _updater(job)
    for group in updater.optimizer.adamw.param_groups:
        group["fused"] = False
    return lambda: updater.update(1, 1000).tokens


def speed(step: Step, steps: int) -> float:
    """Useful tokens a second."""
    began = time.monotonic()
    tokens = sum(step() for _ in range(steps))
    return tokens / (time.monotonic() - began)


def reference_speed(reference: Reference, job: Job, file: Path, steps: int) -> float:
    """Useful tokens a second of the checkout's own loop with the job's model, batch and row length; ask once first."""
    config = job.config
    trained = reference.train(
        job.model.config, file, batch_size=config.batch_size, sequence_length=config.sequence_length, steps=steps
    )
    return trained.useful_tokens / trained.seconds


def pairs(first: Step, second: Step, steps: int, repeat: int) -> list[tuple[float, float]]:
    """The speeds of both in turn, after a step of each that does not count."""
    first()
    second()
    return [(speed(first, steps), speed(second, steps)) for _ in range(repeat)]


def flops_per_token(job: Job) -> float:
    """Operations that a useful token costs: 6N, and 12 · layers · heads · head · context for the mean position."""
    batches = itertools.islice(job.objective.batches(job.data.train, job.config), 8)
    seen = [batch.positions[batch.labels != packing.IGNORED] + 1 for batch in batches]
    return 3.0 * forward_flops_per_token(job.model.config, float(torch.cat(seen).float().mean()))


def best_product(job: Job) -> float:
    """Operations a second of the product our kernels use where that is not torch's own; 0.0 where it is."""
    kernels = job.precision.kernels
    if kernels is None or not kernels.onednn:
        return 0.0
    size, best = 1024, 0.0
    square = torch.ones(size, size)  # [size, size]
    for _ in range(20):
        began = time.perf_counter()
        kernels.multiply(square, square)
        best = max(best, 2 * size**3 / (time.perf_counter() - began))
    return best


def own_share(job: Job, steps: int, folder: Path) -> float:
    """The share of a step that the loop spends on itself: recording, control, checks, all but the update."""
    config = job.config.replace(evaluation_tokens=64, evaluate_every=10_000_000, sample_every=10_000_000)
    updates: list[tuple[float, float]] = []
    with Recorder(folder) as recorder:
        trainer = Trainer(replace(job, config=config, model=copy.deepcopy(job.model)), recorder, None, steps=steps)
        trainer.state.step = 1  # past the evaluation and the samples of the beginning
        take = trainer.updater.update

        def timed(step: int, steps: int) -> Update:
            began = time.monotonic()
            update = take(step, steps)
            updates.append((began, time.monotonic()))
            return update

        vars(trainer.updater)["update"] = timed
        trainer.run()
    gaps = [after - before for (_, before), (after, _) in itertools.pairwise(updates)]
    return statistics.median(gaps) / statistics.median(end - began for began, end in updates)
