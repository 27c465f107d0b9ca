"""Where do the norms of a block belong? Before each part, after each addition, or on both sides: depth × learning rate.

Every cell is a network of the same first weights, batches and steps; no warm-up and no clipping, so that what a place
stands by itself shows. Beside the map: how large the residual stream has become at the top of the deepest network.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import get_args

import torch

from minimind.events import Claim, Event, Heatmap, Level, Progress, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.lab.arms import Arm, Results, on_text, train_arms
from minimind.lab.floors import ngram_loss, uniform_loss
from minimind.lab.races import NAMES, variant
from minimind.lab.text import byte_text
from minimind.lab.tiny import BATCH_SIZES, SIZES
from minimind.lab.verdicts import agree, is_lower, means
from minimind.model.probe import residual_stream
from minimind.model.variants.arrangement import NormPlace
from minimind.model.variants.blocks import set_norm_place

PLACES: tuple[NormPlace, ...] = get_args(NormPlace)
DEPTHS = (2, 8, 24)
RATES = (0.001, 0.003, 0.01)
SAID_STEPS = 150
"""With fewer steps the networks have hardly learnt: comparisons stay undecided."""
CLEAR = 0.1
"""Nats; a network has learnt what this much below the byte frequencies says, and is better by this much or more."""


@dataclass
class Map:
    """Held-out losses, one a seed, and the size of the stream at the top, of each depth, place and rate."""

    depths: list[int]
    rates: tuple[float, ...]
    floor: float
    losses: dict[tuple[int, NormPlace, float], list[float]] = field(default_factory=dict)
    tops: dict[NormPlace, list[float]] = field(default_factory=dict)

    def learned(self, place: NormPlace) -> int:
        """In how many cells every seed got clearly below the byte frequencies."""
        cells = [losses for (_, where, _), losses in self.losses.items() if where == place]
        return sum(max(losses) < self.floor - CLEAR for losses in cells)

    def best(self, depth: int, place: NormPlace, seed: int) -> float:
        """The loss of one seed at the best rate."""
        return min(self.losses[depth, place, rate][seed] for rate in self.rates)


@experiment(
    title=Text("Where the norm belongs", "归一化该放在哪里"),
    question=Text(
        "Before each part, after each addition, or on both sides: which place trains at every depth and rate?",
        "各部件之前、相加之后，还是两边都放：哪种位置在各个深度和学习率下都练得起来？",
    ),
    parameters={
        "deepest": Parameter(Text("deepest model (layers)", "最深的模型（层）"), choices=DEPTHS),
        "steps": Parameter(Text("training steps a cell", "每格训练步数"), low=5, high=600),
        "watch": Parameter(Text("learning rate whose curves are drawn", "画出哪个学习率的曲线"), choices=RATES),
        "sweep": Parameter(Text("all learning rates, not only that one", "所有学习率，而不只这一个")),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"steps": 155, "sweep": False},
    deep={"deepest": 24, "steps": 300, "seeds": 3},
    smoke={"deepest": 2, "steps": 5, "sweep": False},
    predict=Text(
        "Eight layers, learning rate 0.01, no warm-up, no clipping. Which place gets clearly below the byte frequencies?",
        "8 层，学习率 0.01，无预热、无裁剪。放在哪里能明显低于字节频率的损失？",
    ),
    choices=(
        Text("only before each part", "只有放在各部件之前"),
        Text("only after each addition", "只有放在相加之后"),
        Text("before, and on both sides", "放在之前，以及两边都放"),
        Text("all three", "三种都能"),
        Text("none, or some other pair", "都不能，或别的组合"),
    ),
    names={
        **NAMES,
        **{f"loss_{depth}": Text(f"Loss, {depth} layers", f"损失，{depth} 层") for depth in DEPTHS},
        "pre": Text("before", "之前"),
        "post": Text("after adding", "相加之后"),
        "sandwich": Text("both sides", "两边"),
        "stream": Text("RMS of the stream", "残差流的 RMS"),
        "layer": Text("layer", "层"),
    },
)
def norm_place_map(
    deepest: int = 8, steps: int = 260, watch: float = 0.01, sweep: bool = True, seeds: int = 1
) -> Iterator[Event]:
    """Train every place at every depth and rate; rows of the map appear when a depth is done."""
    text = byte_text()
    rates = RATES if sweep else (watch,)
    found = Map([depth for depth in DEPTHS if depth <= deepest], rates, ngram_loss(text.train, text.held_out, 1))
    plan = on_text(text, steps, seeds=seeds, batch=BATCH_SIZES["T0"], time=SIZES["T0"]["max_position_embeddings"])
    total, done = sum(found.depths), 0
    for depth in found.depths:
        chart = f"loss_{depth}"
        yield Level(chart, "frequencies", found.floor)
        arms = [
            Arm(f"{place} {rate:g}", variant("T0", partial(set_norm_place, place=place), depth), learning_rate=rate)
            for place in PLACES
            for rate in rates
        ]
        run = train_arms(arms, replace(plan, clip=None, chart=chart))
        results = yield from _watched(run, watch, done / total, depth / total)
        done += depth
        for place in PLACES:
            for rate in rates:
                found.losses[depth, place, rate] = results.of(f"{place} {rate:g}")
        yield _heatmap(found)
        if depth == found.depths[-1]:
            yield from _streams(results, found, text.held_out[: 8 * 32].view(8, 32))
    yield Progress(1, 1)
    yield _table(found)
    yield from _claims(found, steps >= SAID_STEPS)


def _watched(
    run: Generator[Event, None, Results], rate: float, begin: float, share: float
) -> Generator[Event, None, Results]:
    """The run's events with only the curves of one rate, cut where they leave the chart, and progress of the whole."""
    while True:
        try:
            event = next(run)
        except StopIteration as end:
            results: Results = end.value
            return results
        if isinstance(event, Progress) and event.total:
            yield Progress(begin + share * event.done / event.total, 1)
        elif isinstance(event, Scalars):
            curves = {place: event.values[f"{place} {rate:g}"] for place in PLACES}
            yield replace(event, values={name: min(value, 2 * uniform_loss()) for name, value in curves.items()})


def _streams(results: Results, found: Map, tokens: torch.Tensor) -> Iterator[Event]:
    """The size of the residual stream after each layer, in the first seed's networks trained at the smallest rate."""
    for place in PLACES:
        stream = residual_stream(
            results.models[f"{place} {found.rates[0]:g}"], tokens
        )  # [layers + 1, batch, time, hidden]
        found.tops[place] = stream.pow(2).mean((1, 2, 3)).sqrt().tolist()
    for layer in range(len(found.tops["pre"])):
        yield Scalars(layer, {place: found.tops[place][layer] for place in PLACES}, axis="layer", chart="stream")


def _rows(found: Map) -> list[tuple[int, NormPlace]]:
    return [
        (depth, place) for depth in found.depths for place in PLACES if (depth, place, found.rates[0]) in found.losses
    ]


def _heatmap(found: Map) -> Event:
    """A row for each depth and place that is done; a cell worse than guessing has no value."""
    rows = [
        [max(found.losses[depth, place, rate]) for rate in found.rates] for depth, place in _rows(found)
    ]  # [rows][rates]
    return Heatmap(
        "final_loss",
        tuple(tuple(value if value <= uniform_loss() else math.nan for value in row) for row in rows),
        tuple(f"{depth} {place}" for depth, place in _rows(found)),
        tuple(f"{rate:g}" for rate in found.rates),
        low=2.0,
        high=found.floor,
        title=Text("Held-out loss (no value: it diverged)", "留出集损失（无值：发散）"),
    )


def _table(found: Map) -> Event:
    columns = (
        Text("layers", "层数"),
        Text("norm", "归一化"),
        *(Text(f"{rate:g}", f"{rate:g}") for rate in found.rates),
    )
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (depth, place, *(max(found.losses[depth, place, rate]) for rate in found.rates))
        for depth, place in _rows(found)
    )
    return Table("losses", columns, rows, Text("Held-out loss, the worst seed", "留出集损失，取最差的种子"))


def _claims(found: Map, said: bool) -> Iterator[Event]:
    deep, watched = found.depths[-1], found.rates[-1]
    at: dict[str, float] = {place: max(found.losses[deep, place, watched]) for place in PLACES}
    learns = tuple(at[place] < found.floor - CLEAR for place in ("pre", "post", "sandwich"))
    answers: dict[tuple[bool, ...], int] = {
        (True, False, False): 0,
        (False, True, False): 1,
        (True, False, True): 2,
        (True, True, True): 3,
    }
    named = ", ".join(f"{place} {loss:.2f}" for place, loss in at.items())
    choice = answers.get(learns, 4)
    yield Claim("prediction", Text(named, named), {"choice": choice, "layers": deep, **at}, True)
    counts: dict[str, float] = {place: found.learned(place) for place in PLACES}
    cells = {"cells": len(found.depths) * len(found.rates), "floor": found.floor}
    yield Claim(
        "before_trains_in_more_cells",
        Text(
            "Norms before each part learn at more depths and rates than norms after each addition",
            "放在各部件之前，能学会的深度与学习率组合，多于放在相加之后",
        ),
        {**counts, **cells},
        counts["pre"] > counts["post"] if said else None,
    )
    seeds = range(len(found.losses[deep, "pre", watched]))
    best = {place: [found.best(deep, place, seed) for seed in seeds] for place in PLACES}
    yield Claim(
        "after_stalls_when_deep",
        Text(
            "In the deepest network norms after the addition get stuck at the byte frequencies at every rate",
            "最深的网络里，放在相加之后的，在每个学习率下都卡在字节频率上",
        ),
        {**means(**best), "layers": deep, "floor": found.floor},
        agree([loss > found.floor - CLEAR for loss in best["post"]]) if said else None,
    )
    shallow = {place: [found.best(found.depths[0], place, seed) for seed in seeds] for place in PLACES}
    yield Claim(
        "after_is_behind_when_shallow_too",
        Text(
            "In the shallowest one it learns, but is behind, each at its best rate",
            "最浅的网络里它学得到，但各取最合适的学习率时仍然落后",
        ),
        means(**shallow),
        is_lower(shallow["pre"], shallow["post"]) if said else None,
    )
    pre, post = found.tops["pre"], found.tops["post"]
    yield Claim(
        "the_stream_grows_before_and_not_after",
        Text(
            "With norms before each part the stream grows on its way up; after each addition it is brought back to its size",
            "放在之前时，残差流一路变大；放在相加之后时，每层都被拉回原来的大小",
        ),
        {"pre_first": pre[0], "pre_last": pre[-1], "post_first": post[1], "post_last": post[-1]},
        pre[-1] > 2 * pre[0] and post[-1] < 1.5 * post[1] if said else None,
    )
