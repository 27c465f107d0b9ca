"""``minimind bench train``: useful tokens a second of our training step and of the plain one, in adjacent runs.

The plain step is what a first script does: a document a row, padded to the row's length, float32, all scores at once,
PyTorch's attention and AdamW. Useful tokens are those that are not padding.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from minimind import paths
from minimind.commands.output import Output
from minimind.config import MODEL_PRESETS, TrainConfig
from minimind.errors import UserError
from minimind.events import Text

if TYPE_CHECKING:
    from torch import Tensor

    from minimind.training.loop import Job

Step = Callable[[], int]
"""One optimiser step; returns the useful tokens it read."""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``train``."""
    text = "training tokens a second, ours and a plain padded float32 step / 每秒训练词元数：本项目与朴素的填充 float32"
    parser = subparsers.add_parser("train", help=text, description=text)
    parser.add_argument("model", nargs="?", default="nano", choices=list(MODEL_PRESETS), help="preset / 预设")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N", help="rows a step / 每步的行数")
    parser.add_argument("--sequence-length", type=int, default=256, metavar="N", help="tokens a row / 每行的词元数")
    parser.add_argument("--steps", type=int, default=5, metavar="N", help="steps a run / 每轮的步数")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="pairs of runs / 成对运行的次数")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="device / 设备")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace, output: Output) -> int:
    for name in ("steps", "repeat"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} must be 1 or more", f"--{name} 至少为 1")
    config = TrainConfig.from_dict(
        {
            "model": arguments.model,
            "batch_size": arguments.batch_size,
            "sequence_length": arguments.sequence_length,
            "data_megabytes": 1.0,
            "device": arguments.device,
        }
    )
    from minimind.hardware import keep_freed_memory, wait_without_spinning

    keep_freed_memory()
    wait_without_spinning()
    from minimind.training.prepare import build_job

    job, _ = build_job(config, cache=paths.cache() / "tokens")
    ours, plain = our_step(job), plain_step(job)
    for step in (ours, plain):
        step()
    pairs = [(_speed(ours, arguments.steps), _speed(plain, arguments.steps)) for _ in range(arguments.repeat)]
    data = {
        "benchmark": "train",
        "model": arguments.model,
        "parameters": job.model.parameter_count(),
        "device": job.surroundings.device,
        "dtype": job.surroundings.dtype,
        "threads": job.surroundings.threads,
        "tokens_per_second": round(statistics.median(fast for fast, _ in pairs)),
        "plain_tokens_per_second": round(statistics.median(slow for _, slow in pairs)),
        "ratio": round(statistics.median(fast / slow for fast, slow in pairs), 2),
    }
    output.emit(
        data,
        Text(
            f"{arguments.model}: {data['tokens_per_second']:,} useful tokens/s ({data['dtype']}, packed), "
            f"{data['plain_tokens_per_second']:,} with the plain step: {data['ratio']}×",
            f"{arguments.model}：每秒有效词元 {data['tokens_per_second']:,}（{data['dtype']}，打包），"
            f"朴素写法 {data['plain_tokens_per_second']:,}：{data['ratio']} 倍",
        ),
    )
    return 0


def _speed(step: Step, steps: int) -> float:
    """Useful tokens a second."""
    began = time.monotonic()
    tokens = sum(step() for _ in range(steps))
    return tokens / (time.monotonic() - began)


def our_step(job: Job) -> Step:
    """The step of the training loop, on a copy of the job's model."""
    import copy

    from minimind.training.update import Updater

    updater = Updater(copy.deepcopy(job.model), job.objective, job.data.train, job.config, job.precision)
    return lambda: updater.update(1, 1000).tokens


def plain_step(job: Job) -> Step:
    """The plain step, on a copy of the job's model."""
    import copy

    import torch
    import torch.nn.functional as F

    model = copy.deepcopy(job.model).to(job.precision.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    batches = padded_batches(job)

    def step() -> int:
        tokens, labels = (tensor.to(job.precision.device) for tensor in next(batches))  # 2 × [batch, time]
        logits = model(tokens)  # [batch, time, vocabulary]
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())  # []
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return int((labels >= 0).sum())

    return step


def padded_batches(job: Job) -> Iterator[tuple[Tensor, Tensor]]:
    """Tokens and labels [batch, time], one document a row, cut or padded to the sequence length; without end."""
    import torch

    data, config = job.data.train, job.config
    documents = itertools.cycle(range(len(data)))
    while True:
        shape = (config.batch_size, config.sequence_length)
        tokens = torch.full(shape, data.pad_id)  # [batch, time]
        labels = torch.full(shape, -100)  # [batch, time]
        for row, document in enumerate(itertools.islice(documents, config.batch_size)):
            start, end = int(data.offsets[document]), int(data.offsets[document + 1])
            ids = torch.from_numpy(data.tokens[start:end].astype("int64"))[: config.sequence_length + 1]  # [ids]
            tokens[row, : len(ids) - 1], labels[row, : len(ids) - 1] = ids[:-1], ids[1:]
        yield tokens, labels
