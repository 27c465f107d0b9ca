"""Preference pairs: read as released, held out as wholes, and packed so that two rows hold the two sides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from minimind.data import chat, corpus
from minimind.data.packing import IGNORED, Batch, batches, fit_batch_size
from minimind.data.shards import Prepared, TokenDataset, prepare
from minimind.data.tokenizer import Tokenizer
from minimind.errors import UserError


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load("nano-2048")


@pytest.fixture(scope="module")
def pairs(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    cache = tmp_path_factory.mktemp("cache")
    return prepare(["embedded"], tokenizer, kind="dpo", cache_directory=cache, embedded_bytes=40_000)


def document(data: TokenDataset, index: int) -> tuple[list[int], list[int]]:
    here = slice(data.offsets[index], data.offsets[index + 1])
    assert data.mask is not None
    return data.tokens[here].tolist(), data.mask[here].tolist()


def test_both_sides_are_dialogues_masked_as_in_fine_tuning(pairs: Prepared, tokenizer: Tokenizer) -> None:
    kept = 0
    for index in range(40):
        record = corpus.preference(index)
        sides = []
        for number, name in enumerate(("chosen", "rejected")):
            ids, mask = document(pairs.train, 2 * index + number)
            with_thought, without = (
                chat.encode_dialogue(tokenizer, record[name], empty_thought=kept) for kept in (True, False)
            )
            assert (ids, [bool(counts) for counts in mask]) in (with_thought, without)
            sides.append(ids == with_thought[0])
        assert sides[0] == sides[1]  # else the empty thought itself would be what is preferred
        kept += sides[0]
    assert 0 < kept < 25


def sides(batch: Batch, values: Tensor) -> list[tuple[list[int], list[int]]]:
    """The values of each pair's two documents."""
    found = []
    for row in range(0, len(values), 2):
        for number in range(int(batch.documents[row].max()) + 1):
            chosen, rejected = (values[row + side][batch.documents[row + side] == number].tolist() for side in (0, 1))
            found.append((chosen, rejected))
    return found


def test_an_epoch_holds_every_pair_once_side_by_side(pairs: Prepared) -> None:
    data, found = pairs.train, []
    for batch in batches(data, 4, 160, 7, epochs=1):
        assert len(batch.tokens) % 2 == 0
        assert torch.equal(batch.documents[0::2].amax(1), batch.documents[1::2].amax(1))
        found += sides(batch, batch.tokens)
    wanted = []
    for index in range(len(data) // 2):
        ids = [document(data, 2 * index + side) for side in (0, 1)]
        if all(any(mask[1:161]) for _, mask in ids):
            wanted.append(tuple(tokens[:-1][:160] for tokens, _ in ids))
    assert sorted(found) == sorted((list(a), list(b)) for a, b in wanted)
    assert len(found) > 20


def test_any_position_of_pairs_resumes_exactly(pairs: Prepared) -> None:
    stream = batches(pairs.train, 2, 160, 3)
    seen = [next(stream) for _ in range(12)]
    for index in (0, 5):
        again = next(batches(pairs.train, 2, 160, 3, seen[index].position))
        assert torch.equal(again.tokens, seen[index + 1].tokens)
        assert torch.equal(again.labels, seen[index + 1].labels)


def test_pairs_without_both_answers_in_the_row_are_left_out() -> None:
    tokens = np.arange(40, dtype=np.uint32)
    mask = np.ones(40, dtype=np.uint8)
    mask[10:18] = 0  # the answer of pair 0's rejected side begins after eight tokens
    data = TokenDataset(tokens, np.array([0, 10, 20, 30, 40]), mask, np.ones(50, dtype=np.int64), "test", paired=True)
    assert fit_batch_size(data, 1, 7) == (1, None)
    (batch,) = batches(data, 8, 7, 0, epochs=1)
    assert sides(batch, batch.tokens) == [(list(range(20, 27)), list(range(30, 37)))]
    (batch,) = batches(data, 8, 20, 0, epochs=1)
    assert len(sides(batch, batch.tokens)) == 2
    assert int((batch.labels != IGNORED).sum()) == 9 + 2 + 9 + 9


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def test_a_released_file_is_read_and_its_bad_lines_are_named(tokenizer: Tokenizer, tmp_path: Path) -> None:
    good = [dict(corpus.preference(index)) for index in range(60)]
    prompt = good[0]["chosen"][:1]
    bad: list[Any] = [
        {"chosen": good[0]["chosen"], "rejected": good[0]["chosen"]},
        {"chosen": prompt, "rejected": prompt},
    ]
    path = write(tmp_path / "dpo.jsonl", [*good, *bad])
    prepared = prepare([str(path)], tokenizer, kind="dpo", cache_directory=tmp_path / "cache")
    (note,) = prepared.notes
    assert "dpo.jsonl:61：“chosen” 与 “rejected” 相同" in note.zh
    assert 'dpo.jsonl:62: "chosen" does not end with an assistant answer' in note.en
    train, validation = (len(part) for part in (prepared.train, prepared.validation))
    assert train + validation == 120
    assert train % 2 == validation % 2 == 0
    assert validation >= 2
    with pytest.raises(UserError, match='no "chosen" list'):
        prepare(
            [str(write(tmp_path / "sft.jsonl", [dict(corpus.dialogue(0))]))],
            tokenizer,
            kind="dpo",
            cache_directory=tmp_path / "cache",
        )
