"""The reference beside ours: a MiniMind checkout's own code, run in a child process, one measured repeat a request.

A benchmark starts one `Reference` and asks it in turn with its own measurements, so that both meet the same state of
the machine. Settings, weights, prompt, data and number of threads are the same on both sides; everything else (the
packages it imports, its data set, its loop) is the checkout's. Running a checkout's code means executing it: only the
person who names the path can know whether to trust it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from minimind.config import ModelConfig
from minimind.errors import UserError
from minimind.safe_text import clean_line

if TYPE_CHECKING:
    import torch

    from minimind.model.transformer import MiniMind

_MODEL = Path("model") / "model_minimind.py"
_DRIVER = Path(__file__).with_name("reference_driver.py")
_PATIENCE = 3600.0
"""Seconds after which a request is given up."""
_WORKERS = 8
"""Processes that prepare batches, as in the checkout's own defaults."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Greedy decoding: the tokens, seconds from the request to the first, and between each and the one before it."""

    ids: tuple[int, ...]
    first_seconds: float
    token_seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class EpochTimes:
    """A data set read through: seconds to open it once and of each epoch, what came out, peak bytes of a process."""

    open_seconds: float
    epoch_seconds: tuple[float, ...]
    documents: int
    useful_tokens: int
    peak_memory: int


@dataclass(frozen=True, slots=True)
class Trained:
    """Training steps: seconds for all of them, how many, and the predictions in them that are not padding."""

    seconds: float
    steps: int
    useful_tokens: int


def add_against(parser: argparse.ArgumentParser) -> None:
    """Add ``--against PATH``, the checkout to measure beside ours."""
    parser.add_argument(
        "--against",
        type=Path,
        metavar="PATH",
        help="a MiniMind checkout to run beside ours; this executes its code / "
        "在旁边运行的 MiniMind 代码目录；其中的代码会被执行",
    )


class Reference:
    """A checkout at work: ``with Reference(path) as reference: reference.decode(…)``.

    Every method raises UserError, one line, where the checkout lacks a file or a package, its code fails or its
    process dies. `threads` None takes torch's own number here.
    """

    def __init__(self, checkout: Path, *, threads: int | None = None, device: str = "cpu") -> None:
        self.checkout = checkout.expanduser().absolute()
        self._name = clean_line(str(checkout), 200)
        self._threads, self._device = threads, device
        self._process: subprocess.Popen[bytes] | None = None
        self._unread = b""

    def __enter__(self) -> Reference:
        if not (self.checkout / _MODEL).is_file():
            raise UserError(
                f"{self._name}: not a MiniMind checkout (no {_MODEL} in it): git clone the project and name its folder",
                f"{self._name}：不是 MiniMind 的代码目录（其中没有 {_MODEL}）：请 git clone 该项目并指定其目录",
            )
        self._folder = tempfile.TemporaryDirectory(prefix="minimind-reference-")
        self._log = (Path(self._folder.name) / "stderr").open("w+b")
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        self._log.close()
        self._folder.cleanup()

    def start(self) -> None:
        """Start the child anew; `first_token` measures from here."""
        self.stop()
        threads = self._threads
        if threads is None:
            import torch

            threads = torch.get_num_threads()
        command = [sys.executable, "-P", str(_DRIVER), str(self.checkout), str(threads)]
        environment = dict(os.environ) | {
            "HF_HOME": self._folder.name,
            "HF_HUB_OFFLINE": "1",
            "PYTHONWARNINGS": "ignore",
        }
        environment.pop("OMP_WAIT_POLICY", None)  # ours; theirs runs with OpenMP's own default
        self._unread = b""
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            start_new_session=True,
        )

    def stop(self, patience: float = 5.0) -> None:
        """End the child, which has `patience` seconds to do so itself, and the processes it started."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def decode(
        self,
        config: ModelConfig,
        prompt: Sequence[int],
        tokens: int,
        *,
        weights: Path | None = None,
        dtype: str = "float32",
    ) -> Decoded:
        """`tokens` greedy tokens after `prompt` by the checkout's `generate`."""
        found = self._ask("decode", **self._model(config, weights, dtype), prompt=list(prompt), tokens=tokens)
        return Decoded(tuple(found["ids"]), found["first_seconds"], tuple(found["token_seconds"]))

    def prefill(
        self, config: ModelConfig, prompt: Sequence[int], *, weights: Path | None = None, dtype: str = "float32"
    ) -> float:
        """Seconds to take in `prompt`, keys and values kept, as the checkout's `generate` does."""
        found = self._ask("prefill", **self._model(config, weights, dtype), prompt=list(prompt))
        return float(found["seconds"])

    def first_token(self, config: ModelConfig, prompt: Sequence[int], *, weights: Path | None = None) -> float:
        """Seconds from the start of a fresh process to the first token; that process stays for further requests."""
        began = time.monotonic()
        self.start()
        self._ask("first", **self._model(config, weights, "float32"), prompt=list(prompt))
        return time.monotonic() - began

    def data(self, file: Path, *, sequence_length: int = 340, epochs: int = 1, workers: int = _WORKERS) -> EpochTimes:
        """Open a JSONL file with the checkout's pretraining data set and read it `epochs` times in batches of 32."""
        found = self._ask(
            "data",
            file=str(file.absolute()),
            sequence_length=sequence_length,
            epochs=epochs,
            workers=workers,
            batch_size=32,
            device="cpu",
        )
        return EpochTimes(**found | {"epoch_seconds": tuple(found["epoch_seconds"])})

    def train(
        self,
        config: ModelConfig,
        file: Path,
        *,
        batch_size: int,
        sequence_length: int = 340,
        steps: int,
        accumulation: int = 1,
        weights: Path | None = None,
        workers: int = _WORKERS,
    ) -> Trained:
        """`steps` micro-steps of the checkout's pretraining loop (float32 on a CPU, bfloat16 autocast on a GPU).

        Model, optimiser and batches go on from the last request with the same arguments; ask once before measuring.
        """
        found = self._ask(
            "train",
            **self._model(config, weights, "float32"),
            file=str(file.absolute()),
            batch_size=batch_size,
            sequence_length=sequence_length,
            steps=steps,
            accumulation=accumulation,
            workers=workers,
        )
        return Trained(**found)

    def _model(self, config: ModelConfig, weights: Path | None, dtype: str) -> dict[str, Any]:
        return {
            "config": their_settings(config),
            "weights": None if weights is None else str(weights.absolute()),
            "dtype": dtype,
            "device": self._device,
        }

    def _ask(self, operation: str, **request: Any) -> dict[str, Any]:
        """Send one request and wait for its answer."""
        if self._process is None:
            self.start()
        assert self._process is not None
        assert self._process.stdin is not None
        line = json.dumps({"op": operation, **request}).encode() + b"\n"
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None
        answer: dict[str, Any] = json.loads(self._read_line())
        if "error" in answer:
            why = {language: clean_line(text, 300) for language, text in answer["error"].items()}
            raise UserError(f"{self._name}: {why['en']}", f"{self._name}：{why['zh']}")
        return answer

    def _read_line(self) -> bytes:
        """The next line of the child. Raises UserError where it dies or says nothing for an hour."""
        assert self._process is not None
        assert self._process.stdout is not None
        descriptor, until = self._process.stdout.fileno(), time.monotonic() + _PATIENCE
        while b"\n" not in self._unread:
            if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                self.stop(0.0)
                raise UserError(
                    f"{self._name}: no answer for {_PATIENCE:.0f} s; ended: ask for fewer tokens or steps",
                    f"{self._name}：{_PATIENCE:.0f} 秒没有回应，已结束：请减少词元数或步数",
                )
            received = os.read(descriptor, 1 << 16)
            if not received:
                raise self._died()
            self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _died(self) -> UserError:
        """What its last words were."""
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        code = self._process.returncode
        self.stop()
        self._log.seek(0)
        words = [line for line in self._log.read().decode("utf-8", "replace").splitlines() if line.strip()]
        last = clean_line(words[-1] if words else "", 200)
        return UserError(
            f"{self._name}: its process ended with status {code}" + (f": {last}" if last else ""),
            f"{self._name}：进程已结束，状态码 {code}" + (f"：{last}" if last else ""),
        )


def their_settings(config: ModelConfig) -> dict[str, Any]:
    """`config` as arguments of a checkout's ``MiniMindConfig``; both generations take what they know of it."""
    names = (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "vocab_size",
        "max_position_embeddings",
        "rms_norm_eps",
        "rope_theta",
        "tie_word_embeddings",
        "hidden_act",
        "dropout",
        "use_moe",
        "num_experts_per_tok",
        "n_shared_experts",
    )
    experts = {"num_experts": config.num_experts, "n_routed_experts": config.num_experts}
    sizes = {"intermediate_size": config.feed_forward_size, "head_dim": config.head_size}
    return {name: getattr(config, name) for name in names} | experts | sizes


def save_weights(model: MiniMind, path: Path, dtype: torch.dtype | None = None) -> Path:
    """Write a model's weights as the checkouts do (a flat ``.pth``), to give both sides the same; returns `path`.

    float32 unless `dtype` says otherwise (released files are float16).
    """
    import torch

    state = {name: tensor.detach().to("cpu", dtype or torch.float32) for name, tensor in model.state_dict().items()}
    torch.save(state, path)
    return path
