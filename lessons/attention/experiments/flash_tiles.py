"""Attention tile by tile with a running maximum and a running sum: the same result, and never a matrix of all scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from minimind.events import Claim, Event, Heatmap, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.model.transformer import AttentionCore, causal_mask

HEAD = 64
BYTES = 4
TILES = (1, 8, 16, 64)
LENGTHS = (256, 1024, 4096, 16384, 65536)


@dataclass
class Running:
    """What is kept for each query while tiles go by: largest score so far, sum of exponentials, and weighted values."""

    largest: Tensor
    total: Tensor
    mixed: Tensor

    @classmethod
    def start(cls, queries: int, head: int) -> Running:
        return cls(torch.full((queries, 1), -math.inf), torch.zeros(queries, 1), torch.zeros(queries, head))

    def take(self, scores: Tensor, values: Tensor) -> None:
        """Add a tile: `scores` [queries, tile] and `values` [tile, head]. What was kept is rescaled to the new maximum."""
        largest = torch.maximum(self.largest, scores.amax(-1, keepdim=True))  # [queries, 1]
        anchor = largest.where(largest > -math.inf, 0.0)  # [queries, 1]
        shrink = (self.largest - anchor).exp()  # [queries, 1]
        weights = (scores - anchor).exp()  # [queries, tile]
        self.total = self.total * shrink + weights.sum(-1, keepdim=True)  # [queries, 1]
        self.mixed = self.mixed * shrink + weights @ values  # [queries, head]
        self.largest = largest

    def result(self) -> Tensor:
        """The attention over every tile so far [queries, head]."""
        return self.mixed / self.total  # [queries, head]


@experiment(
    title=Text("Attention in tiles", "分块算注意力"),
    question=Text(
        "Softmax needs the sum over all keys. Can attention be computed without holding all scores at once?",
        "softmax 要对所有键求和。能不能不同时存下所有分数，就把注意力算出来？",
    ),
    parameters={
        "time": Parameter(Text("positions", "位置数"), low=16, high=512),
        "tile": Parameter(Text("tile drawn step by step", "逐步画出的块宽"), choices=TILES),
        "strength": Parameter(Text("size of the scores", "分数的大小"), low=1.0, high=100.0),
    },
    quick={},
    predict=Text(
        "Attention over 256 positions, 16 keys at a time. How far is the result from the ordinary one?",
        "256 个位置，每次只看 16 个键。结果与普通算法差多少？",
    ),
    choices=(
        Text("a few percent: it is an approximation", "百分之几：它是近似"),
        Text("about one in a thousand", "大约千分之一"),
        Text("less than one in 100,000: rounding", "不到十万分之一：只有舍入误差"),
        Text("exactly nothing, to the last bit", "分毫不差，每一位都相同"),
    ),
    names={
        "one query": Text("What one query keeps", "一个查询留下的量"),
        "largest": Text("largest score so far", "目前最大的分数"),
        "total": Text("log of the sum so far", "目前总和的对数"),
        "error": Text("log10 of the distance to the result", "与最终结果之差的 log10"),
        "keys": Text("keys seen", "看过的键"),
        "memory": Text("Memory for one head (log10 bytes)", "一个头占的内存（log10 字节）"),
        "all scores": Text("all scores", "全部分数"),
        "tiles": Text("tiles", "分块"),
        "log2 T": Text("log2 of the positions", "位置数的 log2"),
    },
)
def flash_tiles(time: int = 256, tile: int = 16, strength: float = 1.0) -> Iterator[Event]:
    """Draw one query's running numbers tile by tile, then compare every tile size with the model's own attention."""
    generator = torch.Generator().manual_seed(0)
    queries, keys, values = (torch.randn(time, HEAD, generator=generator) for _ in range(3))  # 3 × [time, head]
    queries = queries * strength  # [time, head]
    wanted = AttentionCore()(queries[None, None], keys[None, None], values[None, None])[0, 0]  # [time, head]
    scores = queries @ keys.T / math.sqrt(HEAD)  # [time, time]
    scores = scores.masked_fill(~causal_mask(time, time), -math.inf)  # [time, time]
    yield from _last_query(scores[-1:], values, wanted[-1:], tile)
    errors = {width: float((tiled(queries, keys, values, width) - wanted).abs().max()) for width in TILES}
    naive = _not_rescaled(scores, values, tile)
    yield _grid(time, tile)
    columns = (Text("keys a tile", "块宽"), Text("largest difference", "最大差"), Text("scores held", "同时存的分数"))
    rows = tuple((float(width), f"{error:.1e}", float(time * width)) for width, error in errors.items())
    yield Table("tiles", columns, rows, Text("Against the model's own attention", "与模型自己的注意力相比"))
    yield from _memory(tile)
    yield from _claims(errors, float((naive - wanted).abs().max()), time, tile, 1e-5 * strength)


def tiled(queries: Tensor, keys: Tensor, values: Tensor, tile: int) -> Tensor:
    """Causal attention of `queries`, `keys` and `values` [time, head], `tile` keys at a time: [time, head].

    Milakov and Gimelshein 2018, "Online normalizer calculation for softmax"; Dao et al. 2022, "FlashAttention",
    algorithm 1, without its tiles of queries.
    """
    time, head = queries.shape
    kept = Running.start(time, head)
    for first in range(0, time, tile):
        piece = keys[first : first + tile]  # [tile, head]
        scores = queries @ piece.T / math.sqrt(head)  # [time, tile]
        later = torch.arange(first, first + len(piece)) > torch.arange(time)[:, None]  # [time, tile]
        kept.take(scores.masked_fill(later, -math.inf), values[first : first + tile])
    return kept.result()  # [time, head]


def _not_rescaled(scores: Tensor, values: Tensor, tile: int) -> Tensor:
    """The mistake: each tile uses its own maximum, and nothing that was kept is rescaled."""
    total, mixed = torch.zeros(len(scores), 1), torch.zeros(len(scores), values.shape[1])  # [time, 1], [time, head]
    for first in range(0, len(values), tile):
        piece = scores[:, first : first + tile]  # [time, tile]
        largest = piece.amax(-1, keepdim=True)  # [time, 1]
        weights = (piece - largest.where(largest > -math.inf, 0.0)).exp()  # [time, tile]
        total, mixed = total + weights.sum(-1, keepdim=True), mixed + weights @ values[first : first + tile]
    return mixed / total  # [time, head]


def _last_query(scores: Tensor, values: Tensor, wanted: Tensor, tile: int) -> Iterator[Event]:
    """The running numbers of the last query: `scores` [1, time]."""
    kept = Running.start(1, values.shape[1])
    for first in range(0, scores.shape[1], tile):
        kept.take(scores[:, first : first + tile], values[first : first + tile])
        error = float((kept.result() - wanted).abs().max())
        seen = {"largest": float(kept.largest), "total": float(kept.total.log() + kept.largest)}
        yield Scalars(first + tile, seen, axis="keys", chart="one query")
        yield Scalars(first + tile, {"error": math.log10(max(error, 1e-9))}, axis="keys", chart="error")


def _grid(time: int, tile: int) -> Event:
    """Which tiles of the score matrix are computed (1), cut by the mask (0.5), or skipped; at most 16 × 16 of them."""
    width = max(tile, math.ceil(time / 16))
    count = math.ceil(time / width)
    rows = tuple(
        tuple(1.0 if column < row else 0.5 if column == row else math.nan for column in range(count))
        for row in range(count)
    )
    title = Text(
        f"Tiles of {width} × {width}: those above the diagonal are never needed",
        f"{width} × {width} 的块：对角线以上的根本不用算",
    )
    return Heatmap("tiles", rows, low=0.0, high=1.0, title=title)


def _memory(tile: int) -> Iterator[Event]:
    for time in LENGTHS:
        values = {"all scores": math.log10(_score_bytes(time)), "tiles": math.log10(_tile_bytes(time, tile))}
        yield Scalars(math.log2(time), values, axis="log2 T", chart="memory")
    rows = tuple((float(t), _score_bytes(t) / 2**20, _tile_bytes(t, tile) / 2**20) for t in LENGTHS)
    columns = (Text("positions", "位置数"), Text("all scores, MiB", "全部分数，MiB"), Text("tiles, MiB", "分块，MiB"))
    yield Table("memory", columns, rows, Text("One head, float32, beside Q, K, V", "一个头，float32，Q、K、V 之外"))


def _score_bytes(time: int) -> int:
    return BYTES * time * time


def _tile_bytes(time: int, tile: int) -> int:
    """Scores of one tile, the running maximum and sum, and the result."""
    return BYTES * time * (tile + 2 + HEAD)


def _claims(errors: dict[int, float], naive: float, time: int, tile: int, rounding: float) -> Iterator[Event]:
    error = errors[tile]
    choice = 3 if error == 0 else 2 if error < rounding else 1 if error < 1e-2 else 0
    yield Claim("prediction", Text(f"the difference is {error:.0e}", f"相差 {error:.0e}"), {"choice": choice}, True)
    yield Claim(
        "tiles_are_exact",
        Text("Every tile size gives the same result up to rounding", "不管块多宽，结果都相同，只差舍入"),
        {"error": max(errors.values()), "one_at_a_time": errors[1]},
        max(errors.values()) < rounding,
    )
    yield Claim(
        "rescaling_is_what_does_it",
        Text(
            "Without rescaling what was kept, the result is wrong by more than a thousand times as much",
            "不给留下的量重新缩放，误差大一千倍以上",
        ),
        {"error": naive},
        naive > 1000 * max(errors.values()) if tile < time else None,
    )
    long = LENGTHS[2]
    yield Claim(
        "memory_grows_with_the_length",
        Text(
            "Twice the positions: four times the memory for all scores, twice for tiles",
            "位置数翻倍：存全部分数要四倍内存，分块只要两倍",
        ),
        {
            "all": _score_bytes(2 * long) / _score_bytes(long),
            "tiles": _tile_bytes(2 * long, tile) / _tile_bytes(long, tile),
            "all_mib": _score_bytes(long) / 2**20,
            "tiles_mib": _tile_bytes(long, tile) / 2**20,
        },
        _score_bytes(2 * long) == 4 * _score_bytes(long) and _tile_bytes(2 * long, tile) == 2 * _tile_bytes(long, tile),
    )
    products = time * time * HEAD
    yield Claim(
        "it_saves_memory_not_sums",
        Text("Of all multiplications only those above the diagonal are saved", "省下的乘法只有对角线以上的那些"),
        {"products": products, "needed": (time + 1) / (2 * time)},
        0.5 < (time + 1) / (2 * time) < 0.54,
    )
