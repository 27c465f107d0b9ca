"""What each stage's model is worth, measured alike for all of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minimind.config import SampleConfig, TrainConfig
from minimind.data import shards
from minimind.data.catalogue import EMBEDDED
from minimind.data.corpus import FIXED_QUESTIONS
from minimind.data.tasks import encode_task, task
from minimind.inference.batch import write_batch
from minimind.inference.engine import Engine
from minimind.training.objective import find_objective
from minimind.training.rewards import reward_parts, total

_BYTES = 400_000
"""Of the embedded corpus, to have a held-out part of."""
_TOKENS = 16_384
_ANSWER_TOKENS = 48
_TOGETHER = 16


def evaluate_model(model: str | Path, cache: Path, *, tasks: Sequence[str] = (), count: int = 64) -> dict[str, Any]:
    """Figures of the model at `model`, and what it answers, as JSON data.

    ``pretrain_loss`` and ``sft_loss`` are nats a token on held-out documents and answers of the embedded corpus,
    ``pretrain_bits_per_byte`` compares across tokenizers; ``reward`` is the mean over `count` held-out tasks of these
    kinds, answered greedily, and ``correct`` the share of those with one right answer that were answered right.
    ``samples`` are its answers to the fixed questions. Raises UserError for a model that cannot be opened.
    """
    engine = Engine.open(model)
    result: dict[str, Any] = {}
    for kind in ("pretrain", "sft"):
        objective = find_objective(kind)
        data = shards.prepare(
            [EMBEDDED], engine.tokenizer, kind=objective.kind, cache_directory=cache, embedded_bytes=_BYTES
        )
        length = min(256, engine.config.max_position_embeddings)
        config = TrainConfig(objective=kind, sequence_length=length, batch_size=8, evaluation_tokens=_TOKENS)
        batches = [
            batch.to(engine.model.lm_head.weight.device) for batch in objective.validation(data.validation, config)
        ]
        figures = objective.evaluate(engine.model, batches)
        result[f"{kind}_loss"] = figures["validation_loss"]
        result[f"{kind}_bits_per_byte"] = figures["validation_bits_per_byte"]
    if tasks:
        result |= _rewards(engine, tasks, count)
    greedy = SampleConfig(temperature=0.0, max_new_tokens=_ANSWER_TOKENS)
    result["samples"] = {
        question: "".join(token.text for token in engine.chat([{"role": "user", "content": question}], greedy))
        for question in FIXED_QUESTIONS
    }
    return result


def _rewards(engine: Engine, kinds: Sequence[str], count: int) -> dict[str, float]:
    asked = [task(index, kinds, split="validation") for index in range(count)]
    greedy = SampleConfig(temperature=0.0, max_new_tokens=_ANSWER_TOKENS)
    rewards, correct = [], []
    for start in range(0, count, _TOGETHER):
        some = asked[start : start + _TOGETHER]
        texts = [""] * len(some)
        for number, token in write_batch(engine, [encode_task(engine.tokenizer, item) for item in some], greedy):
            texts[number] += token.text
        for item, text in zip(some, texts, strict=True):
            parts = reward_parts(item, text)
            rewards.append(total(parts))
            correct += [parts["correct"] == 1] if "correct" in parts else []
    found = {"reward": statistics.fmean(rewards)}
    return found | ({"correct": statistics.fmean(correct)} if correct else {})
