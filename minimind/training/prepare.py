"""From a TrainConfig to all that a run trains with: device, model, tokenizer, data, checked before anything is computed."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from minimind import __version__
from minimind.config import MODEL_PRESETS, PRESET_TOKENIZERS, ModelConfig, TrainConfig
from minimind.data import shards
from minimind.data.catalogue import GENERATED
from minimind.data.tokenizer import DEFAULT_TOKENIZER, Tokenizer
from minimind.errors import UserError
from minimind.events import Text
from minimind.interop.opening import open_any
from minimind.model.locate import locate_model
from minimind.model.lora import add_lora, weights_hash
from minimind.model.transformer import MiniMind
from minimind.training.acceleration import Precision, Tell, choose_precision, use_deterministic_algorithms
from minimind.training.group import Group
from minimind.training.initial import set_initial_weights
from minimind.training.job import Job
from minimind.training.objective import find_objective
from minimind.training.recommend import refuse_incomplete
from minimind.training.state import Surroundings

ReportProgress = Callable[[int, int | None], None]


def build_job(
    config: TrainConfig,
    *,
    cache: Path,
    start: Path | None = None,
    progress: ReportProgress | None = None,
    embedded_bytes: int | None = None,
    tell: Tell | None = None,
    group: Group | None = None,
) -> tuple[Job, list[Text]]:
    """Make ready what `config` asks for; also returns notes a person should see.

    `start` is a checkpoint to take model and tokenizer from in place of `config.model` (a resumed run's own).
    `progress(done, total)` counts bytes of data while they are tokenised; `embedded_bytes` replaces the size asked for.
    `tell` hears of other work that takes a while. `group` are the processes that will share its batches.
    Seeds the global random generators. Raises UserError for whatever does not fit together.
    """
    refuse_incomplete(config)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    use_deterministic_algorithms(config.deterministic)
    precision, slower = choose_precision(config, tell)
    objective = find_objective(config.objective)
    random.seed(config.seed)
    torch.manual_seed(config.seed)
    model, tokenizer, metadata, notes = _starting_point(config, start)
    if config.tune == "lora":
        notes.append(_adapt(model, config, metadata, fresh=start is None))
    _check_length(model.config, config)
    data = objective.prepare_data(config, tokenizer, cache=cache, embedded_bytes=embedded_bytes, progress=progress)
    batch_size, reduced = objective.fit_batch_size(data.train, config)
    job = Job(
        config=config.replace(batch_size=batch_size),
        model=model,
        tokenizer=tokenizer,
        tokenizer_files=tokenizer_files(tokenizer),
        objective=objective,
        data=data,
        precision=precision,
        surroundings=surroundings_of(precision, data, group),
        metadata=metadata,
        group=group or Group(),
    )
    return job, [*notes, *data.notes, *(note for note in (slower, reduced) if note is not None)]


def surroundings_of(precision: Precision, data: shards.Prepared, group: Group | None = None) -> Surroundings:
    """What the last digits of a run with these depend on."""
    return Surroundings(
        device=str(precision.device),
        dtype=str(precision.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        data=data.train.fingerprint,
        kernels="ours" if precision.kernels is not None else "torch",
        processes=group.size if group is not None else 1,
    )


def _starting_point(config: TrainConfig, start: Path | None) -> tuple[MiniMind, Tokenizer, dict[str, Any], list[Text]]:
    """The model in float32, its tokenizer, what will be told about it, and notes."""
    if start is None and config.model in MODEL_PRESETS:
        return _fresh(config)
    directory = start or locate_model(config.model)
    model, tokenizer, earlier = open_any(directory)
    if config.tokenizer is not None and Tokenizer.load(config.tokenizer).sha256 != tokenizer.sha256:
        raise UserError(
            f"tokenizer = {config.tokenizer!r} is not the one {directory} was trained with: leave it out",
            f"tokenizer = {config.tokenizer!r} 不是 {directory} 训练时用的词表：请不要指定",
        )
    if start is not None:
        return model, tokenizer, {**earlier}, []
    history = [*earlier.get("history", []), {key: value for key, value in earlier.items() if key != "history"}]
    return model, tokenizer, _metadata(config) | {"history": history}, []


def _adapt(model: MiniMind, config: TrainConfig, metadata: dict[str, Any], *, fresh: bool) -> Text:
    """Put the corrections that LoRA trains into `model`; a `fresh` run notes in `metadata` which base they are for."""
    rank, alpha = config.lora_rank, config.lora_alpha or float(config.lora_rank)
    if fresh:
        metadata |= {"base": config.model, "base_hash": weights_hash(model)}
        metadata |= {"lora_rank": rank, "lora_alpha": alpha, "lora_targets": ",".join(config.lora_targets)}
    layers = len(add_lora(model, rank, targets=config.lora_targets, scale=alpha / rank))
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    share = trained / model.parameter_count()
    metadata |= {"tune": config.tune, "trained_parameters": trained}
    return Text(
        f"LoRA: {trained:,} parameters train beside {layers} layers, {share:.1%} of all; the others stay as they are",
        f"LoRA：在 {layers} 个线性层旁训练 {trained:,} 个参数，占总数的 {share:.1%}；其余参数不变",
    )


def _fresh(config: TrainConfig) -> tuple[MiniMind, Tokenizer, dict[str, Any], list[Text]]:
    """A new model of a preset. Another tokenizer than the preset's decides the size of its vocabulary."""
    preset = MODEL_PRESETS[config.model]
    tokenizer = Tokenizer.load(config.tokenizer or PRESET_TOKENIZERS.get(config.model, DEFAULT_TOKENIZER))
    notes = []
    if tokenizer.vocab_size != preset.vocab_size:
        notes.append(
            Text(
                f"vocab_size {preset.vocab_size} → {tokenizer.vocab_size}, that of the tokenizer",
                f"vocab_size {preset.vocab_size} → {tokenizer.vocab_size}，以词表为准",
            )
        )
        preset = preset.replace(vocab_size=tokenizer.vocab_size)
    if config.objective != "pretrain":
        notes.append(
            Text(
                f"{config.objective} begins with random weights: name a pretrained model to start from one",
                f"{config.objective} 将从随机权重开始：若要从预训练模型开始，请指定它",
            )
        )
    model = MiniMind(preset)
    set_initial_weights(model, config)
    return model, tokenizer, _metadata(config), notes


def _metadata(config: TrainConfig) -> dict[str, Any]:
    """What a model's config.json tells about how it came about."""
    return {
        "model": config.model,
        "objective": config.objective,
        "data": list(config.data),
        "data_megabytes": config.data_megabytes if set(GENERATED) & set(config.data) else None,
        "seed": config.seed,
        "versions": {"minimind-tui": __version__, "torch": str(torch.__version__)},
    }


def _check_length(model: ModelConfig, config: TrainConfig) -> None:
    if config.sequence_length > model.max_position_embeddings:
        raise UserError(
            f"sequence_length = {config.sequence_length} is longer than the model's context of "
            f"{model.max_position_embeddings}: lower it",
            f"sequence_length = {config.sequence_length} 超过模型的上下文长度 {model.max_position_embeddings}：请调小",
        )


def tokenizer_files(tokenizer: Tokenizer) -> Mapping[str, bytes]:
    """The contents of a tokenizer's files by name."""
    with tempfile.TemporaryDirectory() as directory:
        tokenizer.save(Path(directory))
        return {path.name: path.read_bytes() for path in sorted(Path(directory).iterdir())}
