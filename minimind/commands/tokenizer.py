"""``minimind tokenizer train | encode | compare``."""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minimind.commands.output import Output
from minimind.data.catalogue import EMBEDDED
from minimind.errors import UserError

if TYPE_CHECKING:
    from minimind.data.tokenizer import Tokenizer

_SAMPLE_DOCUMENTS = 400


def register(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    parser = subparsers.add_parser("tokenizer", help="train, try and compare tokenizers / 训练、试用、比较分词器")
    actions = parser.add_subparsers(title="actions / 操作", metavar="ACTION", required=True)

    train = actions.add_parser("train", help="learn a byte-level BPE from text / 从文本学习字节级 BPE")
    train.add_argument("--vocab-size", type=int, required=True, metavar="N", help="tokens in all / 词元总数")
    train.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write it / 写到哪里")
    train.add_argument(
        "--data",
        nargs="+",
        default=[EMBEDDED],
        metavar="SOURCE",
        help='"embedded", text or JSONL files, or directories of Markdown / “embedded”、文本或 JSONL 文件，或 Markdown 目录',
    )
    train.add_argument(
        "--megabytes", type=float, default=8.0, metavar="MB", help="how much of the embedded corpus / 用多少内置语料"
    )
    train.set_defaults(run=run_train)

    encode = actions.add_parser("encode", help="show the tokens of a text / 显示一段文本的词元")
    encode.add_argument("text", metavar="TEXT")
    encode.add_argument("--tokenizer", metavar="NAME|PATH", help="which tokenizer / 用哪个分词器")
    encode.set_defaults(run=run_encode)

    compare = actions.add_parser("compare", help="compare two tokenizers / 比较两个分词器")
    compare.add_argument("first", metavar="A")
    compare.add_argument("second", metavar="B")
    compare.add_argument("--text", metavar="TEXT", help="compare on this text / 用这段文本比较")
    compare.set_defaults(run=run_compare)


def run_train(arguments: argparse.Namespace, output: Output) -> int:
    """Train, write, and say what came out."""
    from minimind.data.tokenizer import train_tokenizer

    digest = hashlib.sha256()
    sources: list[str] = list(arguments.data)

    def texts() -> Iterator[str]:
        for text in training_texts(sources, round(arguments.megabytes * 1e6)):
            digest.update(text.encode() + b"\0")
            yield text

    tokenizer = train_tokenizer(texts(), arguments.vocab_size)
    command = ["minimind", "tokenizer", "train", "--vocab-size", str(arguments.vocab_size), "--data", *sources]
    command += ["--megabytes", f"{arguments.megabytes:g}", "--out", arguments.out.name]
    rates = {language: round(value, 3) for language, value in compression(tokenizer).items()}
    data = {
        "command": shlex.join(command),
        "vocab_size": tokenizer.vocab_size,
        "sha256": tokenizer.sha256,
        "text_sha256": digest.hexdigest(),
        "bytes_per_token": rates,
    }
    try:
        tokenizer.save(arguments.out)
        (arguments.out / "metadata.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{arguments.out}: cannot be written: {error.strerror}", f"{arguments.out}：写不进去：{error.strerror}"
        ) from None
    output.emit(
        data | {"directory": str(arguments.out)},
        output.pick(
            f"{arguments.out}: {tokenizer.vocab_size} tokens; bytes per token: English {rates['en']}, Chinese {rates['zh']}",
            f"{arguments.out}：{tokenizer.vocab_size} 个词元；每词元字节数：英文 {rates['en']}，中文 {rates['zh']}",
        ),
    )
    return 0


def training_texts(sources: Sequence[str], embedded_bytes: int) -> Iterator[str]:
    """The texts to learn merges from: the embedded stories and conversations, files, or the Markdown of directories."""
    from minimind.data import corpus
    from minimind.data.formats import Report, read_texts

    for source in sources:
        if source == EMBEDDED:
            yield from corpus.texts(embedded_bytes)
            continue
        path = Path(source)
        for file in sorted(path.rglob("*.md")) if path.is_dir() else [path]:
            yield from read_texts(file, Report(file))


def compression(tokenizer: Tokenizer) -> dict[str, float]:
    """Bytes per token on held-out documents of the embedded corpus, for each language."""
    from minimind.data import corpus

    documents = [corpus.pretrain_document(index, split="validation") for index in range(_SAMPLE_DOCUMENTS)]
    result = {}
    for language in ("en", "zh"):
        chosen = [text for text in documents if corpus.language_of(text) == language]
        tokens = sum(map(len, tokenizer.encode_batch(chosen)))
        result[language] = sum(len(text.encode()) for text in chosen) / tokens
    return result


def run_encode(arguments: argparse.Namespace, output: Output) -> int:
    """Show a text as its tokens."""
    from minimind.data.tokenizer import Tokenizer

    tokenizer = Tokenizer.load(arguments.tokenizer)
    ids = tokenizer.encode(arguments.text)
    labels = [tokenizer.token_label(token) for token in ids]
    counted = output.pick(
        f"{len(ids)} tokens, {len(arguments.text.encode())} bytes",
        f"{len(ids)} 个词元，{len(arguments.text.encode())} 字节",
    )
    lines = [f"{token:>6}  {label}" for token, label in zip(ids, labels, strict=True)]
    output.emit({"ids": ids, "tokens": labels}, "\n".join([*lines, counted]))
    return 0


def run_compare(arguments: argparse.Namespace, output: Output) -> int:
    """Compare two tokenizers: size, common tokens, and how far they compress the same text."""
    from minimind.data.tokenizer import Tokenizer

    rows: list[dict[str, Any]] = []
    vocabularies = []
    for name in (arguments.first, arguments.second):
        tokenizer = Tokenizer.load(name)
        vocabularies.append({tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)})
        row: dict[str, Any] = {"name": name, "vocab_size": tokenizer.vocab_size, "sha256": tokenizer.sha256}
        if arguments.text:
            row["tokens"] = [tokenizer.token_label(token) for token in tokenizer.encode(arguments.text)]
        else:
            row["bytes_per_token"] = {language: round(rate, 3) for language, rate in compression(tokenizer).items()}
        rows.append(row)
    common = len(vocabularies[0] & vocabularies[1])
    lines = [output.pick(f"tokens in common: {common}", f"共有词元：{common}")]
    for row in rows:
        size = output.pick(f"{row['vocab_size']} tokens", f"{row['vocab_size']} 个词元")
        shown = f"[{len(row['tokens'])}] " + "|".join(row["tokens"]) if "tokens" in row else _rates(row, output)
        lines.append(f"{row['name']}: {size}; {shown}")
    output.emit({"common": common, "tokenizers": rows}, "\n".join(lines))
    return 0


def _rates(row: dict[str, Any], output: Output) -> str:
    rates = row["bytes_per_token"]
    return output.pick(
        f"bytes per token: English {rates['en']}, Chinese {rates['zh']}",
        f"每词元字节数：英文 {rates['en']}，中文 {rates['zh']}",
    )
