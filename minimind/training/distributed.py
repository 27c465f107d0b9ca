"""Several processes that train one run, on torch.distributed: started by torchrun, on one machine or more.

Why not DistributedDataParallel: it sums the gradients of the model that computes, which are bfloat16 where the weights
are kept twice (see `optim`), once for each micro-step unless told otherwise, and wants the loss inside a module's
forward. Here the float32 sums of all micro-steps go over the wire, once an update, in buckets as there. What that
leaves out is that the exchange overlaps with the backward pass; with accumulation it is a small share of an update.
Li et al. 2020, "PyTorch Distributed", sections 3.2.2 (buckets) and 3.2.4 (accumulation).

The exchange of decisions goes through main memory (gloo) and JSON; gradients on GPUs go through NCCL.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, _set_pg_timeout
from torch.distributed.rendezvous import rendezvous

from minimind.errors import UserError
from minimind.events import Text
from minimind.hardware import available_cores
from minimind.safe_text import clean_line
from minimind.training.checkpoint import CheckpointError, NoRoomError
from minimind.training.control import Control
from minimind.training.group import Group, Json, Result, StoppedEarly
from minimind.training.watchdog import Watchdog

_BUCKET = 25 << 20
"""Bytes of gradients exchanged at a time: large enough for the line, small enough to overlap (that of DDP)."""
_PR_SET_PDEATHSIG = 1
_TOLD: dict[str, type[Exception]] = {
    kind.__name__: kind for kind in (UserError, CheckpointError, NoRoomError, StoppedEarly)
}
"""Failures of one process that are raised in all of them."""
_SOURCE_LINE = re.compile(r"^\[[^]]*\] ?")
"""Where in gloo's own source an error was noticed: of no use to a reader."""
_CONNECTING = timedelta(seconds=60)
"""How long the processes have to find each other once all of them have started."""
_POLL_SECONDS = 0.05


_GAVE_UP = Text(
    "another process of the run gave up during the preparation; log.txt has more",
    "同一训练的另一进程在准备阶段放弃了；详见 log.txt",
)


class LostProcess(Exception):
    """Another process of the run is gone or does not answer; `text` says so."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.en)
        self.text = text


def join(device: str, seconds: float) -> Group:
    """The processes that torchrun started with this one, or a process alone.

    `device` is the setting of that name: on GPUs each process has its own. A process that stands still for `seconds`
    is ended once `Group.begin` was called, and the others soon after. Raises LostProcess where they cannot be reached,
    UserError where there are fewer GPUs than processes.
    """
    return Processes(device, seconds) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else Group()


class Processes(Group):
    """One of several processes, as torchrun's environment variables describe it."""

    def __init__(self, device: str, seconds: float) -> None:
        self.rank = int(os.environ["RANK"])
        self.size = int(os.environ["WORLD_SIZE"])
        self._local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        self._name = f"process {self.rank} of {self.size} (pid {os.getpid()})"
        self._watchdog = Watchdog(self._name, seconds)
        _die_with_parent()
        here = int(os.environ.get("LOCAL_WORLD_SIZE", self.size))
        on_gpu = device != "cpu" and torch.cuda.is_available()
        if on_gpu:
            _demand_gpus(here)
            torch.cuda.set_device(self._local_rank)
        else:
            torch.set_num_threads(max(1, available_cores() // here))
        with self._exchange():
            store, *_ = next(iter(rendezvous("env://", timeout=_CONNECTING)))
            # torchrun's store outlives a restart: without a name of its own this start would read the last one's addresses.
            self._store = PrefixStore(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"), store)
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
                store=self._store,
                rank=self.rank,
                world_size=self.size,
                timeout=_CONNECTING,
            )
        # Longer than the watchdog's patience: the process that hangs is to be found by its own watchdog first.
        _set_pg_timeout(timedelta(seconds=1.25 * seconds + 5))

    def of_first(self, value: Json) -> Json:
        answer: Json = self._hear(json.dumps(value).encode() if self.first else b"")
        return answer

    def by_first(self, work: Callable[[], Json]) -> Json:
        if not self.first:
            problem, told = self._hear(b"")
            if problem is not None:
                _raise(problem)
            heard: Json = told
            return heard
        try:
            answer = work()
        except UserError as error:
            self._hear(json.dumps([_problem(error), None]).encode())
            raise
        self._hear(json.dumps([None, answer]).encode())
        return answer

    def agree(self, control: Control, stop: bool) -> Control:
        said = self._gather([list(control), stop])
        return super().agree(Control(*said[0][0]), any(told for _, told in said))

    def total(self, value: float) -> float:
        summed = torch.tensor(value, dtype=torch.float64)  # []
        with self._exchange():
            dist.all_reduce(summed)
        return float(summed)

    def total_scalars(self, scalars: Mapping[str, float]) -> dict[str, float]:
        sums: dict[str, float] = {}
        for said in self._gather(dict(scalars)):
            for name, value in said.items():
                sums[name] = sums.get(name, 0.0) + value
        return sums

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        present = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)  # [n]
        with self._exchange():
            dist.all_reduce(present, dist.ReduceOp.MAX)
        # What no process has a gradient for (an expert without a token) keeps none, as in a process alone.
        used = [parameter for parameter, some in zip(parameters, present.tolist(), strict=True) if some]
        buckets = [(bucket, _flat_gradients(bucket)) for bucket in _buckets(used)]
        with self._exchange():
            handles = [dist.all_reduce(flat, async_op=True) for _, flat in buckets]
            for handle in handles:
                handle.wait()
        for bucket, flat in buckets:
            pieces = torch.split(flat, [parameter.numel() for parameter in bucket])  # [elements] each
            for parameter, piece in zip(bucket, pieces, strict=True):
                parameter.grad = piece.view_as(parameter)

    def vary(self, seed: int, step: int) -> None:
        if not self.first:
            torch.manual_seed(((seed << 32) + (step << 12) + self.rank) % 2**63)

    def in_turn(self, work: Callable[[], Result]) -> Result:
        turn = 0 if self.first else 1 if self._local_rank == 0 else 2
        answers: list[Result] = []
        for now in range(3):
            failure: Exception | None = None
            try:
                if now == turn:
                    answers.append(work())
            except Exception as error:
                failure = error
            problems = self._said(f"turn {now}", _problem(failure))
            if failure is not None:
                raise failure
            for problem in problems:
                if problem is not None:
                    _raise(problem)
        return answers[0]

    def begin(self) -> None:
        self._watchdog.start()

    def leave(self) -> None:
        self._watchdog.stop()
        dist.destroy_process_group()

    def _said(self, what: str, problem: list[str] | None) -> list[list[str] | None]:
        """Every process's `problem`; waits for all of them, however long they take, and for signals meanwhile."""
        keys = [f"{what} {rank}" for rank in range(self.size)]
        with self._exchange():
            self._store.set(keys[self.rank], json.dumps(problem))
            while not self._store.check(keys):
                time.sleep(_POLL_SECONDS)
            return [json.loads(self._store.get(key)) for key in keys]

    def _hear(self, data: bytes) -> Any:
        """The JSON value whose encoding the first process has as `data`."""
        with self._exchange():
            length = torch.tensor(len(data))  # []
            dist.broadcast(length, 0)
            told = torch.frombuffer(bytearray(data.ljust(int(length), b" ")), dtype=torch.uint8)  # [length]
            dist.broadcast(told, 0)
        return json.loads(told.numpy().tobytes())

    def _gather(self, value: Any) -> list[Any]:
        """Every process's `value` (that JSON carries), by rank."""
        data = json.dumps(value).encode()
        with self._exchange():
            longest = torch.tensor(len(data))  # []
            dist.all_reduce(longest, dist.ReduceOp.MAX)
            padded = torch.frombuffer(bytearray(data.ljust(int(longest))), dtype=torch.uint8)  # [longest]
            told = [torch.empty_like(padded) for _ in range(self.size)]  # [longest] each
            dist.all_gather(told, padded)
        return [json.loads(one.numpy().tobytes()) for one in told]

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """Wait for the others. Raises LostProcess where one of them is gone or does not answer."""
        with self._watchdog.waiting():
            try:
                yield
            except RuntimeError as error:
                said = clean_line(_SOURCE_LINE.sub("", str(error).partition("\n")[0]).partition(". ")[0], 200)
                raise LostProcess(
                    Text(
                        f"{self._name} lost another process of the run, which was killed or stood still ({said}); "
                        "log.txt has more",
                        f"{self._name}：与同一训练的另一进程失去联系，它被终止或停滞不动（{said}）；详见 log.txt",
                    )
                ) from error


def _demand_gpus(processes: int) -> None:
    """Raise UserError where this machine does not have a GPU for each of its processes."""
    found = torch.cuda.device_count()
    if found < processes:
        raise UserError(
            f"processes = {processes}, but this machine has {found} GPU(s) and each process needs its own: lower it, or "
            "use device = 'cpu'",
            f"processes = {processes}，但本机只有 {found} 块 GPU，而每个进程都要有自己的一块：请调小，或使用 device = 'cpu'",
        )


def _problem(failure: Exception | None) -> list[str] | None:
    """What to tell the others of a failure: its kind, and both sentences of one that is made for a person."""
    if failure is None:
        return None
    said = [failure.text.en, failure.text.zh] if isinstance(failure, UserError) else []
    kinds = (kind.__name__ for kind in type(failure).__mro__)
    return [next((kind for kind in kinds if kind in _TOLD), ""), *said]


def _raise(problem: list[str]) -> NoReturn:
    """Raise here what another process told by `_problem`."""
    kind, *said = problem
    raise _TOLD[kind](*said) if kind else LostProcess(_GAVE_UP)


def _buckets(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The parameters, a bucket's worth of bytes at a time (a larger one alone)."""
    bucket: list[Tensor] = []
    for parameter in parameters:
        if bucket and 4 * (sum(item.numel() for item in bucket) + parameter.numel()) > _BUCKET:
            yield bucket
            bucket = []
        bucket.append(parameter)
    if bucket:
        yield bucket


def _flat_gradients(parameters: Sequence[Tensor]) -> Tensor:
    """Their gradients one behind the other [elements], zeros where there is none."""
    return torch.cat(
        [(torch.zeros_like(item) if item.grad is None else item.grad).flatten() for item in parameters]
    )  # [elements]


def _die_with_parent() -> None:
    """Let the kernel end this process when torchrun's agent ends, however it does (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
