"""Documents to batches: rows filled with whole documents, so that hardly a position is padding and no document sees
another.

The order of an epoch is a pure function of (seed, epoch): a `Position` of three numbers is all a resumed run needs.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from minimind.data.shards import TokenDataset
from minimind.errors import UserError
from minimind.events import Text

IGNORED = -100
"""The label of a position without a prediction (PyTorch's `ignore_index`)."""
NO_DOCUMENT = -1
_WINDOW = 4096
"""Documents packed together: large enough to fill rows well, small enough to resume at once."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where to go on: the epoch, the window of documents in its order, the row in that window."""

    epoch: int = 0
    window: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-step. All tensors are [batch, time], int64.

    `labels[b, t]` is the token that follows `tokens[b, t]` in the same document, or -100. `positions` restart at 0 with
    each document; `documents` numbers the documents of a row (-1: padding). `position` is where to go on after it.
    """

    tokens: Tensor
    labels: Tensor
    positions: Tensor
    documents: Tensor
    position: Position
    useful_tokens: int
    trained_bytes: int

    def to(self, device: torch.device) -> Self:
        """The same batch with its tensors on `device`."""
        if device.type == self.tokens.device.type:
            return self
        moved: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        for name, value in moved.items():
            moved[name] = value.to(device) if isinstance(value, Tensor) else value
        return type(self)(**moved)

    def share(self, index: int, count: int, together: int = 1) -> Self:
        """Part `index` of `count` parts of its rows, as equal as can be; it may be empty.

        Rows that belong `together` (a preference pair's two) are not parted. The counts of tokens and bytes are parted
        in proportion to the rows, so that those of all the parts add up.
        """
        if count == 1:
            return self
        rows = len(self.tokens)
        units = rows // together
        start, stop = (units * edge // count * together for edge in (index, index + 1))
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        for name, value in values.items():
            if isinstance(value, Tensor) and value.dim() and len(value) == rows:
                values[name] = value[start:stop]
        for name in ("useful_tokens", "trained_bytes"):
            values[name] = values[name] * stop // rows - values[name] * start // rows
        return type(self)(**values)


class Part(NamedTuple):
    """`length` predictions of a document, beginning with its id number `start` in the token file.

    Of a preference pair these are the chosen side's; `rejected` are those of the other, and `room` fits both.
    """

    start: int
    length: int
    rejected: tuple[int, int] | None = None

    @property
    def room(self) -> int:
        """Positions it takes up in a row, or in each of a pair's two rows."""
        return self.length if self.rejected is None else max(self.length, self.rejected[1])


Row = list[Part]


def batches(
    dataset: TokenDataset,
    batch_size: int,
    sequence_length: int,
    seed: int,
    position: Position | None = None,
    *,
    epochs: int | None = None,
) -> Iterator[Batch]:
    """Batches from `position` on, without end or for `epochs` passes (the last batch may then have fewer rows).

    Pretraining documents longer than a row are continued in further rows; conversations are cut on the right.
    Of preference pairs each row becomes two: document d of row 2i is chosen, document d of row 2i+1 is what was rejected.
    Raises UserError when nothing in the data set can be learned from at this sequence length.
    """
    rows: list[Row] = []
    start = after = position or Position()
    for row, after in _rows(dataset, sequence_length, seed, start, epochs):
        rows.append(row)
        if len(rows) == batch_size:
            yield lay_out(dataset, rows, sequence_length, after)
            rows = []
    if rows:
        yield lay_out(dataset, rows, sequence_length, after)


def fit_batch_size(dataset: TokenDataset, batch_size: int, sequence_length: int) -> tuple[int, Text | None]:
    """The batch size to use, and a note when the data set is smaller than a batch and it had to be reduced."""
    rows = 0
    for _ in _rows(dataset, sequence_length, 0, Position(), 1):
        rows += 1
        if rows >= batch_size:
            return batch_size, None
    return rows, Text(
        f"the data fills only {rows} rows of {sequence_length} tokens: batch_size reduced from {batch_size} to {rows}",
        f"数据只够 {rows} 行（每行 {sequence_length} 个词元）：batch_size 从 {batch_size} 减为 {rows}",
    )


def _rows(
    dataset: TokenDataset, sequence_length: int, seed: int, position: Position, epochs: int | None
) -> Iterator[tuple[Row, Position]]:
    """Each row with the position after it."""
    records = len(dataset) // 2 if dataset.paired else len(dataset)
    windows = -(-records // _WINDOW)
    while epochs is None or position.epoch < epochs:
        order = _order(records, seed, position.epoch)
        found = position.window > 0 or position.row > 0
        for window in range(position.window, windows):
            rows = pack(
                _parts(dataset, order[window * _WINDOW : (window + 1) * _WINDOW], sequence_length), sequence_length
            )
            generator = np.random.RandomState(_entropy(seed, position.epoch, window + 1))
            shuffled = generator.permutation(len(rows))
            found = found or bool(rows)
            for index in range(position.row, len(rows)):
                last = index + 1 == len(rows)
                after = (
                    replace(position, window=window + 1, row=0)
                    if last
                    else replace(position, window=window, row=index + 1)
                )
                yield rows[shuffled[index]], after
            position = replace(position, window=window + 1, row=0)
        if not found:
            raise UserError(
                f"nothing to learn from: no document has a counted token among its first {sequence_length}; raise sequence_length",
                f"没有可学的内容：没有文档在前 {sequence_length} 个词元内含有计入损失的词元；请增大 sequence_length",
            )
        position = Position(epoch=position.epoch + 1)


def _entropy(*numbers: int) -> list[int]:
    return [number % 2**32 for number in numbers]


def _order(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """The documents' order in an epoch. RandomState, because NumPy keeps its sequence for ever."""
    return np.random.RandomState(_entropy(seed, epoch, 0)).permutation(count)


def parts_of(dataset: TokenDataset, record: int, sequence_length: int) -> list[Part]:
    """The stretches that one document (of pairs: one pair) is laid out as; none where nothing of it is learned from."""
    return _parts(dataset, np.array([record]), sequence_length)


def _parts(dataset: TokenDataset, documents: npt.NDArray[np.int64], sequence_length: int) -> list[Part]:
    """The documents as stretches of at most `sequence_length` predictions; a document of n ids has n - 1."""
    parts = []
    for document in documents.tolist():
        if dataset.paired:
            sides = [_cut(dataset, side, sequence_length) for side in (2 * document, 2 * document + 1)]
            if all(_is_counted(dataset, *side) for side in sides):
                parts.append(Part(*sides[0], sides[1]))
        elif dataset.mask is not None:
            if _is_counted(dataset, *(cut := _cut(dataset, document, sequence_length))):
                parts.append(Part(*cut))
        else:
            start, end = int(dataset.offsets[document]), int(dataset.offsets[document + 1])
            for first in range(start, end - 1, sequence_length):
                parts.append(Part(first, min(sequence_length, end - 1 - first)))
    return parts


def _cut(dataset: TokenDataset, document: int, sequence_length: int) -> tuple[int, int]:
    """Where a document begins, and how many of its predictions fit."""
    start, end = int(dataset.offsets[document]), int(dataset.offsets[document + 1])
    return start, min(end - start - 1, sequence_length)


def _is_counted(dataset: TokenDataset, start: int, length: int) -> bool:
    """Whether the loss counts any of these predictions."""
    return length > 0 and dataset.mask is not None and bool(dataset.mask[start + 1 : start + length + 1].any())


def pack(parts: list[Part], sequence_length: int) -> list[Row]:
    """Best fit, longest first: each stretch goes into the fullest row that still has room for it."""
    rows: list[Row] = []
    room: list[int] = []  # the sorted amounts of room that some open row has
    open_rows: dict[int, list[int]] = {}
    for part in sorted(parts, key=lambda part: (-part.room, part.start)):
        place = bisect.bisect_left(room, part.room)
        if place == len(room):
            rows.append([])
            index, space = len(rows) - 1, sequence_length
        else:
            space = room[place]
            index = open_rows[space].pop()
            if not open_rows[space]:
                del open_rows[space], room[place]
        rows[index].append(part)
        space -= part.room
        if space:
            if space not in open_rows:
                bisect.insort(room, space)
                open_rows[space] = []
            open_rows[space].append(index)
    return rows


def _sides(row: Row) -> Iterator[list[tuple[int, int]]]:
    """The stretches of a row as (start, length); of a row of pairs those of the chosen and those of the rejected side."""
    yield [(part.start, part.length) for part in row]
    rejected = [part.rejected for part in row if part.rejected is not None]
    if rejected:
        yield rejected


def lay_out_values(values: Tensor, rows: Sequence[Row], sequence_length: int) -> Tensor:
    """Values of each id [ids] as [rows, time]: at each position that of the id it predicts, 0 where there is none."""
    laid = values.new_zeros(len(rows), sequence_length)  # [rows, time]
    for row, parts in zip(laid, rows, strict=True):
        column = 0
        for part in parts:
            row[column : column + part.length] = values[part.start + 1 : part.start + 1 + part.length]  # [length]
            column += part.length
    return laid


def lay_out(dataset: TokenDataset, packed: list[Row], sequence_length: int, position: Position) -> Batch:
    """The batch whose rows are filled with these stretches of `dataset`."""
    rows = [side for row in packed for side in _sides(row)]
    shape = (len(rows), sequence_length)
    tokens = np.full(shape, dataset.pad_id, dtype=np.int64)
    labels = np.full(shape, IGNORED, dtype=np.int64)
    positions = np.zeros(shape, dtype=np.int64)
    documents = np.full(shape, NO_DOCUMENT, dtype=np.int64)
    useful = 0
    for index, row in enumerate(rows):
        column = 0
        for number, (start, length) in enumerate(row):
            here = (index, slice(column, column + length))
            ids = dataset.tokens[start : start + length + 1].astype(np.int64)
            tokens[here] = ids[:-1]
            labels[here] = ids[1:]
            if dataset.mask is not None:
                labels[here][dataset.mask[start + 1 : start + length + 1] == 0] = IGNORED
            positions[here] = np.arange(length)
            documents[here] = number
            column += length
        useful += column
    predicted = labels[labels != IGNORED]
    return Batch(
        tokens=torch.from_numpy(tokens),
        labels=torch.from_numpy(labels),
        positions=torch.from_numpy(positions),
        documents=torch.from_numpy(documents),
        position=position,
        useful_tokens=useful,
        trained_bytes=int(dataset.token_bytes[predicted].sum()),
    )
