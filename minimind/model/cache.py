"""The key/value cache: what lets a model write the next token without reading the whole text again."""

from __future__ import annotations

import torch
from torch import Tensor

from minimind.config import ModelConfig


class LayerCache:
    """The keys and values one attention layer has already computed, in buffers that never grow or move."""

    def __init__(self, cache: Cache, keys: Tensor, values: Tensor) -> None:
        self._cache = cache
        self._keys = keys  # [batch, groups, capacity, head]
        self._values = values  # [batch, groups, capacity, head]

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write new `keys` and `values` [batch, groups, time, head] after the old ones; return all of them as views.

        The length itself moves on in `Cache.advance`, once a step and not once a layer.
        """
        start = self._cache.length
        end = start + keys.shape[2]
        self._keys[:, :, start:end] = keys
        self._values[:, :, start:end] = values
        return self._keys[:, :, :end], self._values[:, :, :end]  # [batch, groups, end, head]


class Cache:
    """Room for `capacity` positions in every layer of a model; `length` of them are filled.

    Allocated once: writing a token copies that token's keys and values and nothing else.
    """

    def __init__(
        self,
        config: ModelConfig,
        batch_size: int,
        capacity: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.batch_size = batch_size
        self.capacity = capacity
        self.length = 0
        shape = (batch_size, config.num_key_value_heads, capacity, config.head_size)
        self.storage = torch.zeros(config.num_hidden_layers, 2, *shape, dtype=dtype, device=device)
        """[layers, keys and values, batch, groups, capacity, head]"""
        self.layers = tuple(
            LayerCache(self, self.storage[layer, 0], self.storage[layer, 1]) for layer in range(len(self.storage))
        )

    def reserve(self, time: int) -> None:
        """Check that `time` more positions fit. Raises ValueError where they do not, before anything is written."""
        if self.length + time > self.capacity:
            raise ValueError(f"the cache holds {self.capacity} positions: {self.length} filled, {time} more asked for")

    def advance(self, time: int) -> None:
        """Count `time` positions as filled: every layer has written them."""
        self.length += time

    def truncate(self, length: int) -> None:
        """Forget every position from `length` on (0 ≤ length ≤ the present one)."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot cut a cache of {self.length} positions to {length}")
        self.length = length

    def copy_from(self, other: Cache) -> None:
        """Hold what `other`, of the same model, batch size and capacity, holds."""
        self.length = other.length
        self.storage[..., : self.length, :] = other.storage[..., : self.length, :]

    def reset(self) -> None:
        """Forget everything; the buffers stay."""
        self.truncate(0)
