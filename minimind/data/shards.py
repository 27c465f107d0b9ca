"""Text to token files: read once, tokenise once, map into memory ever after.

A prepared data set is a directory of flat arrays, named by what went into it (source, tokenizer, format version), so
that a second run starts at once and a changed file or tokenizer never meets stale tokens.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from minimind import paths
from minimind.data import chat, corpus
from minimind.data.catalogue import EMBEDDED, resolve
from minimind.data.formats import Report, read_conversations, read_texts
from minimind.data.preflight import too_few
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError
from minimind.events import Text
from minimind.safe_text import clean_line

FORMAT_VERSION = 1
DataKind = Literal["pretrain", "sft"]
Item = TypeVar("Item")

_SLICE = 512
"""Documents tokenised at a time: bounds the memory."""
_VALIDATION_SHARE = 0.02
_EMBEDDED_VALIDATION = (150_000, 1_000_000)
_EMPTY_THOUGHT_SHARE = 0.2
"""Share of the dialogues that keep their empty think blocks (interop: deleted with probability 0.8)."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenDataset:
    """Documents as ids, one after another. `tokens[offsets[i]:offsets[i + 1]]` is document i, with its end token.

    `mask` (fine-tuning only) says which ids the loss counts; `token_bytes[id]` is how many bytes of text an id stands
    for, 0 for special tokens.
    """

    tokens: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    mask: npt.NDArray[np.uint8] | None
    token_bytes: npt.NDArray[np.int64]
    fingerprint: str
    pad_id: int = 0

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def token_count(self) -> int:
        """Ids in all documents."""
        return int(self.offsets[-1])


@dataclass(frozen=True, slots=True)
class Prepared:
    """The two parts of a data set, and what a person should know about how they were made."""

    train: TokenDataset
    validation: TokenDataset
    notes: tuple[Text, ...] = ()


def prepare(
    sources: Sequence[str],
    tokenizer: Tokenizer,
    *,
    kind: DataKind,
    cache_directory: Path,
    embedded_bytes: int = 6_000_000,
    allow_bad: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> Prepared:
    """Tokenise `sources` ("embedded", names of the catalogue, or paths of files) unless that was done before, and map the result.

    Of a file, two documents in a hundred (chosen by their hash, the first one always) are held out for validation; the
    embedded corpus has a validation split of its own. `progress(done, total)` counts bytes of input.
    Raises UserError for sources that cannot be used.
    """
    if not sources:
        raise UserError("no data: name a data set or a file", "没有数据：请指定数据集或文件")
    sources = [resolve(source, paths.data()) for source in sources]
    directory = cache_directory / _key(sources, tokenizer, kind, embedded_bytes)
    if not _complete(directory):
        _build(directory, sources, tokenizer, kind, embedded_bytes, allow_bad, progress or _silent)
    about = json.loads((directory / "about.json").read_text(encoding="utf-8"))
    return Prepared(
        train=_load(directory / "train", tokenizer, directory.name),
        validation=_load(directory / "validation", tokenizer, directory.name),
        notes=tuple(Text(note["en"], note["zh"]) for note in about["notes"]),
    )


def _silent(_done: int, _total: int | None) -> None:
    """Report to nobody."""


def _key(sources: Sequence[str], tokenizer: Tokenizer, kind: DataKind, embedded_bytes: int) -> str:
    """A name for exactly this preparation."""
    parts: list[object] = [FORMAT_VERSION, kind, tokenizer.sha256]
    for source in sources:
        parts.append([source, corpus.VERSION, embedded_bytes] if source == EMBEDDED else _fingerprint(Path(source)))
    return f"{kind}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}"


def _fingerprint(path: Path) -> list[object]:
    """Size, time of change and a hash of both ends of a file: a rewritten file is another file."""
    try:
        about = path.stat()
        with path.open("rb") as file:
            digest = hashlib.sha256(file.read(1 << 20))
            file.seek(max(0, about.st_size - (1 << 20)))
            digest.update(file.read(1 << 20))
    except OSError as error:
        name = clean_line(str(path))
        raise UserError(
            f"{name} cannot be read: {error.strerror}; name a file or a data set (`minimind data list`)",
            f"{name} 读不出来：{error.strerror}；请指定文件或数据集（`minimind data list`）",
        ) from None
    return [about.st_size, about.st_mtime_ns, digest.hexdigest()]


def _complete(directory: Path) -> bool:
    """Whether the directory holds what its own list says, to the byte."""
    try:
        about = json.loads((directory / "about.json").read_text(encoding="utf-8"))
        return all((directory / name).stat().st_size == size for name, size in about["files"].items())
    except (OSError, ValueError, KeyError):
        return False


def _build(
    directory: Path,
    sources: Sequence[str],
    tokenizer: Tokenizer,
    kind: DataKind,
    embedded_bytes: int,
    allow_bad: bool,
    progress: Callable[[int, int | None], None],
) -> None:
    """Write the two parts beside their final place and rename them into it, so that half a data set is never seen."""
    temporary = directory.with_name(f".{directory.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        notes = _write_parts(temporary, sources, tokenizer, kind, embedded_bytes, allow_bad, progress)
        files = {str(path.relative_to(temporary)): path.stat().st_size for path in temporary.rglob("*.bin")}
        about = {"files": files, "notes": [{"en": note.en, "zh": note.zh} for note in notes]}
        (temporary / "about.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")
        shutil.rmtree(directory, ignore_errors=True)
        temporary.rename(directory)
    except OSError as error:
        if not _complete(directory):  # else another process was faster, which is as good
            name = clean_line(str(directory))
            raise UserError(
                f"{name}: the tokens cannot be written: {error.strerror}; free some space or set MINIMIND_HOME",
                f"{name}：词元写不进去：{error.strerror}；请腾出空间或设置 MINIMIND_HOME",
            ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_parts(
    directory: Path,
    sources: Sequence[str],
    tokenizer: Tokenizer,
    kind: DataKind,
    embedded_bytes: int,
    allow_bad: bool,
    progress: Callable[[int, int | None], None],
) -> list[Text]:
    """Write the token files of both parts; returns what a person should know. Raises UserError for too little data."""
    notes: list[Text] = []
    with ExitStack() as stack:
        writers = {}
        for part in ("train", "validation"):
            writers[part] = _Writer(directory / part, tokenizer, kind)
            stack.callback(writers[part].close)
        for source in sources:
            if source == EMBEDDED:
                documents = _embedded(kind, embedded_bytes, progress)
            else:
                documents = _from_file(Path(source), kind, allow_bad, progress, notes)
            for part, batch in _slices(documents):
                writers[part].add(batch)
    if not all(writer.documents for writer in writers.values()):
        raise too_few(sources)
    return notes


class _Writer:
    """Tokenises slices of documents and appends them to the files of one part."""

    def __init__(self, directory: Path, tokenizer: Tokenizer, kind: DataKind) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._tokenizer, self._kind = tokenizer, kind
        self._dtype = token_dtype(tokenizer.vocab_size)
        self._tokens: BinaryIO = (directory / "tokens.bin").open("wb")
        self._offsets: BinaryIO = (directory / "offsets.bin").open("wb")
        self._mask: BinaryIO | None = (directory / "mask.bin").open("wb") if kind == "sft" else None
        self._end = 0
        self.documents = 0
        self._offsets.write(np.int64(0).tobytes())

    def add(self, batch: Sequence[Any]) -> None:
        """Tokenise and append documents (texts, or conversations with whether they keep empty thoughts)."""
        if self._kind == "pretrain":
            ids = [
                [self._tokenizer.bos_id, *tokens, self._tokenizer.eos_id]
                for tokens in self._tokenizer.encode_batch(batch)
            ]
        else:
            encoded = chat.encode_dialogues(self._tokenizer, batch)
            ids = [tokens for tokens, _ in encoded]
            if self._mask is not None:
                self._mask.write(np.concatenate([np.array(mask, dtype=np.uint8) for _, mask in encoded]).tobytes())
        self._tokens.write(np.concatenate([np.array(tokens, dtype=self._dtype) for tokens in ids]).tobytes())
        ends = self._end + np.cumsum([len(tokens) for tokens in ids], dtype=np.int64)
        self._offsets.write(ends.tobytes())
        self._end = int(ends[-1])
        self.documents += len(ids)

    def close(self) -> None:
        """Flush."""
        for file in (self._tokens, self._offsets, self._mask):
            if file is not None:
                file.close()


def token_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """The smallest type that holds every id."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


def _load(directory: Path, tokenizer: Tokenizer, fingerprint: str) -> TokenDataset:
    offsets = np.fromfile(directory / "offsets.bin", dtype=np.int64)
    mask_path = directory / "mask.bin"
    return TokenDataset(
        tokens=np.memmap(directory / "tokens.bin", dtype=token_dtype(tokenizer.vocab_size), mode="r"),
        offsets=offsets,
        mask=np.memmap(mask_path, dtype=np.uint8, mode="r") if mask_path.exists() else None,
        token_bytes=token_sizes(tokenizer),
        fingerprint=fingerprint,
        pad_id=tokenizer.pad_id,
    )


def token_sizes(tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """Bytes of text that each id stands for, 0 for special tokens. Shape [vocabulary]."""
    sizes = [
        0 if token in tokenizer.special_ids else len(tokenizer.token_bytes(token))
        for token in range(tokenizer.vocab_size)
    ]
    return np.array(sizes, dtype=np.int64)


def _slices(documents: Iterator[tuple[str, Item]]) -> Iterator[tuple[str, list[Item]]]:
    """(part, documents of that part) in slices of bounded size."""
    while chunk := list(islice(documents, _SLICE)):
        for part in ("train", "validation"):
            chosen = [document for name, document in chunk if name == part]
            if chosen:
                yield part, chosen


def _embedded(
    kind: DataKind, size: int, progress: Callable[[int, int | None], None]
) -> Iterator[tuple[str, str | tuple[chat.Message, ...] | Any]]:
    """(part, document) of the embedded corpus: `size` bytes for training, about a twentieth of that for validation."""
    low, high = _EMBEDDED_VALIDATION
    goals = {"train": size, "validation": min(max(size // 20, min(low, size)), high)}
    total, done = sum(goals.values()), 0
    for part, goal in goals.items():
        split: corpus.Split = "train" if part == "train" else "validation"
        made = index = 0
        while made < goal:
            if kind == "pretrain":
                document: Any = corpus.pretrain_document(index, split=split)
                made += len(document.encode())
            else:
                messages = corpus.dialogue(index, split=split)["conversations"]
                document = (messages, _keeps_empty_thought(messages))
                made += sum(len(message["content"].encode()) for message in messages)
            index += 1
            yield part, document
            if index % _SLICE == 0:
                progress(done + made, total)
        done += made
    progress(total, total)


def _from_file(
    path: Path, kind: DataKind, allow_bad: bool, progress: Callable[[int, int | None], None], notes: list[Text]
) -> Iterator[tuple[str, Any]]:
    """(part, document) of a file; what had to be skipped goes into `notes`."""
    report = Report(path, allow_bad=allow_bad)
    lines: Iterator[Any] = read_texts(path, report) if kind == "pretrain" else read_conversations(path, report)
    total, done = path.stat().st_size, 0
    for index, line in enumerate(lines):
        key = line if kind == "pretrain" else json.dumps(line, ensure_ascii=False)
        done += len(key.encode())
        yield _part(index, key), line if kind == "pretrain" else (line, _keeps_empty_thought(line))
        if index % _SLICE == 0:
            progress(min(done, total), total)
    progress(total, total)
    if report.bad:
        shown_en, shown_zh = (
            "; ".join(text.en for text in report.examples),
            "；".join(text.zh for text in report.examples),
        )
        notes.append(
            Text(
                f"{path.name}: {report.bad} lines skipped. {shown_en}",
                f"{path.name}：跳过了 {report.bad} 行。{shown_zh}",
            )
        )


def _hash_share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big") / 2**32


def _part(index: int, key: str) -> str:
    return "validation" if index == 0 or _hash_share(key) < _VALIDATION_SHARE else "train"


def _keeps_empty_thought(messages: Sequence[chat.Message]) -> bool:
    return _hash_share("thought " + json.dumps(messages, ensure_ascii=False)) < _EMPTY_THOUGHT_SHARE
