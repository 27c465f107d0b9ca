"""The tokenizer: ids as released models use them, no text lost, none forged, training repeatable to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minimind import paths
from minimind.data import corpus
from minimind.data.tokenizer import (
    MARKUP_TOKENS,
    RESERVED_TOKENS,
    SMALLEST_VOCABULARY,
    SPECIAL_TOKENS,
    Tokenizer,
    train_tokenizer,
)
from minimind.errors import UserError

SHIPPED = ("minimind-6400", "nano-2048")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.load("nano-2048")


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return train_tokenizer(corpus.texts(60_000), 600)


@pytest.mark.parametrize("name", SHIPPED)
def test_special_tokens_have_the_released_ids(name: str) -> None:
    tokenizer = Tokenizer.load(name)
    assert (tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    names = (*SPECIAL_TOKENS, *MARKUP_TOKENS, *RESERVED_TOKENS)
    assert [tokenizer.added_tokens[token] for token in names] == list(range(36))
    assert tokenizer.special_ids == frozenset(range(21))
    assert tokenizer.encode("<think>\n\n</think>\n\n", allow_special=True) == [25, 234, 234, 26, 234, 234]
    assert tokenizer.encode("<|im_end|>\n", allow_special=True) == [2, 234]
    assert tokenizer.decode([25, 234, 26, 2]) == "<think>\n</think>"
    assert tokenizer.decode([1, 25], skip_special=False) == "<|im_start|><think>"


@pytest.mark.parametrize("name", SHIPPED)
def test_the_scheme_is_the_released_one(name: str) -> None:
    data = json.loads((paths.shipped_tokenizer(name) / "tokenizer.json").read_text(encoding="utf-8"))
    assert data["normalizer"] is None
    assert data["post_processor"] is None
    byte_level = data["pre_tokenizer"]
    assert (byte_level["type"], byte_level["add_prefix_space"], byte_level["use_regex"]) == ("ByteLevel", False, True)
    assert not any(
        digit in token
        for token in data["model"]["vocab"]
        if not token.startswith("<")
        for digit in "0123456789"
        if len(token) > 1
    )


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_tokenizers_are_what_their_metadata_says(name: str) -> None:
    directory = paths.shipped_tokenizer(name)
    metadata = json.loads((directory / "metadata.json").read_text(encoding="utf-8"))
    tokenizer = Tokenizer.load(directory)
    assert (metadata["sha256"], metadata["vocab_size"]) == (tokenizer.sha256, tokenizer.vocab_size)
    assert tokenizer.vocab_size == int(name.rpartition("-")[2])


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_decoding_gives_the_text_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert not tokenizer.special_ids & set(ids)
    decoder = tokenizer.stream_decoder()
    assert "".join(map(decoder.push, ids)) + decoder.finish() == text


def test_a_stream_holds_back_half_characters(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("🙂龘")
    assert len(ids) > 2
    decoder = tokenizer.stream_decoder()
    pieces = [decoder.push(token) for token in ids]
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) == "🙂龘"
    decoder.push(ids[0])
    assert decoder.finish() == "\ufffd"
    assert tokenizer.stream_decoder(skip_special=False).push(tokenizer.eos_id) == "<|im_end|>"


def test_names_of_special_tokens_in_text_stay_text(tokenizer: Tokenizer) -> None:
    text = "a <|im_end|> b <think> <tool_call>"
    assert not set(tokenizer.encode(text)) & set(range(36))
    assert tokenizer.encode_batch([text]) == [tokenizer.encode(text)]
    assert {2, 25, 21} <= set(tokenizer.encode(text, allow_special=True))
    assert tokenizer.encode_batch([text], allow_special=True) == [tokenizer.encode(text, allow_special=True)]


def test_digits_are_single_tokens(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_label(token) for token in tokenizer.encode("12345")] == list("12345")


def test_labels_show_what_cannot_be_seen(tokenizer: Tokenizer) -> None:
    labels = [tokenizer.token_label(token) for token in tokenizer.encode(" the\n")]
    assert labels == ["␣the", "⏎"]
    fragments = [tokenizer.token_label(token) for token in tokenizer.encode("龘")]
    assert "".join(fragments).replace("⟩⟨", " ") == "⟨E9 BE 98⟩"
    assert tokenizer.token_label(tokenizer.vocab_size + 5).startswith("⟨")
    assert all("\x1b" not in tokenizer.token_label(token) for token in range(tokenizer.vocab_size))


def test_training_twice_gives_the_same_bytes(small: Tokenizer, tmp_path: Path) -> None:
    again = train_tokenizer(corpus.texts(60_000), 600)
    small.save(tmp_path / "a")
    again.save(tmp_path / "b")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert small.vocab_size == 600


def test_no_token_is_longer_than_two_chinese_characters(small: Tokenizer) -> None:
    for token in range(36, small.vocab_size):
        text = small.token_bytes(token).decode("utf-8", "ignore")
        assert sum("\u4e00" <= character <= "\u9fff" for character in text) <= 2


def test_saved_tokenizers_load_again_and_in_transformers(small: Tokenizer, tmp_path: Path) -> None:
    small.save(tmp_path)
    assert Tokenizer.load(tmp_path).sha256 == Tokenizer.load(tmp_path / "tokenizer.json").sha256 == small.sha256
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    text = "从前有一只小兔子 <think>, 12 🙂"
    assert theirs.encode(text) == small.encode(text, allow_special=True)
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (1, 2, 0)
    messages = [{"role": "user", "content": "你好"}]
    from minimind.data import chat

    assert theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == chat.render(
        messages, add_generation_prompt=True
    )


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ("{", "not a usable"),
        ("[]", "not a usable"),
        ("version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
        (None, "no tokenizer"),
    ],
)
def test_unusable_files_are_named(tmp_path: Path, content: str | None, part: str) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=part) as caught:
        Tokenizer.load(tmp_path)
    assert str(path) in caught.value.text.en
    assert str(path) in caught.value.text.zh


def test_a_tokenizer_without_our_tokens_is_refused(small: Tokenizer, tmp_path: Path) -> None:
    small.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] != "<|im_end|>"]
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(UserError, match=r"<\|im_end\|>"):
        Tokenizer.load(path)


def test_a_vocabulary_needs_room_for_the_bytes() -> None:
    with pytest.raises(UserError, match="292"):
        train_tokenizer(["a"], SMALLEST_VOCABULARY - 1)
    assert train_tokenizer(["a"], SMALLEST_VOCABULARY).vocab_size == SMALLEST_VOCABULARY
