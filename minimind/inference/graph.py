"""One CUDA graph a token: on a GPU a step of a small model is hundreds of launches, each longer than its work.

A graph is recorded once and replayed with one launch. So nothing in it may depend on the text: the position is a
number in a tensor, keys and values are written where it says, and queries look at the whole cache behind a mask.
NVIDIA 2019, "Getting Started with CUDA Graphs"; PyTorch's documentation of `torch.cuda.CUDAGraph`.

The step itself is tested on a CPU. Recording it was NOT run on a GPU when this was written: so the first step of every
graph is compared with the plain one, and whatever goes wrong on the way leaves the plain one in charge.
"""

from __future__ import annotations

import torch
from torch import Tensor

from minimind.model.cache import Cache, LayerCache
from minimind.model.transformer import MiniMind

_WARM_UP = 3
_TOLERANCE = {torch.float32: 1e-3}
"""How far the recorded logits may be from the plain ones; other dtypes round more."""


class _FixedLayer(LayerCache):
    """A layer's cache that is written at a position in a tensor, and read as a whole."""

    def __init__(self, keys: Tensor, values: Tensor, position: Tensor) -> None:
        self._keys, self._values, self._position = keys, values, position

    def update(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write one position's `keys` and `values` [1, groups, 1, head]; all of them [1, groups, capacity, head]."""
        self._keys.index_copy_(2, self._position, keys)
        self._values.index_copy_(2, self._position, values)
        return self._keys, self._values


class _FixedCache(Cache):
    """The buffers of another cache, of which the length is in a tensor."""

    def __init__(self, cache: Cache, position: Tensor) -> None:
        self.batch_size, self.capacity, self.length = 1, cache.capacity, 0
        self.storage = cache.storage
        self.layers = tuple(_FixedLayer(keys, values, position) for keys, values in cache.storage)

    def advance(self, time: int) -> None:
        """Nothing: the position is set before each step."""


class FixedStep:
    """Reads one token after what `cache` holds, by the same operations whatever the position."""

    def __init__(self, model: MiniMind, cache: Cache) -> None:
        self._model, self.cache = model, cache
        device = cache.storage.device
        self._token = torch.zeros(1, 1, dtype=torch.long, device=device)  # [1, 1]
        self._position = torch.zeros(1, dtype=torch.long, device=device)  # [1]
        self._columns = torch.arange(cache.capacity, device=device)  # [capacity]
        self._fixed = _FixedCache(cache, self._position)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits = torch.empty(0)

    def read(self, token: int) -> Tensor:
        """The logits [vocabulary] after `token`; they are overwritten by the next call."""
        self.cache.reserve(1)
        self._token.fill_(token)
        self._position.fill_(self.cache.length)
        if self._graph is None:
            self._logits = self._run()  # [vocabulary]
        else:
            self._graph.replay()
        self.cache.advance(1)
        return self._logits  # [vocabulary]

    def _run(self) -> Tensor:
        mask = (self._columns <= self._position)[None, None, None]  # [1, 1, 1, capacity]
        x = self._model.hidden(self._token, positions=self._position[None], mask=mask, cache=self._fixed)
        logits: Tensor = self._model.lm_head(x[0, -1])  # [vocabulary]
        return logits

    def record(self) -> None:
        """Record the step; what it wrote into the cache meanwhile is at the next position, and overwritten there.

        Raises RuntimeError where CUDA cannot record it, or what was recorded computes something else.
        """
        self._position.fill_(self.cache.length)
        plain = self._run().float().clone()  # [vocabulary]
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP):
                self._run()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._logits = self._run()  # [vocabulary]
        graph.replay()
        error = float((self._logits.float() - plain).abs().max())
        if not error <= _TOLERANCE.get(self._logits.dtype, 0.1) * max(1.0, float(plain.abs().max())):
            raise RuntimeError(f"the recorded step differs from the plain one by {error}")
        self._graph = graph


def recorded_step(model: MiniMind, cache: Cache) -> FixedStep | None:
    """A recorded step for `model`, which is on a GPU, and its `cache`; None where it cannot be recorded.

    A mixture of experts cannot: which experts work decides the shapes of what is computed. There must be room for one
    more position in the cache.
    """
    if model.config.use_moe or cache.length >= cache.capacity:
        return None
    step = FixedStep(model, cache)
    try:
        step.record()
    except RuntimeError:
        return None
    return step
