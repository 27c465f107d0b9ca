"""What rounding the weights costs: the loss on text the model never saw, through the very step that writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from minimind import paths
from minimind.config import TrainConfig
from minimind.data.packing import IGNORED, NO_DOCUMENT

if TYPE_CHECKING:
    from torch import Tensor

    from minimind.inference.engine import Engine

_AT_ONCE = 8
"""Tokens read in a step: the compiled step computes the same numbers however they are grouped."""
QUALITY_TOKENS = 4096
"""Counted tokens that a loss is the mean of."""
_EMBEDDED = 1_000_000
"""Bytes of the embedded corpus to make; its held-out split is the same for every size."""


def held_out_documents(engine: Engine) -> Iterator[tuple[list[int], Tensor]]:
    """Tokens and labels [time] (-100: not counted) of the held-out split of the data the model was tuned on.

    A model that does not say which gets the embedded corpus, as text. Raises UserError where the data are not there.
    """
    from minimind.data.shards import prepare
    from minimind.training.objective import find_objective

    about = engine.metadata
    name = "sft" if about.get("objective") == "sft" else "pretrain"
    objective = find_objective(name)
    sources = [str(source) for source in about.get("data") or ["embedded"]]
    cache = paths.cache() / "tokens"
    data = prepare(sources, engine.tokenizer, kind=objective.kind, cache_directory=cache, embedded_bytes=_EMBEDDED)
    config = TrainConfig(objective=name, batch_size=1, sequence_length=min(256, engine.context))
    for batch in objective.batches(data.validation, config, epochs=1):
        for document in range(int(batch.documents.max()) + 1):
            inside = (batch.documents == document) & (batch.documents != NO_DOCUMENT)  # [1, time]
            yield batch.tokens[inside].tolist(), batch.labels[inside]


def held_out_loss(read: Callable[[list[int]], Tensor], documents: Iterable[tuple[list[int], Tensor]]) -> float:
    """The mean loss in nats a counted token, where `read` gives the logits [time, vocabulary] of a document."""
    import torch.nn.functional as F

    nats, count = 0.0, 0
    for tokens, labels in documents:
        logits = read(tokens)  # [time, vocabulary]
        nats += float(F.cross_entropy(logits.double(), labels, ignore_index=IGNORED, reduction="sum"))
        count += int((labels != IGNORED).sum())
    return nats / count


def reader(engine: Engine, format: str | None) -> Callable[[list[int]], Tensor]:
    """Reads a document: by torch in float32 (None), or by the compiled step with weights in `format`."""
    import torch

    from minimind.inference.native.decoder import NativeDecoder
    from minimind.inference.quantize import WEIGHT_FORMATS
    from minimind.model.cache import Cache

    def by_torch(tokens: list[int]) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = engine.model(torch.tensor([tokens]))[0]  # [time, vocabulary]
        return logits

    if format is None:
        return by_torch
    decoder = NativeDecoder(engine.model, next(one for one in WEIGHT_FORMATS if one == format))
    cache = Cache(engine.config, 1, engine.context)

    def by_step(tokens: list[int]) -> Tensor:
        cache.reset()
        pieces = [tokens[start : start + _AT_ONCE] for start in range(0, len(tokens), _AT_ONCE)]
        return torch.cat([decoder.read(cache, piece) for piece in pieces])  # [time, vocabulary]

    return by_step


def quality(engine: Engine, formats: Iterable[str], tokens: int) -> dict[str, float]:
    """Held-out loss in nats of torch's float32 ("torch") and of each of `formats`, on about `tokens` counted tokens."""
    documents, counted = [], 0
    for document in held_out_documents(engine):
        documents.append(document)
        counted += int((document[1] != IGNORED).sum())
        if counted >= tokens:
            break
    losses = {"torch": held_out_loss(reader(engine, None), documents)}
    return losses | {format: held_out_loss(reader(engine, format), documents) for format in formats}
