"""Does a product of query and key know where the two stand, or only how far apart?

One random query and one random key are put at every pair of positions, once turned as the model turns them, once with
a sinusoidal code of the same frequencies added to them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from minimind.events import Band, Claim, Event, Heatmap, Progress, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.verdicts import agree
from minimind.model.transformer import apply_rotary, rotary_frequencies, rotary_table

SHIFTS = (0, 100, 10_000)
EXACT = 1e-4
"""Less than this share of the range of all scores is called no difference."""


@dataclass(frozen=True)
class Pair:
    """A query and a key, both [head], and the frequencies [head/2] that turn them."""

    query: Tensor
    key: Tensor
    frequencies: Tensor

    def turned(self, queries_at: Tensor, keys_at: Tensor) -> Tensor:
        """Scores [positions, positions] of the turned query and key, with the model's own rotation."""
        query, key = (
            apply_rotary(vector.expand(1, 1, len(at), -1), *rotary_table(at[None], self.frequencies))[0, 0]
            for vector, at in ((self.query, queries_at), (self.key, keys_at))
        )  # 2 × [positions, head]
        return query @ key.T  # [positions, positions]

    def added(self, queries_at: Tensor, keys_at: Tensor) -> Tensor:
        """Scores [positions, positions] where a code is added to query and key instead."""
        query, key = (
            vector + torch.cat(rotary_table(at[None], self.frequencies), -1)[0, 0]
            for vector, at in ((self.query, queries_at), (self.key, keys_at))
        )  # 2 × [positions, head]
        return query @ key.T  # [positions, positions]

    def formula(self, distances: Tensor, *, with_start: bool = True) -> Tensor:
        """Σ |q||k| cos(φ + distance · θ) over pairs, for each of `distances`; φ is the angle from query to key."""
        (q1, q2), (k1, k2) = self.query.chunk(2), self.key.chunk(2)  # 4 × [head/2]
        lengths = torch.hypot(q1, q2) * torch.hypot(k1, k2)  # [head/2]
        start = torch.atan2(k2, k1) - torch.atan2(q2, q1)  # [head/2]
        angles = distances[:, None] * self.frequencies + (start if with_start else 0)  # [distances, head/2]
        return (lengths * angles.cos()).sum(-1)  # [distances]


@dataclass(frozen=True)
class Measured:
    """Of one seed: how far scores at the same distance differ, as shares of the range of all turned scores."""

    range: float
    turned: float
    added: float
    moved: float
    formula: float
    formula_without_start: float
    length: float


@experiment(
    title=Text("Only the distance counts", "只与距离有关"),
    question=Text(
        "A query at position m meets a key at position n. What does their product depend on?",
        "位置 m 的查询遇上位置 n 的键，它们的内积取决于什么？",
    ),
    parameters={
        "query_at": Parameter(Text("position m of the query", "查询的位置 m"), low=0, high=1000),
        "key_at": Parameter(Text("position n of the key", "键的位置 n"), low=0, high=1000),
        "size": Parameter(Text("positions in the map", "图中的位置数"), low=4, high=40),
        "head_size": Parameter(Text("components of a head", "每头的分量数"), choices=(2, 8, 16, 64)),
        "base": Parameter(Text("base of the frequencies", "频率的底数"), choices=(10.0, 100.0, 10_000.0, 1_000_000.0)),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=20),
    },
    quick={"seeds": 1},
    deep={"seeds": 20},
    smoke={"seeds": 2, "size": 12},
    predict=Text(
        "Query and key are both moved 100 positions further on. What becomes of their product?",
        "把查询和键一起往后挪 100 个位置，它们的内积会怎样？",
    ),
    choices=(
        Text("it shrinks: both are far from the start", "变小：两者都离开头远了"),
        Text("it stays the same", "不变"),
        Text("it changes in a way that depends on the two vectors", "会变，怎么变要看这两个向量"),
        Text("it changes its sign", "变号"),
    ),
    names={
        "score": Text("Score by distance", "各距离上的分数"),
        "distance": Text("m − n", "m − n"),
        "rotation": Text("turned", "旋转"),
        "addition": Text("added", "相加"),
        "no_start": Text("|q||k| cos(distance · θ)", "|q||k| cos(距离 · θ)"),
    },
)
def relative_distance(
    query_at: int = 12, key_at: int = 5, size: int = 24, head_size: int = 16, base: float = 100.0, seeds: int = 3
) -> Iterator[Event]:
    """Draw both maps of the first seed and its scores by distance; measure every seed."""
    measured = []
    for seed in range(seeds):
        pair = _draw(seed, head_size, base)
        if seed == 0:
            yield from _maps(pair, size)
            yield _places(pair, query_at, key_at)
        measured.append(_measure(pair, size))
        yield Progress(seed + 1, seeds)
    yield from _claims(measured)


def _draw(seed: int, head_size: int, base: float) -> Pair:
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, head_size, generator=generator)  # 2 × [head]
    return Pair(query, key, rotary_frequencies(head_size, base))


def _maps(pair: Pair, size: int) -> Iterator[Event]:
    places = torch.arange(size)  # [positions]
    labels = tuple(str(place) if place % 4 == 0 else "" for place in range(size))
    scores = {"rotation": pair.turned(places, places), "addition": pair.added(places, places)}
    titles = {
        "rotation": Text("Turned: row m, column n", "旋转：行 m，列 n"),
        "addition": Text("Added: row m, column n", "相加：行 m，列 n"),
    }
    for name, matrix in scores.items():
        rows = tuple(tuple(row) for row in matrix.tolist())
        yield Heatmap(name, rows, labels, labels, title=titles[name])
    distances = list(range(1 - size, size))
    without = pair.formula(-torch.tensor(distances).float(), with_start=False).tolist()
    lines = {name: [matrix.diagonal(-distance) for distance in distances] for name, matrix in scores.items()}
    for index, distance in enumerate(distances):
        values = {name: float(line[index].mean()) for name, line in lines.items()}
        yield Scalars(distance, values | {"no_start": without[index]}, axis="distance", chart="score")
    for name, line in lines.items():
        low, high = (tuple(float(end(d)) for d in line) for end in (torch.min, torch.max))
        yield Band("score", name, tuple(map(float, distances)), low, high)


def _places(pair: Pair, query_at: int, key_at: int) -> Event:
    """The product at m and n, and where both are moved on."""
    rows = []
    for shift in SHIFTS:
        m, n = query_at + shift, key_at + shift
        turned, added = (float(of(torch.tensor([m]), torch.tensor([n]))) for of in (pair.turned, pair.added))
        rows.append((float(m), float(n), float(m - n), turned, added))
    columns = (Text("m", "m"), Text("n", "n"), Text("m − n", "m − n"), Text("turned", "旋转"), Text("added", "相加"))
    return Table("places", columns, tuple(rows), Text("The same pair, moved on", "同一对向量，一起挪动"))


def _measure(pair: Pair, size: int) -> Measured:
    places = torch.arange(size)  # [positions]
    turned, added = pair.turned(places, places), pair.added(places, places)  # 2 × [positions, positions]
    span = float(turned.max() - turned.min())
    exact = turned.double()  # [positions, positions]
    distances = (places[None] - places[:, None]).flatten().float()  # [positions²]
    query = apply_rotary(pair.query.expand(1, 1, size, -1), *rotary_table(places[None], pair.frequencies))
    return Measured(
        range=span,
        turned=_spread(turned) / span,
        added=_spread(added) / span,
        moved=float((pair.turned(places + SHIFTS[-1], places + SHIFTS[-1]) - turned).abs().max()) / span,
        formula=float((pair.formula(distances) - exact.flatten()).abs().max()) / span,
        formula_without_start=float((pair.formula(distances, with_start=False) - exact.flatten()).abs().max()) / span,
        length=float((query.norm(dim=-1) / pair.query.norm() - 1).abs().max()),
    )


def _spread(scores: Tensor) -> float:
    """How far two scores at the same distance can be apart."""
    size = len(scores)
    diagonals = [scores.diagonal(distance) for distance in range(1 - size, size)]
    return max(float(line.max() - line.min()) for line in diagonals)


def _claims(measured: list[Measured]) -> Iterator[Event]:
    def worst(name: str) -> float:
        return max(float(getattr(item, name)) for item in measured)

    seeds = len(measured)
    still = [item.turned < EXACT for item in measured]
    yield Claim(
        "prediction",
        Text("it stays the same", "不变") if all(still) else Text("it changes", "会变"),
        {"choice": 1 if all(still) else 2},
        True,
    )
    yield Claim(
        "rotation_knows_only_distance",
        Text(
            "Turned, all scores at one distance are equal up to rounding",
            "旋转之后，同一距离上的分数除舍入外完全相等",
        ),
        {"share": worst("turned"), "range": measured[0].range, "seeds": seeds},
        agree(still),
    )
    yield Claim(
        "addition_knows_places",
        Text(
            "With a code added instead, scores at one distance differ by more than a tenth of the range",
            "换成相加，同一距离上的分数相差超过总范围的十分之一",
        ),
        {"share": min(item.added for item in measured), "seeds": seeds},
        agree([item.added > 0.1 for item in measured]),
    )
    yield Claim(
        "far_away_is_the_same",
        Text(
            f"Moved on by {SHIFTS[-1]:,} positions, the turned scores stay as they were, up to rounding",
            f"一起往后挪 {SHIFTS[-1]:,} 个位置，旋转得到的分数除舍入外不变",
        ),
        {"share": worst("moved"), "shift": SHIFTS[-1], "seeds": seeds},
        agree([item.moved < 100 * EXACT for item in measured]),
    )
    yield Claim(
        "starting_angle_counts",
        Text(
            "The score is Σ|q||k|cos(φ + distance · θ); without the angle φ between the two vectors it comes out wrong",
            "分数等于 Σ|q||k|cos(φ + 距离 · θ)；漏掉两个向量之间原有的夹角 φ，结果就错了",
        ),
        {"error": worst("formula"), "error_without": min(m.formula_without_start for m in measured), "seeds": seeds},
        agree([item.formula < EXACT and item.formula_without_start > 0.1 for item in measured]),
    )
    yield Claim(
        "length_stays",
        Text("Turning changes no vector's length", "旋转不改变向量的长度"),
        {"error": worst("length"), "seeds": seeds},
        agree([item.length < EXACT for item in measured]),
    )
