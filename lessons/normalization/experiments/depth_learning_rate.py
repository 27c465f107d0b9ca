"""Which learning rates does a Transformer survive at which depth, without a norm, with post-norm, with pre-norm?

The model's own modules, with norms taken out or moved by `minimind.model.variants`, read bytes of the embedded corpus.
Every arm has the same initial matrices, batches, learning rate and number of steps; no warm-up, no clipping.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from minimind.config import ModelConfig
from minimind.data.corpus import pretrain_documents
from minimind.events import Claim, Event, Heatmap, Note, Progress, Scalars, Table, Text
from minimind.experiment import Parameter, experiment
from minimind.model.transformer import MiniMind
from minimind.model.variants.arrangement import NormPlace
from minimind.model.variants.blocks import set_norm_place
from minimind.model.variants.norms import NormKind, replace_norms

ARMS: dict[str, tuple[NormKind, NormPlace]] = {"none": ("none", "pre"), "post": ("rms", "post"), "pre": ("rms", "pre")}
DEPTHS = (2, 4, 8, 16, 24)
RATES = (0.001, 0.003, 0.01, 0.03, 0.1)
VOCABULARY, WIDTH, TIME, BATCH = 256, 32, 32, 8
CHANCE = math.log(VOCABULARY)
CUT = 2 * CHANCE
"""The loss chart ends here, so that an explosion does not flatten everything else."""
SAID_STEPS = 40
"""With fewer steps the arms have hardly learnt: comparisons of their losses stay undecided."""
NOISE = 0.2
"""Nats; losses closer than this are not called different (seeds differ by about half of it)."""


@dataclass
class Grid:
    """What is trained and what came out: the final loss of each depth, rate and arm, infinite where it diverged."""

    text: Tensor
    depths: list[int]
    steps: int
    seeds: int
    watch: float
    results: dict[tuple[int, float, str], float] = field(default_factory=dict)
    done: int = 0

    @property
    def total(self) -> int:
        return len(self.depths) * len(RATES) * len(ARMS) * self.seeds * self.steps

    @property
    def floor(self) -> float:
        """The loss, in nats a byte, of a model that knows how often each byte occurs and nothing else."""
        counts = Counter(self.text.tolist())
        return -sum(n / len(self.text) * math.log(n / len(self.text)) for n in counts.values())

    def learned(self, depth: int, rate: float, arm: str) -> bool:
        """Whether that cell got clearly below the byte frequencies."""
        return self.results[depth, rate, arm] < self.floor - NOISE


@experiment(
    title=Text("Depth × learning rate", "深度 × 学习率"),
    question=Text(
        "How large a learning rate does the model survive at each depth, and what does a norm change?",
        "每个深度下，模型承受得住多大的学习率？归一化改变了什么？",
    ),
    parameters={
        "deepest": Parameter(Text("deepest model (layers)", "最深的模型（层）"), choices=(4, 8, 16, 24)),
        "steps": Parameter(Text("training steps a cell", "每格训练步数"), low=10, high=400),
        "watch": Parameter(Text("learning rate whose curves are drawn", "画出哪个学习率的曲线"), choices=RATES),
        "seeds": Parameter(Text("seeds", "随机种子数"), low=1, high=5),
    },
    quick={"deepest": 4, "steps": 42},
    deep={"seeds": 3},
    smoke={"deepest": 4, "steps": 10},
    predict=Text(
        "16 layers, learning rate 0.01, no warm-up, no clipping. Which variant still learns more than byte frequencies?",
        "16 层，学习率 0.01，无预热、无裁剪。哪种结构还能学到字节频率之外的东西？",
    ),
    choices=(
        Text("all three", "三种都能"),
        Text("post-norm and pre-norm", "post-norm 和 pre-norm"),
        Text("only pre-norm", "只有 pre-norm"),
        Text("none of them", "都不能"),
    ),
    names={f"loss_{depth}": Text(f"Loss, {depth} layers", f"损失，{depth} 层") for depth in DEPTHS}
    | {"step": Text("step", "步"), "byte frequencies": Text("floor", "下限")},
)
def depth_learning_rate(deepest: int = 16, steps: int = 60, watch: float = 0.01, seeds: int = 1) -> Iterator[Event]:
    """Train every arm at every depth and rate; a row of the heatmap appears when its rates are done."""
    text = torch.tensor(list("\n".join(islice(pretrain_documents(), 400)).encode()))  # [length], about 150 KB
    depths = [depth for depth in DEPTHS if depth <= deepest][-4:]
    grid = Grid(text, depths, steps, seeds, watch)
    floor = grid.floor
    yield Note(
        Text(
            f"Guessing all bytes alike costs {CHANCE:.2f} nats a byte; knowing only how often each occurs, {floor:.2f}: the line called floor.",
            f"把所有字节当作同样可能，损失是 {CHANCE:.2f} nats/字节；只知道各字节出现的频率，是 {floor:.2f}，即图中的“下限”。",
        )
    )
    for depth in depths:
        for arm in ARMS:
            for rate in RATES:
                finals = []
                for seed in range(seeds):
                    finals.append((yield from _train(grid, depth, rate, arm, seed, floor)))
                grid.results[depth, rate, arm] = statistics.median(finals)
            yield _heatmap(grid)
    yield Progress(1, 1)
    yield _table(grid)
    yield from _claims(grid)


def _model(depth: int, arm: str, seed: int) -> MiniMind:
    torch.manual_seed(seed)
    model = MiniMind(
        ModelConfig(
            hidden_size=WIDTH,
            num_hidden_layers=depth,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=2 * WIDTH,
            vocab_size=VOCABULARY,
            max_position_embeddings=TIME,
            qk_norm=False,
        )
    )
    kind, place = ARMS[arm]
    replace_norms(model, kind)
    set_norm_place(model, place)
    return model


def _train(grid: Grid, depth: int, rate: float, arm: str, seed: int, floor: float) -> Generator[Event, None, float]:
    """Train one cell; returns the mean loss of its last tenth, infinite where it ever stopped being a number."""
    generator = torch.Generator().manual_seed(seed)
    model = _model(depth, arm, seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.0)
    losses: list[float] = []
    for step in range(1, grid.steps + 1):
        starts = torch.randint(0, len(grid.text) - TIME - 1, (BATCH,), generator=generator)  # [batch]
        windows = torch.stack([grid.text[start : start + TIME + 1] for start in starts])  # [batch, time + 1]
        logits = model(windows[:, :-1])  # [batch, time, vocabulary]
        loss = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
        grid.done += 1
        yield Progress(grid.done, grid.total, Text(f"{arm}, {depth} layers, {rate:g}", f"{arm}，{depth} 层，{rate:g}"))
        if rate == grid.watch and seed == 0:
            values = {arm: min(losses[-1], CUT)} | ({"byte frequencies": floor} if arm == "none" else {})
            yield Scalars(step, values, axis="step", chart=f"loss_{depth}")
    last = losses[-max(1, grid.steps // 10) :]
    return sum(last) / len(last) if all(map(math.isfinite, losses)) else math.inf


def _heatmap(grid: Grid) -> Event:
    """A row for each depth and arm that is done; a cell that ended worse than guessing has no value."""
    labels, rows = [], []
    for depth in grid.depths:
        for arm in ARMS:
            values = [grid.results.get((depth, rate, arm), None) for rate in RATES]
            if None not in values:
                labels.append(f"{depth} {arm}")
                rows.append(tuple(v if v is not None and v <= CHANCE else math.nan for v in values))
    return Heatmap(
        "final_loss",
        tuple(rows),
        tuple(labels),
        tuple(f"{rate:g}" for rate in RATES),
        low=3.0,
        high=CHANCE,
        title=Text(
            "Final loss (no value: it diverged)",
            "最终损失（无值：发散）",
        ),
    )


def _table(grid: Grid) -> Event:
    columns = (Text("layers", "层数"), Text("norm", "归一化"), *(Text(f"{rate:g}", f"{rate:g}") for rate in RATES))
    rows: tuple[tuple[str | float, ...], ...] = tuple(
        (depth, arm, *(_cell(grid.results[depth, rate, arm]) for rate in RATES))
        for depth in grid.depths
        for arm in ARMS
    )
    return Table("final_losses", columns, rows, Text("Final loss (nats a byte)", "最终损失（nats/字节）"))


def _cell(loss: float) -> str:
    return f"{loss:.2f}" if loss <= CHANCE else "✗" if math.isinf(loss) else f"✗ {loss:.0e}"


def _claims(grid: Grid) -> Iterator[Event]:
    """What the grid says. Losses are compared only after enough steps, and only when they differ by more than noise."""
    said = grid.steps >= SAID_STEPS
    shallow, deep, highest = grid.depths[0], grid.depths[-1], RATES[-1]
    learned = {arm: grid.learned(deep, 0.01, arm) for arm in ARMS}
    choice = {(True, True, True): 0, (False, True, True): 1, (False, False, True): 2, (False, False, False): 3}
    found = choice.get((learned["none"], learned["post"], learned["pre"]))
    if found is not None:
        names = ", ".join(arm for arm, good in learned.items() if good) or "—"
        yield Claim("prediction", Text(f"these learn: {names}", f"学得到的：{names}"), {"choice": found}, True)
    without = grid.results[deep, highest, "none"]
    yield Claim(
        "none_diverges",
        Text(
            "Without a norm the deepest model diverges at the highest learning rate",
            "不加归一化时，最深的模型在最高学习率下发散",
        ),
        {"loss": without, "layers": deep, "rate": highest},
        not without <= CHANCE,
    )
    yield from _claims_on_regions(grid, said)
    post, pre = grid.results[deep, highest, "post"], grid.results[deep, highest, "pre"]
    yield Claim(
        "pre_norm_survives_where_post_norm_stalls",
        Text(
            "There, post-norm learns byte frequencies at best, pre-norm more than that",
            "在那里，post-norm 最多学到字节频率，pre-norm 学到得更多",
        ),
        {"post": post, "pre": pre, "floor": grid.floor},
        _larger(post, pre, said),
    )
    calm = {arm: min(grid.results[shallow, rate, arm] for rate in RATES) for arm in ARMS}
    yield Claim(
        "post_norm_is_best_where_it_trains",
        Text(
            "In the shallowest model, each at its best learning rate, post-norm beats pre-norm",
            "最浅的模型里，各取最合适的学习率，post-norm 胜过 pre-norm",
        ),
        calm,
        _larger(calm["pre"], calm["post"], said),
    )


def _claims_on_regions(grid: Grid, said: bool) -> Iterator[Event]:
    cells = [(depth, rate) for depth in grid.depths for rate in RATES]
    alive = {arm: sum(grid.results[depth, rate, arm] <= CHANCE for depth, rate in cells) for arm in ARMS}
    good = {arm: sum(grid.learned(depth, rate, arm) for depth, rate in cells) for arm in ARMS}
    yield Claim(
        "norm_widens_the_region",
        Text(
            "Pre-norm trains at more depths and rates than no norm", "pre-norm 能训练的深度与学习率组合多于不加归一化"
        ),
        {**alive, "cells": len(cells)},
        alive["pre"] > alive["none"],
    )
    yield Claim(
        "pre_norm_learns_in_most_cells",
        Text(
            "Pre-norm gets clearly below the byte frequencies in more cells than post-norm",
            "明显低于字节频率的格子，pre-norm 比 post-norm 多",
        ),
        {**good, "cells": len(cells)},
        good["pre"] > good["post"] if said else None,
    )
    shallow = grid.depths[0]
    learns = [grid.results[shallow, rate, "none"] for rate in RATES if rate <= 0.01]
    yield Claim(
        "shallow_trains_without_norm",
        Text(
            "Up to a rate of 0.01 the shallowest model trains without any norm",
            "学习率不超过 0.01 时，最浅的模型不加归一化也能训练",
        ),
        {"best": min(learns), "worst": max(learns)},
        max(learns) < CHANCE - NOISE if said else None,
    )


def _larger(first: float, second: float, said: bool) -> bool | None:
    """Whether `first` is larger by more than noise; None where that cannot be said."""
    if not said or abs(first - second) < NOISE:
        return None
    return first > second
