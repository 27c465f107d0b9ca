"""The compiled encoder gives the ids of the tokenizers library, whatever the text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind.data import corpus
from minimind.data.fast_bpe import FastBPE
from minimind.data.tokenizer import _BYTE_VALUES, Tokenizer, train_tokenizer
from minimind.events import Text
from minimind.native import NativeLibrary, NativeUnavailable

LONGEST_PIECE = 4096


@pytest.fixture(scope="module", params=["minimind-6400", "nano-2048"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return Tokenizer.load(request.param)


@pytest.fixture(scope="module")
def encoder(tokenizer: Tokenizer) -> FastBPE:
    try:
        return FastBPE(json.loads(tokenizer.definition), _BYTE_VALUES)
    except NativeUnavailable as error:
        pytest.skip(str(error))


def expected(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer._plain.encode(text, add_special_tokens=False).ids)


def test_the_corpus(tokenizer: Tokenizer, encoder: FastBPE) -> None:
    texts = [corpus.pretrain_document(index, split="train") for index in range(300)]
    ids, lengths = encoder.encode(texts)
    assert ids.tolist() == [token for text in texts for token in expected(tokenizer, text)]
    assert lengths.tolist() == [len(expected(tokenizer, text)) for text in texts]


EDGES = [
    "",
    " ",
    "  ",
    "\n",
    " \n ",
    "a",
    "a ",
    " a",
    "  a",
    "a  b",
    "a \t\nb",
    "\u3000你好\u3000\u3000世界",
    "I'll don't we've 'sure' 'S 'lly ''s ' s '",
    "it's",
    "x'",
    "'re'ree'v",
    "1a2 3b4",
    " 12 345,67",
    "² ½ Ⅷ ٣",
    "e\u0301 \u0301a",
    "🙂🙂 👩\u200d👩\u200d👧 \ufe0f",
    "<|im_start|>user\n<think>",
    "白日依山尽，黄河入海流。The sun sets in the west.",
    "\x00\x01\x7f\x85\xa0\ufeff",
    "\U0001f1e8\U0001f1f3\U00020000\U0010ffff",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\u2028\u2029 \u200b\u180e\u1680x",
]


def test_the_edges_of_the_pattern(tokenizer: Tokenizer, encoder: FastBPE) -> None:
    ids, lengths = encoder.encode(EDGES)
    parts = np.split(ids, np.cumsum(lengths)[:-1])
    assert [part.tolist() for part in parts] == [expected(tokenizer, text) for text in EDGES]


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    tokenizer = Tokenizer.load("nano-2048")
    tokenizer.prepare_fast()
    return tokenizer


@given(texts=st.lists(st.one_of(st.text(), st.text("aab' \n'tslrevmd1。，的 了"), st.text(min_size=60)), max_size=5))
@settings(max_examples=200, deadline=None)
def test_any_text(small: Tokenizer, texts: list[str]) -> None:
    ids, _ = small.encode_flat(texts)
    assert ids.tolist() == [token for text in texts for token in expected(small, text)]


def test_every_character_is_of_the_kind_the_pre_tokeniser_says(encoder: FastBPE) -> None:
    cut = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str
    unassigned = "".join(map(chr, (*range(0x40000, 0xE0000), *range(0xE1000, 0x110000))))
    assert len(cut("." + unassigned)) == 1  # other, to the last
    kinds = {"a": 1, "1": 2, ".": 0}
    for point in (*range(0x3000), *range(0x4E00, 0x4F00), *range(0xFF00, 0xFFFF), *range(0x1F000, 0x1F200)):
        known = [kind for neighbour, kind in kinds.items() if len(cut(neighbour + chr(point))) == 1]
        if point not in (*b"stmd", *b"'"):
            assert encoder._classes[point] == (known[0] if known else 3), hex(point)


def test_ids_around_each_text_and_their_number(tokenizer: Tokenizer, encoder: FastBPE) -> None:
    ids, lengths = encoder.encode(["ab", "", "c"], first=1, last=2)
    ab, c = expected(tokenizer, "ab"), expected(tokenizer, "c")
    assert ids.tolist() == [1, *ab, 2, 1, 2, 1, *c, 2]
    assert lengths.tolist() == [len(ab) + 2, 2, len(c) + 2]


def test_a_piece_too_long_for_it_goes_to_the_library_among_others(tokenizer: Tokenizer, encoder: FastBPE) -> None:
    texts = ["before", "龘" * LONGEST_PIECE, "between", "x" * LONGEST_PIECE, "y" * (LONGEST_PIECE + 1), "after"]
    _, lengths = encoder.encode(texts)
    assert (lengths < 0).tolist() == [False, True, False, False, True, False]
    tokenizer._fast = encoder
    ids, lengths = tokenizer.encode_flat(texts, first=1, last=2)
    wanted = [[1, *expected(tokenizer, text), 2] for text in texts]
    assert ids.tolist() == [token for one in wanted for token in one]
    assert lengths.tolist() == [len(one) for one in wanted]


def test_a_batch_is_the_same_with_and_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [corpus.pretrain_document(index, split="test") for index in range(100)]
    one, other = Tokenizer.load("nano-2048"), Tokenizer.load("nano-2048")
    one.prepare_fast()
    monkeypatch.setattr(other, "_can_be_fast", False)
    assert one.encode_batch(texts) == other.encode_batch(texts) == [expected(one, text) for text in texts]
    (ids, lengths), (other_ids, other_lengths) = one.encode_flat(texts), other.encode_flat(texts)
    assert np.array_equal(ids, other_ids)
    assert np.array_equal(lengths, other_lengths)


def test_a_newly_trained_tokenizer(tmp_path: Path) -> None:
    texts = [corpus.pretrain_document(index, split="train") for index in range(200)]
    tokenizer = train_tokenizer(texts, 700, single_digits=False)
    tokenizer.prepare_fast()
    flat, _ = tokenizer.encode_flat(texts)
    assert flat.tolist() == [token for text in texts for token in expected(tokenizer, text)]


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True, "trim_offsets": True}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": None},
    ],
)
def test_another_scheme_is_left_to_the_library(change: dict[str, object]) -> None:
    definition = json.loads(Tokenizer.load("nano-2048").definition) | change
    with pytest.raises(NativeUnavailable, match="another scheme"):
        FastBPE(definition, _BYTE_VALUES)
    tokenizer = Tokenizer(json.dumps(definition))
    tokenizer.prepare_fast()
    texts = ["one  two"] * 100
    assert tokenizer.encode_batch(texts) == [expected(tokenizer, text) for text in texts]


def test_without_a_compiler_the_library_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise NativeUnavailable(Text("no compiler", "没有编译器"))

    monkeypatch.setattr(NativeLibrary, "load", fail)
    tokenizer = Tokenizer.load("nano-2048")
    tokenizer.prepare_fast()
    ids, lengths = tokenizer.encode_flat(["ab"] * 3, last=2)
    assert ids.tolist() == [*expected(tokenizer, "ab"), 2] * 3
    assert len(lengths) == 3
