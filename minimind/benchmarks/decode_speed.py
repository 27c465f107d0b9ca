"""How long a token takes: in each format of the weights, guessed ahead, several texts at once, and by others' programs."""

from __future__ import annotations

import importlib
import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimind.config import SampleConfig
from minimind.errors import UserError
from minimind.safe_text import clean_line

if TYPE_CHECKING:
    from minimind.benchmarks.reference import Reference
    from minimind.inference.engine import Engine
    from minimind.inference.speculative import Proposer

Run = Callable[[], "Written"]


@dataclass(frozen=True, slots=True)
class Written:
    """One run: its greedy tokens, and the median seconds of a token after the first."""

    tokens: tuple[int, ...]
    seconds: float


def by_engine(engine: Engine, prompt: Sequence[int], count: int) -> Written:
    """`count` greedy tokens after `prompt`, which is read anew; never ended before."""
    engine.forget()
    stop_ids, engine.stop_ids = engine.stop_ids, frozenset()
    times, tokens = [], []
    try:
        for token in engine.generate(prompt, SampleConfig(temperature=0, max_new_tokens=count)):
            times.append(time.perf_counter())
            tokens.append(-1 if token.id is None else token.id)
    finally:
        engine.stop_ids = stop_ids
    return Written(tuple(tokens), _typical(times))


def by_reference(reference: Reference, engine: Engine, weights: Path, prompt: Sequence[int], count: int) -> Written:
    """The same by a MiniMind checkout's `generate`, in float32 as it comes, with the same weights."""
    decoded = reference.decode(engine.config, prompt, count, weights=weights)
    return Written(decoded.ids, statistics.median(decoded.token_seconds))


class Llama:
    """The same by llama.cpp, from a GGUF file."""

    def __init__(self, path: Path, threads: int) -> None:
        """Raises UserError where llama-cpp-python is not installed or cannot open `path`."""
        try:
            model = importlib.import_module("llama_cpp").Llama
        except ImportError:
            raise UserError(
                "llama.cpp is not installed: pip install llama-cpp-python",
                "没有安装 llama.cpp：pip install llama-cpp-python",
            ) from None
        try:
            self._model: Any = model(str(path), n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)
        except (ValueError, OSError) as error:
            name, reason = clean_line(str(path), 200), clean_line(str(error), 200)
            raise UserError(f"{name}: llama.cpp: {reason}", f"{name}：llama.cpp：{reason}") from None

    def write(self, prompt: Sequence[int], count: int) -> Written:
        """`count` greedy tokens after `prompt`."""
        self._model.reset()
        self._model.eval(list(prompt))
        times, tokens = [], []
        for _ in range(count):
            token = int(self._model.sample(temp=0.0))
            times.append(time.perf_counter())
            tokens.append(token)
            self._model.eval([token])
        return Written(tuple(tokens), _typical(times))


def _typical(times: Sequence[float]) -> float:
    """The median of the seconds between neighbours; from the first two tokens on where there are no more."""
    return statistics.median(after - before for before, after in itertools.pairwise(times))


def alternate(runs: dict[str, Run], repeats: int) -> dict[str, list[Written]]:
    """Each of `runs` in turn, `repeats` times over, so that all meet the same state of the machine."""
    results: dict[str, list[Written]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            results[name].append(run())
    return results


@dataclass(frozen=True, slots=True)
class Guessed:
    """Guessing ahead on some prompts: accepted share of the guesses, speed as a ratio to not guessing, same tokens."""

    proposed: int
    accepted: int
    ratio: float
    same_tokens: bool


def guessing(engine: Engine, prompts: Sequence[Sequence[int]], proposer: Proposer, count: int) -> Guessed:
    """Greedy answers to `prompts` with and without `proposer`, alternating."""
    config, proposed, accepted, same = SampleConfig(temperature=0, max_new_tokens=count), 0, 0, True
    with_it = without = 0.0
    for prompt in prompts:
        answers = []
        for guess in (None, proposer):
            engine.proposer = guess
            engine.forget()
            tokens = list(engine.generate(prompt, config))
            answers.append([token.id for token in tokens])
            writing = tokens[-1].seconds - tokens[0].seconds
            with_it, without = (with_it, without + writing) if guess is None else (with_it + writing, without)
        proposed, accepted = proposed + engine.drafted, accepted + engine.accepted
        same &= answers[0] == answers[1]
    engine.proposer = None
    return Guessed(proposed, accepted, without / with_it if with_it else 1.0, same)


def together(engine: Engine, prompts: Sequence[Sequence[int]], count: int) -> tuple[float, float]:
    """Tokens a second of all `prompts` written at once, and one after the other; reading the prompts not counted."""
    from minimind.inference.batch import write_batch

    config = SampleConfig(temperature=0, max_new_tokens=count)
    stop_ids, engine.stop_ids = engine.stop_ids, frozenset()
    try:
        stream = write_batch(engine, prompts, config)
        for _ in prompts:
            next(stream)
        began = time.perf_counter()
        tokens = sum(1 for _ in stream)
        at_once = tokens / (time.perf_counter() - began)
    finally:
        engine.stop_ids = stop_ids
    alone = statistics.median(by_engine(engine, prompt, count).seconds for prompt in prompts)
    return at_once, 1 / alone
