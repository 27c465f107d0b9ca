"""Preparing a data set: the same bytes whatever the processes, the parts and the interruptions; memory that is bounded."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minimind.data import corpus, shards
from minimind.data.chunks import DataKind
from minimind.data.formats import Report, read_part, read_texts
from minimind.data.shards import content_hash, prepare
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load("nano-2048")


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*.bin"))}


def write_mixed(path: Path, rows: int) -> Path:
    """Usable lines with a few bad and blank ones between, a byte order mark, and no line end at the end."""
    lines = []
    for index in range(rows):
        lines.append(json.dumps({"text": corpus.pretrain_document(index, split="train")}, ensure_ascii=False))
        if index % 40 == 7:
            lines.append('{"text": 1}')
        if index % 50 == 9:
            lines.append("")
    path.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["pretrain", "sft", "dpo"])
def test_processes_and_parts_change_nothing(kind: DataKind, tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    if kind == "pretrain":
        write_mixed(path, 400)
    else:
        corpus.write_jsonl(kind, path, rows=300)
    results = []
    for number, (processes, chunk_bytes) in enumerate([(1, 1 << 30), (1, 1000), (2, 9999), (3, 5000)]):
        cache = tmp_path / str(number)
        found = prepare(
            [str(path)], tokenizer, kind=kind, cache_directory=cache, processes=processes, chunk_bytes=chunk_bytes
        )
        results.append((contents(cache / found.train.fingerprint), found.notes, found.train.fingerprint))
        left = [child.name for child in cache.iterdir() if not child.name.startswith(".content-")]
        assert left == [found.train.fingerprint]  # besides what was noted of an older file's content
    assert all(result == results[0] for result in results)
    if kind == "pretrain":
        (note,) = results[0][1]
        assert note.en.startswith("data.jsonl: 10 lines skipped. data.jsonl:9: ")


def test_parts_together_are_the_whole(tmp_path: Path) -> None:
    path = write_mixed(tmp_path / "data.jsonl", 60)
    whole_report = Report(path)
    whole = list(read_texts(path, whole_report))
    size = path.stat().st_size
    for step in (1 << 20, 1000, 37):
        report, found = Report(path), []
        for start in range(0, size, step):
            part = Report(path)
            found += list(read_part(path, "pretrain", part, start, min(start + step, size)))
            report.merge(part)
        assert found == whole
        assert report == whole_report


def test_a_hopeless_file_is_refused_before_it_is_read_to_the_end(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"text": 1}\n' * 1000, encoding="utf-8")
    for chunk_bytes in (1 << 20, 500):
        cache = tmp_path / str(chunk_bytes)
        with pytest.raises(UserError, match=r'none of the lines read \(2\d\d\) can be used\. data.jsonl:1: no "text"'):
            prepare([str(path)], tokenizer, kind="pretrain", cache_directory=cache, chunk_bytes=chunk_bytes)
        assert [path for path in cache.iterdir() if "partial" in path.name] == []


def test_several_sources_follow_one_another(tokenizer: Tokenizer, tmp_path: Path) -> None:
    lines, text = write_mixed(tmp_path / "data.jsonl", 30), tmp_path / "data.txt"
    text.write_text("\n\n".join(f"paragraph {index}" for index in range(20)), encoding="utf-8")
    sources = [str(lines), str(text), "embedded"]
    found = prepare(sources, tokenizer, kind="pretrain", cache_directory=tmp_path / "cache", embedded_bytes=20_000)
    held = [tokenizer.decode(found.validation.tokens[start:end].tolist()) for start, end in spans(found.validation)]
    assert held[0] == corpus.pretrain_document(0, split="train")  # the first of each file is held out
    assert "paragraph 0" in held
    assert len(found.train) + len(found.validation) > 50


def spans(dataset: shards.TokenDataset) -> list[tuple[int, int]]:
    ends = dataset.offsets.tolist()
    return list(itertools.pairwise(ends))


CHILD = """
import sys, time
from pathlib import Path
from minimind.data import building, shards
from minimind.data.tokenizer import Tokenizer

building._COMMIT_SECONDS = 0.0

def slowly(done, total):
    print(done, flush=True)
    time.sleep(0.02)

shards.prepare([sys.argv[1]], Tokenizer.load("nano-2048"), kind=sys.argv[2], cache_directory=Path(sys.argv[3]),
               processes=int(sys.argv[4]), chunk_bytes=4000, progress=slowly, embedded_bytes=800_000)
"""


@pytest.mark.parametrize(("source", "processes"), [("lines", 1), ("lines", 2), ("text", 1), ("embedded", 1)])
def test_a_killed_preparation_is_taken_up_where_it_was(
    source: str, processes: int, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    place = source
    if source == "lines":
        place = str(write_mixed(tmp_path / "data.jsonl", 400))
    elif source == "text":
        path = tmp_path / "data.txt"
        path.write_text("\n\n".join(corpus.pretrain_document(i, split="train") for i in range(3000)), encoding="utf-8")
        place = str(path)
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", CHILD, place, "pretrain", str(cache), str(processes)]
    for kill_after in (1, 2):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(kill_after):
            assert child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    (partial,) = (path for path in cache.iterdir() if path.name.endswith(".partial"))
    journal = json.loads((partial / "journal.json").read_text())
    before = journal["progress"]["done"]
    assert before > 0
    with (partial / "train" / "tokens.bin").open("ab") as file:
        file.write(b"torn")  # what a kill between two commits leaves
    seen: list[int] = []
    resumed, whole = (
        prepare(
            [place],
            tokenizer,
            kind="pretrain",
            cache_directory=directory,
            progress=lambda done, total: seen.append(done),
            chunk_bytes=4000,
            processes=1,
            embedded_bytes=800_000,
        )
        for directory in (cache, tmp_path / "whole")
    )
    if source == "lines":
        assert seen[0] == before + 4000
    name = resumed.train.fingerprint
    assert contents(cache / name) == contents(tmp_path / "whole" / name)
    assert resumed.notes == whole.notes
    assert sorted(path.name for path in (cache / name).iterdir()) == ["about.json", "train", "validation"]
    assert not any(path.name.endswith(".partial") for path in cache.iterdir())


def test_an_interruption_keeps_what_was_done(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minimind.data.building._COMMIT_SECONDS", 0.0)
    path = write_mixed(tmp_path / "data.jsonl", 200)

    def interrupt(done: int, total: int | None) -> None:
        if done >= 12_000:
            raise KeyboardInterrupt

    cache = tmp_path / "cache"
    with pytest.raises(KeyboardInterrupt):
        prepare([str(path)], tokenizer, kind="pretrain", cache_directory=cache, progress=interrupt, chunk_bytes=4000)
    seen: list[int] = []
    prepare(
        [str(path)],
        tokenizer,
        kind="pretrain",
        cache_directory=cache,
        progress=lambda done, total: seen.append(done),
        chunk_bytes=4000,
    )
    assert seen[0] == 16_000


def test_a_worker_that_dies_is_one_line_and_what_was_done_is_kept(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_mixed(tmp_path / "data.jsonl", 100)
    monkeypatch.setattr("minimind.data.workers.sys.executable", "false")
    with pytest.raises(UserError, match="a process that tokenised ended with status 1"):
        prepare([str(path)], tokenizer, kind="pretrain", cache_directory=tmp_path, processes=2, chunk_bytes=2000)


def test_two_at_once_build_one_data_set(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = write_mixed(tmp_path / "data.jsonl", 200)
    command = [sys.executable, "-c", CHILD, str(path), "pretrain", str(tmp_path / "cache"), "1"]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [child.communicate(timeout=60)[0].count("\n") for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert min(lines) == 0 or min(lines) < max(lines)  # the second found the first one's work
    assert len(list((tmp_path / "cache").iterdir())) <= 2  # the data set, and a note of the file's hash


def test_the_name_follows_the_content_and_is_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = tmp_path / "data.jsonl", tmp_path / "cache"
    path.write_bytes(b"one")
    first = content_hash(path, cache)
    assert not cache.exists()  # too fresh a file to be sure of its time of change
    old = time.time() - 60
    os.utime(path, (old, old))
    assert content_hash(path, cache) == first
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", lambda *_: pytest.fail("read again"))
        assert content_hash(path, cache) == first
    path.write_bytes(b"two")
    assert content_hash(path, cache) != first
    path.write_bytes(b"one")
    os.utime(path, (old + 1, old + 1))
    assert content_hash(path, cache) == first  # the same content at another time is the same data


MEASURED = """
import sys
from pathlib import Path
from minimind.benchmarks.reference_driver import peak_memory
from minimind.data.shards import prepare
from minimind.data.tokenizer import Tokenizer

prepare([sys.argv[1]], Tokenizer.load("nano-2048"), kind="pretrain", cache_directory=Path(sys.argv[2]), processes=1,
        chunk_bytes=1 << 20)
print(peak_memory())
"""


def test_a_file_four_times_as_large_takes_no_more_memory(tmp_path: Path) -> None:
    peaks = []
    documents = [corpus.pretrain_document(index, split="train") for index in range(1000)]
    lines = "".join(json.dumps({"text": " ".join(documents[i : i + 5])}) + "\n" for i in range(0, 1000, 5))
    for size in (5, 20):
        path = tmp_path / f"{size}.jsonl"
        path.write_text(lines * (size * 1_000_000 // len(lines)), encoding="utf-8")
        command = [sys.executable, "-c", MEASURED, str(path), str(tmp_path / "cache")]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True, text=True).stdout))
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 300 << 20


def test_what_is_mapped_is_what_was_written(tokenizer: Tokenizer, tmp_path: Path) -> None:
    texts = [f"document number {index}" for index in range(300)]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    found = prepare([str(path)], tokenizer, kind="pretrain", cache_directory=tmp_path / "cache")
    decoded = {
        tokenizer.decode(part.tokens[start:end].tolist())
        for part in (found.train, found.validation)
        for start, end in spans(part)
    }
    assert decoded == set(texts)
    assert found.train.tokens.dtype == np.uint16
    first = found.train.tokens[: found.train.offsets[1]]
    assert (first[0], first[-1]) == (tokenizer.bos_id, tokenizer.eos_id)
