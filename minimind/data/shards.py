"""Text to token files: read once, tokenise once, map into memory ever after.

A prepared data set is a directory of flat arrays, named by what went into it (source, tokenizer, format version), so
that a second run starts at once and a changed file or tokenizer never meets stale tokens.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minimind import paths
from minimind.data import chunks, corpus
from minimind.data.building import Builder, alone_in, unlock, write_json
from minimind.data.catalogue import EMBEDDED_TOOLS, GENERATED, resolve
from minimind.data.chunks import CHUNK_BYTES, DataKind, Encoded, Task, token_dtype
from minimind.data.formats import Report, documents, is_json_lines
from minimind.data.preflight import refuse_kind, too_few
from minimind.data.tokenizer import Tokenizer
from minimind.data.workers import Workers
from minimind.errors import UserError
from minimind.events import Text
from minimind.hardware import available_cores
from minimind.safe_text import clean_line

__all__ = ["DataKind", "Prepared", "TokenDataset", "prepare", "token_dtype", "token_sizes"]

FORMAT_VERSION = 1
ReportProgress = Callable[[int, int | None], None]

_SLICE = 512
"""Documents of a source that cannot be cut tokenised at a time."""
_FEW_CHUNKS = 4
"""Chunks of a file below which starting processes costs more than they save."""
_WORTH_COMPILING = 4_000_000
"""Bytes of a file."""
_EMBEDDED_VALIDATION = (150_000, 1_000_000)
_FRESH_SECONDS = 2.0
"""A file changed so recently may change again without another time of change."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenDataset:
    """Documents as ids, one after another. `tokens[offsets[i]:offsets[i + 1]]` is document i, with its end token.

    `mask` (all but pretraining) says which ids the loss counts; `token_bytes[id]` is how many bytes of text an id stands
    for, 0 for special tokens. With `paired`, documents 2i and 2i+1 are the chosen and the rejected side of pair i.
    """

    tokens: npt.NDArray[Any]
    offsets: npt.NDArray[np.int64]
    mask: npt.NDArray[np.uint8] | None
    token_bytes: npt.NDArray[np.int64]
    fingerprint: str
    pad_id: int = 0
    paired: bool = False

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
    progress: ReportProgress | None = None,
    processes: int | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Prepared:
    """Tokenise `sources` ("embedded", names of the catalogue, or paths of files) unless that was done before, and map the result.

    Of a file, two documents in a hundred (chosen by their hash, the first one always) are held out for validation; the
    embedded corpus has a validation split of its own. `progress(done, total)` counts bytes of input; whatever it raises
    ends the work, which the next call takes up again, as it does after a kill. `processes` (None: one a core) and
    `chunk_bytes` change the speed and the memory, never the result. Raises UserError for sources that cannot be used.
    """
    if not sources:
        raise UserError("no data: name a data set or a file", "没有数据：请指定数据集或文件")
    sources = [resolve(source, paths.data()) for source in sources]
    for source in set(sources) & set(GENERATED):
        refuse_kind(source, kind)
    directory = cache_directory / _key(sources, tokenizer, kind, embedded_bytes, cache_directory)
    if not _complete(directory):
        job = _Preparation(sources, tokenizer, kind, embedded_bytes, allow_bad, progress or _silent, chunk_bytes)
        job.processes = available_cores() if processes is None else processes
        job.build(directory)
    about = json.loads((directory / "about.json").read_text(encoding="utf-8"))
    return Prepared(
        train=_load(directory / "train", tokenizer, directory.name, kind),
        validation=_load(directory / "validation", tokenizer, directory.name, kind),
        notes=tuple(Text(note["en"], note["zh"]) for note in about["notes"]),
    )


def _silent(_done: int, _total: int | None) -> None:
    """Report to nobody."""


def _key(sources: Sequence[str], tokenizer: Tokenizer, kind: DataKind, embedded_bytes: int, cache: Path) -> str:
    """A name for exactly this preparation."""
    parts: list[object] = [FORMAT_VERSION, kind, tokenizer.sha256]
    for source in sources:
        parts.append(
            [source, corpus.VERSION, embedded_bytes] if source in GENERATED else content_hash(Path(source), cache)
        )
    return f"{kind}-{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}"


def content_hash(path: Path, cache: Path) -> str:
    """The SHA-256 of a file's content; remembered in `cache` as long as its size and time of change stay the same.

    Raises UserError for a file that cannot be read.
    """
    note = cache / f".content-{hashlib.sha256(str(path.absolute()).encode()).hexdigest()[:24]}.json"
    try:
        about = path.stat()
        identity = [about.st_size, about.st_mtime_ns, about.st_ino]
        try:
            known = json.loads(note.read_text(encoding="utf-8"))
            if known["identity"] == identity:
                return str(known["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        name = clean_line(str(path))
        raise UserError(
            f"{name} cannot be read: {error.strerror}; name a file or a data set (`minimind data list`)",
            f"{name} 读不出来：{error.strerror}；请指定文件或数据集（`minimind data list`）",
        ) from None
    if time.time() - about.st_mtime > _FRESH_SECONDS:
        try:
            cache.mkdir(parents=True, exist_ok=True)
            write_json(note, {"identity": identity, "sha256": digest})
        except OSError:
            pass  # it is only computed again
    return digest


def _complete(directory: Path) -> bool:
    """Whether the directory holds what its own list says, to the byte."""
    try:
        about = json.loads((directory / "about.json").read_text(encoding="utf-8"))
        return all((directory / name).stat().st_size == size for name, size in about["files"].items())
    except (OSError, ValueError, KeyError):
        return False


@dataclass
class _Preparation:
    """The work of one `prepare` that finds nothing done."""

    sources: Sequence[str]
    tokenizer: Tokenizer
    kind: DataKind
    embedded_bytes: int
    allow_bad: bool
    report_progress: ReportProgress
    chunk_bytes: int
    processes: int = 1

    def build(self, directory: Path) -> None:
        """Build beside the final place, going on where a killed process stopped, and rename into it.

        Half a data set is never seen. Sources that cannot be used leave nothing behind; anything else that ends the
        work leaves what was done for the next time.
        """
        partial = directory.with_name(f".{directory.name}.partial")
        try:
            with alone_in(partial):
                if _complete(directory):  # another process has just built it
                    shutil.rmtree(partial, ignore_errors=True)
                    return
                for left_over in partial.glob("chunk-*"):
                    left_over.unlink()
                (partial / "tokenizer.json").write_text(self.tokenizer.definition, encoding="utf-8")
                with Builder(partial, self.kind) as builder:
                    self._read(builder, partial)
                    notes = builder.progress.notes
                    files = builder.finish()
                write_json(partial / "about.json", {"files": files, "notes": notes})
                shutil.rmtree(directory, ignore_errors=True)
                partial.rename(directory)
                unlock(directory)
        except UserError:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        except OSError as error:
            if not _complete(directory):  # else another process was faster, which is as good
                name = clean_line(str(directory))
                raise UserError(
                    f"{name}: the tokens cannot be written: {error.strerror}; free some space or set MINIMIND_HOME",
                    f"{name}：词元写不进去：{error.strerror}；请腾出空间或设置 MINIMIND_HOME",
                ) from None

    def _read(self, builder: Builder, partial: Path) -> None:
        """Read the sources not yet read. Raises UserError for too little data."""
        at = builder.progress
        for number in range(at.source, len(self.sources)):
            source = self.sources[number]
            if source in GENERATED:
                self._read_stream(builder, self._embedded(source))
            elif is_json_lines(path := Path(source)):
                self._read_lines(builder, path, partial)
            else:
                report = Report(path, allow_bad=self.allow_bad)
                self._read_stream(builder, self._from_file(path, report))
                at.notes += [{"en": note.en, "zh": note.zh} for note in notes_of(report)]
            at.source, at.done, at.documents, at.report = number + 1, 0, 0, None
            builder.commit(now=True)
        if not all(at.counts.values()):
            raise too_few(self.sources)

    def _read_lines(self, builder: Builder, path: Path, partial: Path) -> None:
        """A JSON-lines file, in parts, by several processes where it is large."""
        at, size = builder.progress, path.stat().st_size
        report = Report(path, allow_bad=self.allow_bad)
        if at.report is not None:
            report = chunks.report_from(at.report, path, allow_bad=self.allow_bad)
        starts = range(at.done, size, self.chunk_bytes)
        tasks = [Task(path, start, min(start + self.chunk_bytes, size)) for start in starts]
        for task, (encoded, part) in zip(tasks, self._encoded(tasks, partial), strict=True):
            report.merge(part)
            report.require_hope()
            if len(encoded.lengths) and not at.documents:
                encoded.held_out[: 2 if self.kind == "dpo" else 1] = True
            at.documents += len(encoded.lengths)
            at.done, at.report = task.end, chunks.report_data(report)
            builder.append(encoded)
            builder.commit()
            self.report_progress(task.end, size)
        report.require_usable()
        at.notes += [{"en": note.en, "zh": note.zh} for note in notes_of(report)]

    def _encoded(self, tasks: Sequence[Task], partial: Path) -> Iterator[tuple[Encoded, Report]]:
        """What each task gives, in order."""
        if tasks and tasks[-1].end - tasks[0].start > _WORTH_COMPILING:
            self.tokenizer.prepare_fast()  # here, and not by each process
        if self.processes == 1 or len(tasks) < _FEW_CHUNKS:
            yield from (chunks.encode_part(self.tokenizer, self.kind, task) for task in tasks)
            return
        with Workers(min(self.processes, len(tasks)), partial, self.kind) as workers:
            yield from workers.run(tasks)

    def _read_stream(self, builder: Builder, documents: Iterator[tuple[bool, Any]]) -> None:
        """(held out, document) one by one, tokenised in slices; those of an earlier start are passed over."""
        at = builder.progress
        for _ in range(at.done):
            next(documents, None)
        batch: list[tuple[bool, Any]] = []
        for pair in documents:
            batch.append(pair)
            if len(batch) == _SLICE:
                self._append(builder, batch)
                batch = []
        if batch:
            self._append(builder, batch)

    def _append(self, builder: Builder, batch: Sequence[tuple[bool, Any]]) -> None:
        held_out, documents = zip(*batch, strict=True)
        builder.append(chunks.encode_documents(self.tokenizer, self.kind, documents, held_out))
        builder.progress.done += len(batch)
        builder.commit()

    def _embedded(self, source: str) -> Iterator[tuple[bool, Any]]:
        """The embedded corpus: `embedded_bytes` for training, about a twentieth of that for validation."""
        low, high = _EMBEDDED_VALIDATION
        size = self.embedded_bytes
        goals: dict[corpus.Split, int] = {"train": size, "validation": min(max(size // 20, min(low, size)), high)}
        total, done = sum(goals.values()), 0
        for split, goal in goals.items():
            made = index = 0
            while made < goal:
                document = _embedded_document(source, self.kind, index, split)
                made += _text_bytes(document)
                index += 1
                yield split == "validation", document
                if index % _SLICE == 0:
                    self.report_progress(done + made, total)
            done += made
        self.report_progress(total, total)

    def _from_file(self, path: Path, report: Report) -> Iterator[tuple[bool, Any]]:
        """The documents of a file that cannot be cut anywhere; what had to be skipped goes into `report`."""
        total, done = path.stat().st_size, 0
        for index, document in enumerate(documents(path, self.kind, report)):
            if self.kind == "pretrain":
                done += len(document.encode())
            yield index == 0 or chunks.is_held_out(self.kind, document), document
            if index % _SLICE == 0:
                self.report_progress(min(done, total), total)
        self.report_progress(total, total)


def _embedded_document(source: str, kind: DataKind, index: int, split: corpus.Split) -> Any:
    """Document `index` of what is generated: a text, the messages of a conversation, or those of a pair's two sides."""
    if kind == "pretrain":
        return corpus.pretrain_document(index, split=split)
    if kind == "sft":
        dialogue = corpus.tool_dialogue if source == EMBEDDED_TOOLS else corpus.dialogue
        return dialogue(index, split=split)["conversations"]
    return tuple(corpus.preference(index, split=split).values())


def _text_bytes(document: Any) -> int:
    """Bytes of text in a document."""
    if isinstance(document, str):
        return len(document.encode())
    return len(document["content"].encode()) if isinstance(document, dict) else sum(map(_text_bytes, document))


def notes_of(report: Report) -> list[Text]:
    """What a person should know about the lines of a file that were skipped."""
    if not report.bad:
        return []
    shown_en, shown_zh = (
        "; ".join(text.en for text in report.examples),
        "；".join(text.zh for text in report.examples),
    )
    return [
        Text(
            f"{report.path.name}: {report.bad} lines skipped. {shown_en}",
            f"{report.path.name}：跳过了 {report.bad} 行。{shown_zh}",
        )
    ]


def _load(directory: Path, tokenizer: Tokenizer, fingerprint: str, kind: DataKind) -> TokenDataset:
    mask_path = directory / "mask.bin"
    return TokenDataset(
        tokens=np.memmap(directory / "tokens.bin", dtype=token_dtype(tokenizer.vocab_size), mode="r"),
        offsets=np.memmap(directory / "offsets.bin", dtype=np.int64, mode="r").view(np.ndarray),
        mask=np.memmap(mask_path, dtype=np.uint8, mode="r") if mask_path.exists() else None,
        token_bytes=token_sizes(tokenizer),
        fingerprint=fingerprint,
        pad_id=tokenizer.pad_id,
        paired=kind == "dpo",
    )


def token_sizes(tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """Bytes of text that each id stands for, 0 for special tokens. Shape [vocabulary]."""
    sizes = [
        0 if token in tokenizer.special_ids else len(tokenizer.token_bytes(token))
        for token in range(tokenizer.vocab_size)
    ]
    return np.array(sizes, dtype=np.int64)
