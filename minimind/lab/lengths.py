"""How well a model predicts at each place of a long text, inside and beyond the length it was trained on."""

from __future__ import annotations

import statistics
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from minimind.events import Band, Event, Heatmap, Progress, Scalars, Table, Text
from minimind.lab.arms import Plan, on_text
from minimind.lab.text import ByteText

READ_AT_ONCE = 4


def plan_of_seed(text: ByteText, steps: int, seed: int, *, batch: int, time: int) -> Plan:
    """The usual plan for one seed alone, with that seed's batches: where the networks of every seed are looked at."""
    generator = torch.Generator().manual_seed(seed)
    plan = on_text(text, steps, batch=batch, time=time)
    return replace(plan, draw=lambda _: text.batch(generator, batch, time))


def long_windows(data: Tensor, length: int, count: int = 24) -> tuple[Tensor, Tensor]:
    """Tokens and labels, both [count, length], spread evenly over `data` [bytes], which must be longer than `length`."""
    starts = torch.linspace(0, len(data) - length - 1, count).long()  # [count]
    windows = data[starts[:, None] + torch.arange(length + 1)]  # [count, length + 1]
    return windows[:, :-1], windows[:, 1:]  # 2 × [count, length]


@dataclass(frozen=True)
class PlaceLosses:
    """The loss between each two neighbours of `edges`, for several networks or ways to read, and several seeds.

    What is read are `tokens`, and `labels` are what follows each, both [count, length].
    """

    edges: tuple[int, ...]
    tokens: Tensor
    labels: Tensor
    losses: dict[str, list[list[float]]] = field(default_factory=dict)

    def read(self, name: str, model: nn.Module) -> Generator[Event, None, None]:
        """Add what `model` reaches, in nats a token, as one more seed of `name`. Yields progress.

        Every sequence is read whole, so that a prediction at position p has p tokens before it.
        """
        model.eval()
        length = self.tokens.shape[1]
        total = torch.zeros(length)  # [length]
        for first in range(0, len(self.tokens), READ_AT_ONCE):
            tokens, labels = (part[first : first + READ_AT_ONCE] for part in (self.tokens, self.labels))
            with torch.no_grad():
                logits = model(tokens)  # [batch, length, vocabulary]
                losses = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
            total += losses.view(-1, length).sum(0)
            yield Progress(first + len(tokens), len(self.tokens))
        mean = total / len(self.tokens)  # [length]
        self.losses.setdefault(name, []).append([float(mean[low:high].mean()) for low, high in pairwise(self.edges)])

    def at(self, name: str, place: int) -> list[float]:
        """The loss in bin number `place`, one for each seed; -1 is the last bin."""
        return [bins[place] for bins in self.losses[name]]

    def mean(self, name: str, place: int) -> float:
        """The mean of `at` over seeds."""
        return statistics.fmean(self.at(name, place))

    def names_of_bins(self) -> tuple[str, ...]:
        """The bins in words: ``0–32``, ``32–64`` …"""
        return tuple(f"{low}–{high}" for low, high in pairwise(self.edges))

    def curves(self, chart: str) -> Iterator[Event]:
        """A point for each bin at its middle (axis ``position``), the mean over seeds, and their spread."""
        middles = tuple((low + high) / 2 for low, high in pairwise(self.edges))
        for place, middle in enumerate(middles):
            values = {name: self.mean(name, place) for name in self.losses}
            yield Scalars(middle, values, axis="position", chart=chart)
        for name in self.losses:
            bins = [self.at(name, place) for place in range(len(middles))]
            yield Band(chart, name, middles, tuple(map(min, bins)), tuple(map(max, bins)))

    def table(self) -> Table:
        """The mean over seeds of each name in each bin."""
        columns = (Text("what", "对象"), *(Text(label, label) for label in self.names_of_bins()))
        title = Text("Nats a byte, by position", "各位置的损失（nats/字节）")
        return Table("losses", columns, self._rows(), title)

    def heatmap(self) -> Heatmap:
        """The same as colours."""
        rows = tuple(tuple(float(value) for value in row[1:]) for row in self._rows())
        title = Text("Loss; a column begins at the position above it", "损失；每列上方是起始位置")
        return Heatmap("losses", rows, tuple(self.losses), tuple(map(str, self.edges[:-1])), title=title)

    def _rows(self) -> tuple[tuple[str | float, ...], ...]:
        places = range(len(self.edges) - 1)
        return tuple((name, *(self.mean(name, place) for place in places)) for name in self.losses)
