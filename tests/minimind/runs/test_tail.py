"""However a file grows, a reader takes every whole line once and no half line ever."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from minimind.training.recorder import LINE_LIMIT
from minimind.training.tail import Tail, last_records

PIECES = ["a", "从前有一只小猫", "\u2028", "\u2029", "\x85", "😀", "\\n", '"', "\r", "\x00", "é" * 300]


def lines_of(draw: random.Random, count: int) -> list[dict[str, object]]:
    return [{"n": number, "text": "".join(draw.choices(PIECES, k=draw.randrange(6)))} for number in range(count)]


def grow_and_read(path: Path, draw: random.Random, data: bytes, tail: Tail) -> list[dict[str, object]]:
    """Append `data` in random pieces, reading in random slices in between."""
    seen: list[dict[str, object]] = []
    with path.open("ab", buffering=0) as file:
        while data:
            cut = draw.choice([1, 2, 3, 7, 40, 1000])
            file.write(data[:cut])
            data = data[cut:]
            if draw.random() < 0.6:
                seen += tail.read(draw.choice([1, 5, 64, 1 << 20]))
    more = True
    while more:
        seen += tail.read(draw.choice([3, 100, 1 << 20]))
        more = tail.behind
    return seen


@pytest.mark.parametrize("block", range(8))
def test_any_chunking_gives_the_same_records(tmp_path: Path, block: int) -> None:
    for seed in range(50 * block, 50 * block + 50):
        draw = random.Random(seed)
        records = lines_of(draw, draw.randrange(1, 40))
        junk = {n: draw.choice([b"{", b"[1]", b"\xff\xfe", b"nul", b'{"a":NaN', b"9" * 5000]) for n in (3, 17)}
        data = b""
        for number, record in enumerate(records):
            data += junk[number] + b"\n" if number in junk else b""
            data += json.dumps(record, ensure_ascii=draw.random() < 0.5).encode() + b"\n"
        tail = Tail(tmp_path / f"events-{seed}.jsonl")
        assert grow_and_read(tail.path, draw, data, tail) == records, seed
        tail.close()
        assert tail.bad == sum(number < len(records) for number in junk), seed


def test_a_file_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    tail = Tail(tmp_path / "events.jsonl")
    assert tail.read() == []
    assert not tail.behind
    (tmp_path / "events.jsonl").write_bytes(b'{"n":1}\n')
    assert tail.read() == [{"n": 1}]
    assert tail.read() == []
    tail.close()


def test_the_limit_holds_and_says_that_there_is_more(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(b'{"n":%d}\n' % number for number in range(1000)))
    tail = Tail(path)
    seen = tail.read(100)
    assert 0 < len(seen) < 20
    assert tail.behind
    seen += tail.read(1 << 20)
    assert not tail.behind
    assert [record["n"] for record in seen] == list(range(1000))
    tail.close()


def test_a_cut_or_exchanged_file_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":2}\n{"n"')
    tail = Tail(path)
    assert tail.read() == [{"n": 1}, {"n": 2}]
    path.write_bytes(b'{"n":3}\n')
    assert tail.read() == [{"n": 3}]
    assert tail.replaced == 1
    other = tmp_path / "other"
    other.write_bytes(b'{"n":4}\n{"n":5}\n')
    other.replace(path)
    assert tail.read() == [{"n": 4}, {"n": 5}]
    assert tail.replaced == 2
    path.unlink()
    assert tail.read() == []
    tail.close()


@pytest.mark.parametrize("slice_size", [1 << 20, 3 << 20, 1 << 26])
def test_an_endless_line_is_skipped_and_counted_once(tmp_path: Path, slice_size: int) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"n":1}\n' + b"x" * (2 * LINE_LIMIT + 77) + b'\n{"n":2}\n')
    tail = Tail(path)
    seen = tail.read(slice_size)
    while tail.behind:
        seen += tail.read(slice_size)
    assert seen == [{"n": 1}, {"n": 2}]
    assert tail.bad == 1
    tail.close()


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 100_000, b"\x80", b"null", b"-"])
def test_a_hostile_line_is_counted(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(line + b'\n{"n":1}\n')
    tail = Tail(path)
    assert tail.read() == [{"n": 1}]
    assert tail.bad == 1
    tail.close()


def test_the_last_records_are_found_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert last_records(path, 100) == []
    path.write_bytes(b"".join(b'{"n":%d}\n' % number for number in range(100)) + b'{"n":')
    assert [record["n"] for record in last_records(path, 52)] == [95, 96, 97, 98, 99]
    assert len(last_records(path, 1 << 20)) == 100
