"""Nats, bits, perplexity, bits a byte: the same knowledge of the same text, cut into tokens in three ways."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

from minimind.data.corpus import pretrain_documents
from minimind.data.tokenizer import Tokenizer
from minimind.events import Claim, Event, Note, Progress, Table, Text
from minimind.experiment import Parameter, experiment

TRAINING, HELD_OUT = 600, 150


@experiment(
    title=Text("One text, three tokenizers", "一段文本，三种分词"),
    question=Text(
        "Which number can be compared between models that cut text differently?",
        "分词方式不同的模型之间，哪个数字才可以比较？",
    ),
    parameters={
        "documents": Parameter(Text("documents counted", "统计多少篇文档"), low=100, high=5000),
    },
    quick={"documents": 300},
    deep={"documents": 3000},
    smoke={"documents": 100},
    predict=Text(
        "A unigram model only knows how often each token occurs. Cut the text into bytes, or into pieces of words: "
        "where is its perplexity lower?",
        "一元模型只知道每个词元出现的频率。把文本切成字节，或切成词的片段：哪种切法下它的困惑度更低？",
    ),
    choices=(
        Text("with bytes", "切成字节"),
        Text("with pieces of words", "切成词的片段"),
        Text("the same: it is the same text", "一样：文本是同一段"),
    ),
)
def loss_units(documents: int = TRAINING) -> Iterator[Event]:
    """Count tokens in some documents and judge the counts on others, for each way of cutting."""
    train = list(islice(pretrain_documents(), documents))
    held_out = list(islice(pretrain_documents(split="validation"), max(50, documents // 4)))
    size = sum(len(document.encode()) for document in held_out)
    cutters = _cutters()
    measured: dict[str, tuple[float, float]] = {}
    for done, (name, (cut, vocabulary)) in enumerate(cutters.items(), 1):
        measured[name] = _unigram(cut, vocabulary, train, held_out)
        yield Progress(done, len(cutters))
        yield _table(measured, cutters, size)
    yield Note(
        Text(
            "A token of a larger vocabulary covers more text, so each single one is harder to guess. Dividing by bytes "
            "instead of tokens takes that out.",
            "词表越大，一个词元覆盖的文本越多，单个词元也就越难猜。除以字节数而不是词元数，才消除了这一点。",
        )
    )
    yield from _claims(measured, size)


def _cutters() -> dict[str, tuple[Callable[[str], list[int]], int]]:
    """The ways of cutting: a function from text to tokens, and how many kinds of token there are."""
    cutters: dict[str, tuple[Callable[[str], list[int]], int]] = {"bytes": (lambda text: list(text.encode()), 256)}
    for name in ("nano-2048", "minimind-6400"):
        tokenizer = Tokenizer.load(name)
        cutters[name] = (tokenizer.encode, tokenizer.vocab_size)
    return cutters


def _unigram(
    cut: Callable[[str], list[int]], vocabulary: int, train: list[str], held_out: list[str]
) -> tuple[float, float]:
    """Loss of the token frequencies in nats a token, smoothed by adding 1, and how many tokens were judged."""
    counts = Counter(token for document in train for token in cut(document))
    total = sum(counts.values()) + vocabulary
    tokens = [token for document in held_out for token in cut(document)]
    return -sum(math.log((counts[token] + 1) / total) for token in tokens) / len(tokens), len(tokens)


def bits_per_byte(nats_per_token: float, tokens: float, size: int) -> float:
    """Nats a token → bits a byte: times the tokens of the text, over ln 2, over its bytes."""
    return nats_per_token * tokens / math.log(2) / size


def _table(
    measured: dict[str, tuple[float, float]], cutters: dict[str, tuple[Callable[[str], list[int]], int]], size: int
) -> Event:
    columns = (
        Text("cut into", "切成"),
        Text("V", "V"),
        Text("bytes a token", "字节/词元"),
        Text("nats a token", "nats/词元"),
        Text("perplexity", "困惑度"),
        Text("bits a byte", "比特/字节"),
    )
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (
            name,
            float(cutters[name][1]),
            f"{size / tokens:.2f}",
            f"{loss:.2f}",
            f"{math.exp(loss):.0f}",
            f"{bits_per_byte(loss, tokens, size):.2f}",
        )
        for name, (loss, tokens) in measured.items()
    )
    return Table("units", columns, rows, Text("The same unigram knowledge in four units", "同样的一元知识，四种单位"))


def _claims(measured: dict[str, tuple[float, float]], size: int) -> Iterator[Event]:
    perplexity = {name: math.exp(loss) for name, (loss, _) in measured.items()}
    bits = {name: bits_per_byte(loss, tokens, size) for name, (loss, tokens) in measured.items()}
    lower = 0 if perplexity["bytes"] < perplexity["nano-2048"] else 1
    said = Text("lower with bytes", "切成字节时更低") if lower == 0 else Text("lower with pieces", "切成片段时更低")
    yield Claim("prediction", said, {"choice": lower}, True)
    yield Claim(
        "perplexity_misleads",
        Text(
            "The cut with the lowest perplexity knows the text worst: it needs the most bits a byte",
            "困惑度最低的切法，其实最不懂这段文本：每字节花的比特最多",
        ),
        {
            "bytes_perplexity": perplexity["bytes"],
            "pieces_perplexity": perplexity["nano-2048"],
            "bytes_bits": bits["bytes"],
            "pieces_bits": bits["nano-2048"],
        },
        min(perplexity, key=lambda name: perplexity[name]) == max(bits, key=lambda name: bits[name]),
    )
