"""One training sample token by token, as the trainer sees it: what is learned, what is only read, what is cut off.

Nothing is imitated here: the sample is tokenised by the method's own preparation and laid out by the packing that
fills real batches; what is told is read off the labels of that batch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minimind import paths
from minimind.config import MODEL_PRESETS, PRESET_TOKENIZERS, TrainConfig
from minimind.data import packing
from minimind.data.catalogue import resolve
from minimind.data.packing import IGNORED, Part, Position
from minimind.data.shards import TokenDataset
from minimind.data.tasks import TaskDataset
from minimind.data.tokenizer import DEFAULT_TOKENIZER, Tokenizer
from minimind.errors import UserError
from minimind.interop.opening import open_any
from minimind.model.locate import locate_model
from minimind.training.objective import find_objective

TRAINED, READ, CUT = "t", "r", "c"
"""A token whose prediction the loss counts; one that is only read; one that does not fit and is left out."""
PROMPT = "prompt"
_HEAD_BYTES = 1_000_000
"""How much of each file is looked at: tokenising all of a large one takes as long as before a training."""
_EMBEDDED_BYTES = 200_000
_LONGEST_LINE = 4 << 20


@dataclass(frozen=True, slots=True)
class Side:
    """A document: `states` has a character (TRAINED, READ or CUT) for each of `ids`, `texts` what each stands for.

    `special` tells the tokens that are markup. Of a preference pair `name` is chosen or rejected, else empty.
    """

    name: str
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    states: str
    special: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Lens:
    """Sample number `sample` (from 1) of the `count` that were looked at; `used` is False where the trainer skips it.

    `kind` is pretrain, sft, dpo, or prompt: then the model's own answers are trained, of which the data know nothing.
    """

    kind: str
    sample: int
    count: int
    sequence_length: int
    used: bool
    sides: tuple[Side, ...]


def look(config: TrainConfig, first: int = 1, amount: int = 1) -> list[Lens]:
    """Samples number `first` (≥ 1) and following of what `config` trains on, at most `amount`.

    Raises UserError for data, models or numbers that are not there.

    Of large files only the first megabyte is looked at, and of data that are made here the first 200 KB.
    """
    objective = find_objective(config.objective)
    tokenizer = _tokenizer_of(config)
    with tempfile.TemporaryDirectory() as directory:
        heads = config.replace(data=_heads(config.data, Path(directory)), allow_bad=True)
        data = objective.prepare_data(
            heads, tokenizer, cache=Path(directory) / "tokens", embedded_bytes=_EMBEDDED_BYTES
        ).train
        count = len(data) // 2 if data.paired else len(data)
        if not 1 <= first <= count:
            raise UserError(
                f"sample {first}: {count} samples were looked at: use 1…{count}",
                f"样本 {first}：一共看了 {count} 个样本：请用 1…{count}",
            )
        found = []
        for sample in range(first, min(first + amount, count + 1)):
            if isinstance(data, TaskDataset):
                prompt = _side("", data, sample - 1, READ * _length(data, sample - 1), tokenizer)
                found.append(Lens(PROMPT, sample, count, config.sequence_length, True, (prompt,)))
                continue
            parts = packing.parts_of(data, sample - 1, config.sequence_length)
            sides = _sides(data, sample - 1, parts, config.sequence_length, tokenizer)
            found.append(Lens(objective.kind, sample, count, config.sequence_length, bool(parts), sides))
        return found


def _sides(
    data: TokenDataset, record: int, parts: list[Part], sequence_length: int, tokenizer: Tokenizer
) -> tuple[Side, ...]:
    """The document of a record, or the two of a pair."""
    documents = [2 * record, 2 * record + 1] if data.paired else [record]
    names = ("chosen", "rejected") if data.paired else ("",)
    states = _states(data, documents, parts, sequence_length)
    return tuple(
        _side(name, data, document, state, tokenizer)
        for name, document, state in zip(names, documents, states, strict=True)
    )


def _states(data: TokenDataset, documents: Sequence[int], parts: list[Part], sequence_length: int) -> list[str]:
    """For each document the state of each of its ids, read off a batch that holds nothing else."""
    found = []
    batch = packing.lay_out(data, [[part] for part in parts], sequence_length, Position()) if parts else None
    for side, document in enumerate(documents):
        start, end = int(data.offsets[document]), int(data.offsets[document + 1])
        states = [CUT] * (end - start)
        if states and batch is not None:
            states[0] = READ  # nothing comes before it from which it could be predicted
        for row, part in enumerate(parts):
            first, length = (part.start, part.length) if side == 0 or part.rejected is None else part.rejected
            labels = batch.labels[row * len(documents) + side] if batch is not None else ()
            for place in range(length):
                states[first + place + 1 - start] = READ if int(labels[place]) == IGNORED else TRAINED
        found.append("".join(states))
    return found


def _length(data: TokenDataset, document: int) -> int:
    return int(data.offsets[document + 1] - data.offsets[document])


def _side(name: str, data: TokenDataset, document: int, states: str, tokenizer: Tokenizer) -> Side:
    ids = tuple(data.tokens[data.offsets[document] : data.offsets[document + 1]].tolist())
    markup = frozenset(tokenizer.added_tokens.values())
    return Side(name, ids, tuple(map(tokenizer.token_label, ids)), states, tuple(token in markup for token in ids))


def _tokenizer_of(config: TrainConfig) -> Tokenizer:
    """The tokenizer that a run with these settings has; weights are loaded only where the files ask for it."""
    if config.tokenizer is not None:
        return Tokenizer.load(config.tokenizer)
    if config.model in MODEL_PRESETS:
        return Tokenizer.load(PRESET_TOKENIZERS.get(config.model, DEFAULT_TOKENIZER))
    directory = locate_model(config.model)
    if (directory / "tokenizer.json").is_file():
        return Tokenizer.load(str(directory))
    return open_any(directory)[1]


def _heads(sources: Sequence[str], directory: Path) -> list[str]:
    """The sources, large files replaced by whole lines from their beginning. Raises UserError for one that cannot be read."""
    heads = []
    for number, source in enumerate(resolve(source, paths.data()) for source in sources):
        path = Path(source)
        try:
            if not path.is_file() or path.stat().st_size <= _HEAD_BYTES:
                heads.append(source)
                continue
            head = directory / f"{number}{path.suffix}"
            with path.open("rb") as file, head.open("wb") as out:
                while file.tell() < _HEAD_BYTES and (line := file.readline(_LONGEST_LINE)):
                    out.write(line)
        except OSError as error:
            raise UserError(
                f"{path}: cannot be read: {error.strerror}", f"{path}：读不出来：{error.strerror}"
            ) from None
        heads.append(str(head))
    return heads
