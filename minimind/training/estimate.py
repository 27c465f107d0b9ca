"""How long will it take? A few real steps on this machine, and what follows from them."""

from __future__ import annotations

import copy
import itertools
import math
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch

from minimind import paths
from minimind.benchmarks.ceilings import Ceilings
from minimind.config import SampleConfig, TrainConfig
from minimind.data.catalogue import GENERATED, resolve
from minimind.hardware import peak_memory
from minimind.inference.engine import LARGE, Engine
from minimind.reinforcement_config import REINFORCEMENT
from minimind.scale import decode_bytes_per_token, training_flops_per_token
from minimind.training import checkpoint
from minimind.training.evaluate import samples
from minimind.training.job import Job
from minimind.training.loop import SAMPLE_TOKENS
from minimind.training.objective import find_objective
from minimind.training.prepare import build_job
from minimind.training.state import State, checkpoint_files
from minimind.training.update import Updater

PROBE_SECONDS = 4.0
_PROBE_UPDATES = 20
_WARM_UP = 2
"""Updates that are not counted: the first ones allocate."""
_SAMPLE_BYTES = 600_000
"""Data tokenised for an estimate: enough for typical rows, quickly done."""
_LARGEST_WRITTEN = 256_000_000
"""Bytes of a checkpoint that are written to learn how long one takes."""
_START_SECONDS = 3.0
"""What a process takes to load torch and the tokens."""
_LEAST_STEPS = 10
_PROMPT_TOKENS = 32
_WRITTEN_TOKENS = 64


class Probe(NamedTuple):
    """What a few real steps showed. Times in seconds: of each update, of one evaluation, of one round of samples, of
    one checkpoint. `kept_bytes` are what the method keeps in each checkpoint besides (a reference).
    """

    updates: tuple[float, ...]
    tokens_per_update: float
    evaluation: float
    sampling: float
    saving: float = 0.0
    kept_bytes: int = 0

    @property
    def update(self) -> float:
        """The mean update: what answers cost that are drawn only every few updates is in it."""
        return statistics.fmean(self.updates)

    def extra(self, config: TrainConfig) -> float:
        """Seconds that evaluations, samples and checkpoints add to each step."""
        often = (
            (self.evaluation, config.evaluate_every),
            (self.sampling, config.sample_every),
            (self.saving, config.save_every),
        )
        return sum(seconds / every for seconds, every in often)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take: `seconds`, and `seconds_low` to `seconds_high` as the range to expect on a machine as busy
    as now. Loading torch and the data comes on top.
    """

    tokens_per_second: float
    steps: int
    seconds: float
    seconds_low: float
    seconds_high: float
    peak_memory_bytes: int
    disk_bytes: int
    parameters: int
    tokens: int
    device: str
    dtype: str


def probe(job: Job, seconds: float = PROBE_SECONDS) -> Probe:
    """Train a copy of the job's model for at most `seconds` or 20 updates; the job and the random generators stay."""
    config = job.config
    with torch.random.fork_rng(devices=[job.precision.device] if job.precision.device.type == "cuda" else []):
        copied = replace(job, model=copy.deepcopy(job.model), objective=find_objective(config.objective))
        updater = Updater(copied)
        times: list[float] = []
        tokens: list[int] = []
        began = time.monotonic()
        more = job.group.of_first  # of several processes one looks at the clock
        while len(times) < _PROBE_UPDATES and more(len(times) <= _WARM_UP or time.monotonic() - began < seconds):
            update = updater.update(0, _PROBE_UPDATES)
            times.append(update.seconds)
            tokens.append(update.tokens)
        objective = updater.objective
        batches = objective.validation(job.data.validation, config.replace(evaluation_tokens=64))
        began = time.monotonic()
        objective.evaluate(updater.working, [batch.to(job.precision.device) for batch in batches])
        tokens_seen = max(sum(map(objective.evaluated, batches)), 1)
        evaluation = (time.monotonic() - began) * config.evaluation_tokens / tokens_seen
        began = time.monotonic()
        whole = updater.optimizer.whole
        if job.group.first:
            list(itertools.islice(samples(whole, job.tokenizer, job.objective, 0, length=SAMPLE_TOKENS), 1))
        sampling = (time.monotonic() - began) * len(job.objective.prompts)
        saving = _seconds_to_save(updater) if job.group.first else 0.0
        kept = sum(tensor.nbytes for tensor in objective.state_tensors().values())
    return Probe(tuple(times[_WARM_UP:]), statistics.fmean(tokens), evaluation, sampling, saving, kept)


def _most_checkpoints(config: TrainConfig, steps: int) -> int:
    """How many checkpoints lie on the disk at most: those kept, and the one being written or kept for being the best."""
    return min(config.keep_checkpoints, math.ceil(steps / config.save_every)) + 1


def _probe_of_all(job: Job, seconds: float) -> Probe:
    """What all the processes of a run do together, measured with one.

    Each has a GPU of its own and computes its share of the rows; their exchange of gradients is not measured. Without
    GPUs they share the cores that the one process has for itself, and are no faster together.
    """
    processes = job.config.processes
    if processes == 1 or job.precision.device.type != "cuda":
        return probe(job, seconds)
    share = job.config.replace(batch_size=max(1, job.config.batch_size // processes))
    measured = probe(replace(job, config=share), seconds)
    return measured._replace(tokens_per_update=measured.tokens_per_update * processes)


def _seconds_to_save(updater: Updater) -> float:
    """How long a checkpoint takes: one is written to the disk of the runs (of a large one the first part) and deleted."""
    began = time.monotonic()
    made = checkpoint_files(updater.optimizer, updater.objective, State(steps=1), {}, {})
    files = {name: content for name, content in made.items() if isinstance(content, bytes)}
    gathered = time.monotonic() - began
    share = min(1.0, _LARGEST_WRITTEN / sum(map(len, files.values())))
    part = {name: content[: math.ceil(len(content) * share)] for name, content in files.items()}
    with tempfile.TemporaryDirectory(dir=_scratch()) as directory:
        began = time.monotonic()
        checkpoint.write(Path(directory), 0, part, keep=1)
        written = time.monotonic() - began
    return gathered + written / share


def _scratch() -> Path:
    """A place on the disk on which runs are kept."""
    place = paths.cache() / "estimates"
    place.mkdir(parents=True, exist_ok=True)
    return place


def planned_steps(job: Job, measured: Probe | None = None, *, data_scale: float = 1.0) -> int:
    """How many steps the job's config asks for.

    ``steps`` says it. ``epochs`` counts the data's tokens (times `data_scale`, where only a part of them is at hand).
    ``minutes`` are turned into steps by what this machine does in a few of them (`measured`, or a probe made now): the
    number is then fixed and stored, so that the schedule is a function of the step alone and a resumed run repeats an
    uninterrupted one bit for bit; with a clock in the schedule no run could ever be repeated. Without any of the
    three it is one epoch.
    """
    config = job.config
    if config.steps is not None:
        return config.steps
    if config.minutes is not None:
        measured = measured or probe(job)
        steps = max(_LEAST_STEPS, int(config.minutes * 60 / (measured.update + measured.extra(config))))
        return job.group.of_first(steps)
    once = job.objective.updates_per_epoch(job.data.train, config)
    return max(1, math.ceil((config.epochs or 1.0) * once * data_scale))


def _checkpoint_bytes(job: Job) -> int:
    """Float32 weights, two moments of those that train, and the tokenizer."""
    trained = sum(parameter.numel() for parameter in job.model.parameters() if parameter.requires_grad)
    return 4 * job.model.parameter_count() + 8 * trained + sum(map(len, job.tokenizer_files.values()))


def estimate(config: TrainConfig, cache: Path, seconds: float = PROBE_SECONDS) -> Estimate:
    """Measure about `seconds` of what `config` asks for, on a part of its data, and extrapolate.

    Raises UserError for what a run would refuse too.
    """
    config = config.replace(data=[resolve(source, paths.data()) for source in config.data])
    scale = _data_scale(config)
    sources = tuple(source if source in GENERATED else str(_part_of(Path(source), cache)) for source in config.data)
    job, _ = build_job(config.replace(data=sources), cache=cache, embedded_bytes=round(_embedded_bytes(config)))
    measured = _probe_of_all(job, seconds)
    steps = planned_steps(job, measured, data_scale=scale)
    extra = measured.evaluation + measured.sampling + steps * measured.extra(config)
    ordered = sorted(measured.updates)
    quick, slow = ordered[len(ordered) // 10], ordered[len(ordered) * 9 // 10]
    parameters = job.model.parameter_count()
    return Estimate(
        tokens_per_second=measured.tokens_per_update / measured.update,
        steps=steps,
        seconds=steps * measured.update + extra,
        seconds_low=steps * quick + extra,
        seconds_high=_START_SECONDS + 1.15 * (steps * slow + extra),
        peak_memory_bytes=peak_memory(job.precision.device),
        disk_bytes=_most_checkpoints(config, steps) * (_checkpoint_bytes(job) + measured.kept_bytes),
        parameters=parameters,
        tokens=round(steps * measured.tokens_per_update),
        device=job.surroundings.device,
        dtype=job.surroundings.dtype,
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """What this machine really does with a model, and which share of its own ceilings that is.

    `training_share` is the model FLOP utilisation: operations a second that training needs (`training_flops_per_token`)
    over what the machine multiplies in that type. `decode_share` is bytes a second that writing reads
    (`decode_bytes_per_token`) over what it reads from memory; above 1 where the weights stay in the caches.
    """

    training_tokens_per_second: float
    training_dtype: str
    training_share: float
    decode_tokens_per_second: float
    decode_dtype: str
    decode_share: float


def measure_against_ceilings(
    config: TrainConfig, cache: Path, ceilings: Ceilings, seconds: float = PROBE_SECONDS
) -> Measured:
    """Train (about `seconds`) and write with what `config` asks for, and compare with the machine's `ceilings`.

    Raises UserError for what a run would refuse too.
    """
    job, _ = build_job(config, cache=cache, embedded_bytes=round(_embedded_bytes(config)))
    probed = probe(job, seconds)
    training_dtype = job.precision.dtype
    trained = probed.tokens_per_update / probed.update
    # As a chat would hold it: small models in float32, large ones in the type the hardware is fast in.
    decode_dtype = torch.float32 if job.model.parameter_count() < LARGE else training_dtype
    written = writing_speed(Engine(job.model.eval().to(job.precision.device, decode_dtype), job.tokenizer))
    read = decode_bytes_per_token(job.model.config, decode_dtype.itemsize, _PROMPT_TOKENS + _WRITTEN_TOKENS // 2)
    products = ceilings.matmul_float32 if training_dtype == torch.float32 else ceilings.matmul_bfloat16
    return Measured(
        training_tokens_per_second=trained,
        training_dtype=str(training_dtype).removeprefix("torch."),
        training_share=trained * training_flops_per_token(job.model.config, config.sequence_length) / products,
        decode_tokens_per_second=written,
        decode_dtype=str(decode_dtype).removeprefix("torch."),
        decode_share=written * read / ceilings.memory_read,
    )


def writing_speed(engine: Engine) -> float:
    """Tokens a second with one sequence: by the median time between two tokens, after a text that is not counted."""
    engine.stop_ids = frozenset()
    config = SampleConfig(temperature=0.0, max_new_tokens=_WRITTEN_TOKENS)
    prompt = [token % engine.tokenizer.vocab_size for token in range(40, 40 + _PROMPT_TOKENS)]
    times: list[float] = []
    for _ in range(2):
        times = [token.seconds for token in engine.generate(prompt, config)]
    return 1 / statistics.median(later - earlier for earlier, later in itertools.pairwise(times))


def _embedded_bytes(config: TrainConfig) -> float:
    return min(config.data_megabytes * 1e6, _SAMPLE_BYTES)


def _data_scale(config: TrainConfig) -> float:
    """How many times the data of the run are larger than those of the estimate."""
    whole = part = 0.0
    for source in config.data:
        if source in GENERATED:  # of tasks, all that there are were made
            size = _SAMPLE_BYTES if config.objective in REINFORCEMENT else config.data_megabytes * 1e6
        else:
            size = float(Path(source).stat().st_size)
        whole, part = whole + size, part + min(size, _SAMPLE_BYTES)
    return whole / max(part, 1.0)


def _part_of(path: Path, cache: Path) -> Path:
    """A file with the first whole lines of `path`; the file itself where it is small."""
    if path.stat().st_size <= _SAMPLE_BYTES:
        return path
    cache.mkdir(parents=True, exist_ok=True)
    part = cache / f"estimate-{path.name}"
    with path.open("rb") as file:
        text = file.read(_SAMPLE_BYTES)
    part.write_bytes(text[: text.rfind(b"\n") + 1] or text)
    return part
