"""Shards and packing: nothing lost, nothing leaked, the same order again from any position."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from minimind.data import corpus
from minimind.data.packing import IGNORED, NO_DOCUMENT, Batch, Position, batches, fit_batch_size
from minimind.data.shards import Prepared, TokenDataset, prepare, token_dtype
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load("nano-2048")


@pytest.fixture(scope="module")
def pretrain(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(
        ["embedded"],
        tokenizer,
        kind="pretrain",
        cache_directory=tmp_path_factory.mktemp("cache"),
        embedded_bytes=150_000,
    )


@pytest.fixture(scope="module")
def sft(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(
        ["embedded"], tokenizer, kind="sft", cache_directory=tmp_path_factory.mktemp("cache"), embedded_bytes=60_000
    )


def dataset_of(lengths: list[int], mask: list[list[int]] | None = None) -> TokenDataset:
    """Documents with the given lengths; token values tell document and place apart."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    tokens = np.arange(offsets[-1], dtype=np.uint32) + 10
    flat = None if mask is None else np.concatenate([np.array(part, dtype=np.uint8) for part in mask])
    return TokenDataset(tokens, offsets, flat, np.ones(int(offsets[-1]) + 10, dtype=np.int64), "test")


def same(first: Batch, second: Batch) -> bool:
    return (
        torch.equal(first.tokens, second.tokens)
        and torch.equal(first.labels, second.labels)
        and torch.equal(first.documents, second.documents)
        and first.position == second.position
    )


def test_documents_are_framed_and_kept_whole(pretrain: Prepared, tokenizer: Tokenizer) -> None:
    data = pretrain.train
    assert data.tokens.dtype == np.uint16
    for index in range(20):
        ids = data.tokens[data.offsets[index] : data.offsets[index + 1]].tolist()
        assert (ids[0], ids[-1]) == (1, 2)
        assert tokenizer.decode(ids) == corpus.pretrain_document(index)
    first = pretrain.validation.tokens[: pretrain.validation.offsets[1]].tolist()
    assert tokenizer.decode(first) == corpus.pretrain_document(0, split="validation")


def test_every_prediction_of_an_epoch_happens_once(pretrain: Prepared) -> None:
    data = pretrain.train
    wanted: Counter[tuple[int, int]] = Counter()
    for index in range(len(data)):
        ids = data.tokens[data.offsets[index] : data.offsets[index + 1]].tolist()
        wanted.update(itertools.pairwise(ids))
    found: Counter[tuple[int, int]] = Counter()
    slots = useful = trained_bytes = 0
    for batch in batches(data, 8, 64, seed=1, epochs=1):
        counted = batch.labels != IGNORED
        found.update(zip(batch.tokens[counted].tolist(), batch.labels[counted].tolist(), strict=True))
        slots += batch.tokens.numel()
        useful += batch.useful_tokens
        trained_bytes += batch.trained_bytes
        assert batch.useful_tokens == int((batch.documents != NO_DOCUMENT).sum())
    assert found == wanted
    assert useful / slots > 0.97, f"rows are {useful / slots:.1%} full"
    assert trained_bytes == sum(len(corpus.pretrain_document(index).encode()) for index in range(len(data)))


@pytest.mark.parametrize("length", [2, 7, 64])
def test_no_label_crosses_a_document_and_positions_restart(length: int) -> None:
    data = dataset_of([3, 2, 9, 30, 5, 2, 65, 4])
    ends = set((data.offsets[1:] + 10).tolist())
    for batch in batches(data, 3, length, seed=2, epochs=1):
        counted = batch.labels != IGNORED
        assert torch.equal(batch.labels[counted], batch.tokens[counted] + 1)
        assert not set(batch.labels[counted].tolist()) & ends
        for row in range(batch.tokens.shape[0]):
            for column in range(1, length):
                if batch.documents[row, column] == NO_DOCUMENT:
                    assert not counted[row, column]
                elif batch.documents[row, column] == batch.documents[row, column - 1]:
                    assert batch.positions[row, column] == batch.positions[row, column - 1] + 1
                    assert batch.tokens[row, column] == batch.tokens[row, column - 1] + 1
                else:
                    assert batch.positions[row, column] == 0


def test_any_position_resumes_exactly(pretrain: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minimind.data.packing._WINDOW", 64)
    stream = batches(pretrain.train, 4, 64, seed=9)
    whole = [next(stream) for _ in range(700)]
    assert whole[-1].position.epoch >= 2
    for start in (0, 1, 17, 250, 500):
        resumed = batches(pretrain.train, 4, 64, seed=9, position=whole[start].position)
        assert all(same(next(resumed), batch) for batch in whole[start + 1 : start + 60])


def test_epochs_and_seeds_differ_in_order_only(pretrain: Prepared) -> None:
    def epoch(seed: int, number: int) -> tuple[list[int], list[int]]:
        start = Position(epoch=number)
        rows = list(batches(pretrain.train, 8, 64, seed, start, epochs=number + 1))
        flat = [token for batch in rows for token in batch.labels[batch.labels != IGNORED].tolist()]
        return flat, sorted(flat)

    first, second, other = epoch(1, 0), epoch(1, 1), epoch(2, 0)
    assert first[0] != second[0]
    assert first[0] != other[0]
    assert first[1] == second[1] == other[1]


def test_only_answers_are_trained(sft: Prepared, tokenizer: Tokenizer) -> None:
    for batch in batches(sft.train, 4, 256, seed=3, epochs=1):
        for row in range(batch.tokens.shape[0]):
            for document in range(int(batch.documents[row].max()) + 1):
                here = batch.documents[row] == document
                labels = batch.labels[row][here]
                answer = tokenizer.decode(labels[labels != IGNORED].tolist())
                prompt = tokenizer.decode(batch.tokens[row][here].tolist())
                assert answer.strip()
                assert answer.removeprefix("<think>\n\n</think>\n\n").split("\n")[0] in prompt
                assert "user\n" not in answer


def test_long_conversations_are_cut_and_unanswered_ones_left_out() -> None:
    data = dataset_of([10, 10, 4], [[0] * 8 + [1] * 2, [0, 0, 1, 1, 1, 1, 1, 1, 1, 1], [0, 0, 1, 1]])
    found = list(batches(data, 8, 5, seed=0, epochs=1))
    labels = torch.cat([batch.labels[batch.labels != IGNORED] for batch in found]).tolist()
    assert sorted(labels) == [22, 23, 24, 25, 32, 33]
    with pytest.raises(UserError, match="nothing to learn"):
        next(batches(dataset_of([10], [[0] * 8 + [1] * 2]), 1, 4, seed=0))


def test_small_data_reduces_the_batch_and_says_so() -> None:
    data = dataset_of([10] * 6)
    assert fit_batch_size(data, 2, 10) == (2, None)
    size, note = fit_batch_size(data, 32, 10)
    assert size == 6
    assert note is not None
    assert "32" in note.en
    assert "32" in note.zh


def test_a_second_preparation_reads_the_first(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[int, int | None]] = []
    first = prepare(
        ["embedded"],
        tokenizer,
        kind="pretrain",
        cache_directory=tmp_path,
        embedded_bytes=30_000,
        progress=lambda *now: done.append(now),
    )
    assert done[-1][0] == done[-1][1]
    monkeypatch.setattr("minimind.data.shards.Builder", lambda *_: pytest.fail("built again"))
    second = prepare(["embedded"], tokenizer, kind="pretrain", cache_directory=tmp_path, embedded_bytes=30_000)
    assert np.array_equal(first.train.tokens, second.train.tokens)
    assert [path.name for path in tmp_path.iterdir()] == [first.train.fingerprint]


def test_damaged_or_changed_data_is_prepared_again(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    corpus.write_jsonl("pretrain", path, rows=150)
    cache = tmp_path / "cache"
    first = prepare([str(path)], tokenizer, kind="pretrain", cache_directory=cache)
    with (cache / first.train.fingerprint / "train" / "tokens.bin").open("ab") as file:
        file.write(b"x")
    again = prepare([str(path)], tokenizer, kind="pretrain", cache_directory=cache)
    assert np.array_equal(first.train.offsets, again.train.offsets)
    corpus.write_jsonl("pretrain", path, rows=151)
    changed = prepare([str(path)], tokenizer, kind="pretrain", cache_directory=cache)
    assert changed.train.fingerprint != first.train.fingerprint
    assert len(changed.train) + len(changed.validation) == 151


def test_files_of_both_kinds_hold_out_some_documents(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for kind in ("pretrain", "sft"):
        path = tmp_path / f"{kind}.jsonl"
        corpus.write_jsonl(kind, path, rows=500)
        with path.open("a", encoding="utf-8") as file:
            file.write("broken\n")
        data = prepare([str(path)], tokenizer, kind=kind, cache_directory=tmp_path / "cache")
        assert len(data.train) + len(data.validation) == 500
        assert 1 <= len(data.validation) <= 30
        assert (data.train.mask is not None) == (kind == "sft")
        assert "501" in data.notes[0].en


def test_unusable_sources_say_what_to_do(tokenizer: Tokenizer, tmp_path: Path) -> None:
    one = tmp_path / "one.jsonl"
    one.write_text(json.dumps({"text": "alone"}) + "\n", encoding="utf-8")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", encoding="utf-8")
    for source, part in ((one, "two documents"), (empty, "empty"), (tmp_path / "no.jsonl", "no such file")):
        with pytest.raises(UserError, match=part):
            prepare([str(source)], tokenizer, kind="pretrain", cache_directory=tmp_path / "cache")
    with pytest.raises(UserError, match="no data"):
        prepare([], tokenizer, kind="pretrain", cache_directory=tmp_path / "cache")
    assert not list((tmp_path / "cache").glob(".*"))


def test_a_full_disk_is_said_plainly(tokenizer: Tokenizer, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        prepare(["embedded"], tokenizer, kind="pretrain", cache_directory=blocked, embedded_bytes=2_000)


def test_large_vocabularies_take_four_bytes() -> None:
    assert (token_dtype(65_536), token_dtype(65_537)) == (np.uint16, np.uint32)
