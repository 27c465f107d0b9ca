"""Bytes to train on, and bytes held out, both of the embedded corpus."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor, nn

from minimind.data.corpus import Split, language_of, pretrain_documents
from minimind.data.packing import IGNORED

EVALUATION_BATCHES = 8


@dataclass(frozen=True)
class ByteText:
    """Bytes 0…255 as token ids: `train` [length] and `held_out` [length], documents parted by a line break."""

    train: Tensor
    held_out: Tensor

    def batch(self, generator: torch.Generator, batch: int = 16, time: int = 64) -> tuple[Tensor, Tensor]:
        """Tokens and labels, both [batch, time], from random places of the training bytes."""
        starts = torch.randint(0, len(self.train) - time - 1, (batch,), generator=generator)  # [batch]
        return _windows(self.train, starts, time)

    def evaluation(self, batch: int = 16, time: int = 64) -> list[tuple[Tensor, Tensor]]:
        """The same batches of tokens and labels [batch, time] each time, spread evenly over the held-out bytes."""
        count = batch * EVALUATION_BATCHES
        starts = torch.linspace(0, len(self.held_out) - time - 2, count).long()  # [count]
        return [_windows(self.held_out, starts[first : first + batch], time) for first in range(0, count, batch)]


def _windows(data: Tensor, starts: Tensor, time: int) -> tuple[Tensor, Tensor]:
    places = starts[:, None] + torch.arange(time + 1)  # [batch, time + 1]
    windows = data[places]  # [batch, time + 1]
    return windows[:, :-1], windows[:, 1:]  # 2 × [batch, time]


@cache
def byte_text(kilobytes: int = 240, language: Literal["en", "zh", "both"] = "en") -> ByteText:
    """`kilobytes` of training bytes and a sixth of that held out; the same for everybody."""
    return ByteText(_bytes(kilobytes, language, "train"), _bytes(max(8, kilobytes // 6), language, "validation"))


def _bytes(kilobytes: int, language: str, split: Split) -> Tensor:
    text = bytearray()
    for document in pretrain_documents(split=split):
        if language in ("both", language_of(document)):
            text += document.encode() + b"\n"
        if len(text) >= kilobytes * 1000:
            break
    return torch.frombuffer(text[: kilobytes * 1000], dtype=torch.uint8).long()  # [length]


@torch.no_grad()
def evaluate(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> float:
    """Mean cross-entropy, in nats a token, of `model` over batches of tokens and labels [batch, time]."""
    was_training = model.training
    model.eval()
    total, count = 0.0, 0
    for tokens, labels in batches:
        logits = model(tokens)  # [batch, time, vocabulary]
        losses = nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum"
        )  # []
        total += float(losses)
        count += int((labels != IGNORED).sum())
    model.train(was_training)
    return total / count
