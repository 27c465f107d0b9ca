"""A stretch of documents as ids: what one process computes at a time when a data set is prepared.

What comes out depends on the documents alone, so a data set is the same whatever the number of processes and wherever
its file was cut. `main` is the process: ``python -m minimind.data.chunks FOLDER KIND`` answers one JSON request a line.
"""

from __future__ import annotations

import hashlib
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from minimind.data import chat
from minimind.data.formats import Report, read_part
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.events import Text

DataKind = Literal["pretrain", "sft", "dpo"]
KINDS: dict[str, DataKind] = {"pretrain": "pretrain", "sft": "sft", "dpo": "dpo"}
CHUNK_BYTES = 4 << 20
"""How much of a file is read at a time, by each process."""
_VALIDATION_SHARE = 0.02
_EMPTY_THOUGHT_SHARE = 0.2
"""Share of the dialogues that keep their empty think blocks (interop: deleted with probability 0.8)."""


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Documents as ids, one after another: `lengths[i]` of them each, `held_out[i]` for validation.

    `mask` (all but pretraining) says which ids the loss counts. A preference pair is two documents, the chosen
    conversation and after it the rejected one.
    """

    tokens: npt.NDArray[Any]
    lengths: npt.NDArray[np.int64]
    held_out: npt.NDArray[np.bool_]
    mask: npt.NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class Task:
    """The lines of a JSON-lines file that begin in these bytes."""

    path: Path
    start: int
    end: int


def token_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest type that holds every id."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def is_held_out(kind: DataKind, document: Any) -> bool:
    """Whether a document (a text, messages, or a pair of them) is for validation: two in a hundred are, by their hash."""
    key = document if kind == "pretrain" else json.dumps(document, ensure_ascii=False)
    return _hash_share(key) < _VALIDATION_SHARE


def _hash_share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") / 2**32


def encode_documents(
    tokenizer: Tokenizer, kind: DataKind, documents: Sequence[Any], held_out: Sequence[bool]
) -> Encoded:
    """Tokenise texts, with their begin and end tokens, or conversations (of a pair, both), with their masks.

    Whether an empty thought is kept is drawn once a pair: its two sides shall differ in their answers alone.
    """
    dtype, chosen = token_dtype(tokenizer.vocab_size), np.array(held_out, dtype=np.bool_)
    if kind == "pretrain":
        ids, lengths = tokenizer.encode_flat(documents, first=tokenizer.bos_id, last=tokenizer.eos_id)
        return Encoded(ids.astype(dtype), lengths, chosen, None)
    dialogues = [
        (messages, keeps)
        for document in documents
        for keeps in (_keeps_empty_thought(document),)
        for messages in (document if kind == "dpo" else (document,))
    ]
    chosen = np.repeat(chosen, 2 if kind == "dpo" else 1)
    encoded = chat.encode_dialogues(tokenizer, dialogues)
    lengths = np.array([len(tokens) for tokens, _ in encoded], dtype=np.int64)
    total = int(lengths.sum())
    flat = np.fromiter((token for tokens, _ in encoded for token in tokens), dtype=dtype, count=total)
    mask = np.fromiter((counts for _, counted in encoded for counts in counted), dtype=np.uint8, count=total)
    return Encoded(flat, lengths, chosen, mask)


def _keeps_empty_thought(document: Any) -> bool:
    return _hash_share("thought " + json.dumps(document, ensure_ascii=False)) < _EMPTY_THOUGHT_SHARE


def encode_part(tokenizer: Tokenizer, kind: DataKind, task: Task) -> tuple[Encoded, Report]:
    """Read and tokenise a part of a file. Raises UserError where it cannot be read or is hopeless from its start."""
    report = Report(task.path)
    documents = list(read_part(task.path, kind, report, task.start, task.end))
    held_out = [is_held_out(kind, document) for document in documents]
    return encode_documents(tokenizer, kind, documents, held_out), report


def report_data(report: Report) -> dict[str, Any]:
    """A report as JSON data, without its path."""
    counts = {name: getattr(report, name) for name in ("lines", "usable", "bad", "blank", "reasons")}
    return counts | {"first_bad": [[line, reason.en, reason.zh] for line, reason in report.first_bad]}


def report_from(data: Mapping[str, Any], path: Path, *, allow_bad: bool = False) -> Report:
    """The inverse of `report_data`."""
    first_bad = [(line, Text(en, zh)) for line, en, zh in data["first_bad"]]
    return Report(path, allow_bad, **{**data, "first_bad": first_bad})


def save(encoded: Encoded, path: Path) -> None:
    """Write the arrays to a file for `load`."""
    arrays = {"tokens": encoded.tokens, "lengths": encoded.lengths, "held_out": encoded.held_out}
    np.savez(path, allow_pickle=False, **arrays | ({} if encoded.mask is None else {"mask": encoded.mask}))


def load(path: Path) -> Encoded:
    """Read what `save` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        mask = arrays.get("mask")
        return Encoded(arrays["tokens"], arrays["lengths"], arrays["held_out"], mask)


def main() -> None:
    """Answer requests ``{"path", "start", "end", "to"}`` until stdin ends, with ``{"report"}`` or ``{"error"}``."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes our stdin
    tokenizer, kind = Tokenizer.load(Path(sys.argv[1])), KINDS[sys.argv[2]]
    for line in sys.stdin:
        request = json.loads(line)
        task = Task(Path(request["path"]), request["start"], request["end"])
        try:
            encoded, report = encode_part(tokenizer, kind, task)
            save(encoded, Path(request["to"]))
            answer: dict[str, Any] = {"report": report_data(report)}
        except UserError as error:
            answer = {"error": [error.text.en, error.text.zh]}
        except OSError as error:
            answer = {"errno": error.errno}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
