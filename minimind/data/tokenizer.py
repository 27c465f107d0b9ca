"""Byte-level BPE with MiniMind's special tokens: any text in, token ids out, and back without loss.

The scheme is that of the released minimind-3 tokenizer: GPT-2's pre-tokeniser, no normaliser, no post-processor, ids
0–35 for special tokens (Sennrich et al. 2016, section 3.2; Radford et al. 2019, section 2.2).
"""

from __future__ import annotations

import codecs
import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

from minimind import paths
from minimind.data.chat_template import JINJA_TEMPLATE
from minimind.data.fast_bpe import FastBPE, is_ready
from minimind.errors import UserError
from minimind.native import NativeUnavailable
from minimind.safe_text import clean_line

DEFAULT_TOKENIZER = "minimind-6400"
PAD, BOS, EOS = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (
    PAD,
    BOS,
    EOS,
    *(f"<|{name}_{side}|>" for name in ("object_ref", "box", "quad", "vision") for side in ("start", "end")),
    *(f"<|{name}_pad|>" for name in ("vision", "image", "video")),
    "<|audio_start|>",
    "<|audio_end|>",
    "<|audio_pad|>",
    "<tts_pad>",
    "<tts_text_bos>",
    "<tts_text_eod>",
    "<tts_text_bos_single>",
)
"""Ids 0–20: control tokens, left out of decoded text."""
MARKUP_TOKENS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>")
"""Ids 21–26: single tokens that stay visible in decoded text, because parsers of answers look for them."""
RESERVED_TOKENS = tuple(f"<|buffer{number}|>" for number in range(1, 10))
"""Ids 27–35: free for later use."""
SMALLEST_VOCABULARY = len(SPECIAL_TOKENS) + len(MARKUP_TOKENS) + len(RESERVED_TOKENS) + 256
CONTEXT_LENGTH = 131_072
_SLICE = 256
_SMALL_BATCH = 64
"""Texts below which nothing is gained."""
_WORTH_LOADING, _WORTH_COMPILING = 200_000, 4_000_000
"""Characters that the tokenizers library encodes in about the time it takes to load the compiled code, to compile it."""
_IDEOGRAPHS = "\u3400-\u9fff"
_PARTICLES = "的了在和把给从就也说"  # one-character words: a token that glued one to its neighbour would hide the word


def _byte_values() -> dict[str, int]:
    """GPT-2's alphabet: the printable character that stands for each byte, and which byte it is."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTE_VALUES = _byte_values()


class StreamDecoder:
    """Turns ids into text one at a time, holding back bytes until they make a whole character."""

    def __init__(self, tokenizer: Tokenizer, *, skip_special: bool) -> None:
        self._tokenizer = tokenizer
        self._skip_special = skip_special
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that this id completes; empty while a character is unfinished."""
        if self._skip_special and token in self._tokenizer.special_ids:
            return ""
        return self._decoder.decode(self._tokenizer.token_bytes(token))

    def finish(self) -> str:
        """What is left over at the end: U+FFFD for an unfinished character, else nothing."""
        return self._decoder.decode(b"", final=True)


class Tokenizer:
    """A trained tokenizer. `load` reads one, `train_tokenizer` makes one."""

    def __init__(self, definition: str) -> None:
        """`definition` is the text of a tokenizer.json. Raises UserError when it does not describe a usable tokenizer."""
        try:
            data = json.loads(definition)
            self._backend = tokenizers.Tokenizer.from_str(definition)
            added = data["added_tokens"]
            # The same vocabulary without added tokens: a "<|im_end|>" in a person's text is then only characters.
            self._plain = tokenizers.Tokenizer.from_str(json.dumps(data | {"added_tokens": []}))
        except Exception as error:
            raise UserError(
                f"not a usable tokenizer.json: {clean_line(str(error), 120)}",
                f"不是可用的 tokenizer.json：{clean_line(str(error), 120)}",
            ) from None
        self.definition = definition
        """The text of its tokenizer.json."""
        self.added_tokens: dict[str, int] = {token["content"]: token["id"] for token in added}
        self.special_ids = frozenset(token["id"] for token in added if token["special"])
        self.vocab_size: int = max(self._backend.get_vocab().values()) + 1
        missing = [token for token in (PAD, BOS, EOS) if token not in self.added_tokens]
        if missing:
            raise UserError(
                f"this tokenizer has no {', '.join(missing)}: MiniMind needs them for padding, beginning and end of text",
                f"这个分词器没有 {'、'.join(missing)}：MiniMind 需要它们来表示填充、开头和结尾",
            )
        self.pad_id, self.bos_id, self.eos_id = (self.added_tokens[token] for token in (PAD, BOS, EOS))
        canonical = json.dumps(data, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        self.sha256 = hashlib.sha256(canonical.encode()).hexdigest()
        self._bytes: dict[int, bytes] = {}
        self._fast: FastBPE | None = None
        self._can_be_fast = True

    @classmethod
    def load(cls, source: Path | str | None = None) -> Tokenizer:
        """Read a tokenizer: a tokenizer.json, a directory with one, the name of a shipped one, or (None) the default.

        Raises UserError when there is none or it cannot be used.
        """
        if source is None:
            source = DEFAULT_TOKENIZER
        path = Path(source)
        if isinstance(source, str) and not path.exists() and path.name == source:
            path = paths.shipped_tokenizer(source)
        if path.is_dir() or not path.suffix:
            path = path / "tokenizer.json"
        try:
            definition = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise UserError(
                f"{path}: no tokenizer can be read there ({reason}); give a tokenizer.json or a directory with one",
                f"{path}：读不到分词器（{reason}）；请给出 tokenizer.json 或包含它的目录",
            ) from None
        if definition.startswith("version https://git-lfs"):
            raise UserError(
                f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull`",
                f"{path} 是 Git LFS 指针，不是文件本身：请运行 `git lfs pull`",
            )
        try:
            return cls(definition)
        except UserError as error:
            raise UserError(f"{path}: {error.text.en}", f"{path}：{error.text.zh}") from None

    def save(self, directory: Path) -> None:
        """Write tokenizer.json and a tokenizer_config.json that transformers 4 and 5 load, chat template included."""
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "tokenizer.json").write_text(self.definition, encoding="utf-8")
        config = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": BOS,
            "eos_token": EOS,
            "pad_token": PAD,
            "unk_token": PAD,
            "add_bos_token": False,
            "add_eos_token": False,
            "add_prefix_space": False,
            "clean_up_tokenization_spaces": False,
            "spaces_between_special_tokens": False,
            "model_max_length": CONTEXT_LENGTH,
            "extra_special_tokens": {},
            "chat_template": JINJA_TEMPLATE,
        }
        text = json.dumps(config, ensure_ascii=False, indent=2) + "\n"
        (directory / "tokenizer_config.json").write_text(text, encoding="utf-8")

    def encode(self, text: str, *, allow_special: bool = False) -> list[int]:
        """The ids of `text`. Names of special tokens in it stay ordinary characters unless `allow_special`."""
        backend = self._backend if allow_special else self._plain
        return list(backend.encode(text, add_special_tokens=False).ids)

    def encode_batch(self, texts: Sequence[str], *, allow_special: bool = False) -> list[list[int]]:
        """The ids of each text, on several threads or by compiled code."""
        if allow_special:
            return self._backend_batch(self._backend, texts)
        if len(texts) < _SMALL_BATCH:
            return self._backend_batch(self._plain, texts)
        flat, lengths = self.encode_flat(texts)
        ids, ends = flat.tolist(), np.cumsum(lengths).tolist()
        return [ids[end - length : end] for length, end in zip(lengths.tolist(), ends, strict=True)]

    @staticmethod
    def _backend_batch(backend: tokenizers.Tokenizer, texts: Sequence[str]) -> list[list[int]]:
        """In slices: what the library returns takes a hundred times the memory of its ids."""
        return [
            encoding.ids
            for start in range(0, len(texts), _SLICE)
            for encoding in backend.encode_batch_fast(list(texts[start : start + _SLICE]), add_special_tokens=False)
        ]

    def encode_flat(
        self, texts: Sequence[str], *, first: int | None = None, last: int | None = None
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """The ids of many texts, one after another in one array, and how many each has; the way for much text.

        `first` and `last` are ids to stand before and after each. Names of special tokens stay ordinary characters.
        Compiled code does it where there is a compiler; the ids are the same without one.
        """
        fast = self._fast_encoder(sum(map(len, texts)))
        ids, lengths = np.empty(0, dtype=np.uint32), np.full(len(texts), -1, dtype=np.int64)
        if fast is not None:
            ids, lengths = fast.encode(texts, first=-1 if first is None else first, last=-1 if last is None else last)
        left = np.flatnonzero(lengths < 0)
        if len(left):
            before, after = ([] if token is None else [token] for token in (first, last))
            found = self._backend_batch(self._plain, [texts[index] for index in left.tolist()])
            lists = [before + one + after for one in found]
            lengths[left] = 0
            places = np.repeat((np.cumsum(lengths) - lengths)[left], [len(one) for one in lists])
            ids = np.insert(ids, places, np.fromiter(itertools.chain.from_iterable(lists), dtype=np.uint32))
            lengths[left] = [len(one) for one in lists]
        return ids, lengths

    def prepare_fast(self) -> None:
        """Compile, where that can be done, what makes `encode_flat` fast; for who has more text than it is told of."""
        self._fast_encoder(_WORTH_COMPILING)

    def _fast_encoder(self, characters: int) -> FastBPE | None:
        """The compiled encoder, made where so much text is worth it; None where it is not there or cannot be."""
        if self._fast is None and self._can_be_fast and characters >= _WORTH_LOADING:
            if characters < _WORTH_COMPILING and not is_ready():
                return None
            try:
                self._fast = FastBPE(json.loads(self.definition), _BYTE_VALUES)
            except NativeUnavailable:
                self._can_be_fast = False
        return self._fast

    def ids_before(self, text: str, start: int) -> int:
        """How many ids of `encode(text)` begin before character `start`."""
        return sum(1 for first, _ in self._plain.encode(text, add_special_tokens=False).offsets if first < start)

    def decode(self, ids: Sequence[int], *, skip_special: bool = True) -> str:
        """The text of `ids`; bytes that are no UTF-8 become U+FFFD."""
        kept = (token for token in ids if not (skip_special and token in self.special_ids))
        return b"".join(map(self.token_bytes, kept)).decode("utf-8", "replace")

    def stream_decoder(self, *, skip_special: bool = True) -> StreamDecoder:
        """A decoder for ids that arrive one by one."""
        return StreamDecoder(self, skip_special=skip_special)

    def token_bytes(self, token: int) -> bytes:
        """The bytes that one id stands for; none for an id outside the vocabulary."""
        if token not in self._bytes:
            text = self._backend.id_to_token(token) or ""
            if text in self.added_tokens:
                self._bytes[token] = text.encode()
            else:
                self._bytes[token] = bytes(_BYTE_VALUES[character] for character in text if character in _BYTE_VALUES)
        return self._bytes[token]

    def token_label(self, token: int) -> str:
        """One id for display: spaces and line ends made visible, part of a character shown as its bytes in hexadecimal."""
        raw = self.token_bytes(token)
        if not raw:
            return f"⟨{token}?⟩"
        try:
            return clean_line(raw.decode().replace(" ", "␣").replace("\t", "⇥"))
        except UnicodeDecodeError:
            return "⟨" + raw.hex(" ").upper() + "⟩"


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    *,
    longest_token: int = 16,
    longest_ideographs: int = 2,
    single_digits: bool = True,
) -> Tokenizer:
    """Learn merges from `texts` until there are `vocab_size` tokens (or nothing is left to merge).

    No token spans a line end, is longer than `longest_token` bytes, or has more than `longest_ideographs` Chinese
    characters: Chinese has no spaces, and without that bound whole clauses of a regular corpus become tokens, names and
    all. With `single_digits` no merge contains a digit: every number is then spelled digit by digit, within the fixed
    pre-tokeniser, which makes sums learnable (Nogueira et al. 2021, section 3). The same texts in the same order give the same tokenizer, byte for byte.
    Raises UserError for a vocabulary smaller than the special tokens and the 256 bytes.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise UserError(
            f"vocab_size = {vocab_size} is too small: the special tokens and 256 bytes alone need {SMALLEST_VOCABULARY}",
            f"vocab_size = {vocab_size} 太小：仅特殊词元和 256 个字节就要 {SMALLEST_VOCABULARY} 个",
        )
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    backend.decoder = decoders.ByteLevel()
    names = (*SPECIAL_TOKENS, *MARKUP_TOKENS, *RESERVED_TOKENS)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[AddedToken(name, special=True, normalized=False) for name in names],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        max_token_length=longest_token,
        show_progress=False,
    )
    digits = str.maketrans("", "", "0123456789") if single_digits else {}
    lines = (line for text in texts for line in _training_lines(text.translate(digits), longest_ideographs))
    backend.train_from_iterator(lines, trainer=trainer)
    data = json.loads(backend.to_str())
    for token in data["added_tokens"]:
        token["special"] = token["content"] in SPECIAL_TOKENS
    return Tokenizer(json.dumps(data, ensure_ascii=False, indent=2) + "\n")


def _training_lines(text: str, longest_ideographs: int) -> Iterator[str]:
    """What the trainer counts: the lines, Chinese cut into stretches, and once more each Chinese character alone.

    The extra count lets the bytes of a character join before they join the bytes of a neighbour, so that nearly all
    tokens are whole characters.
    """
    word = f"(?>[{_PARTICLES}]|(?:(?![{_PARTICLES}])[{_IDEOGRAPHS}]){{1,{longest_ideographs}}})"
    yield from re.sub(f"{word}(?=[{_IDEOGRAPHS}])", r"\g<0>\n", text).split("\n")
    yield from re.findall(f"[{_IDEOGRAPHS}]", text)
