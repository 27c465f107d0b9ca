"""Reads tokens one after the other at the speed of memory: a model, its weights in one format, a team of threads."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minimind.config import ModelConfig
from minimind.events import Text
from minimind.hardware import available_cores
from minimind.inference.native.build import load
from minimind.inference.native.layout import ACTIVATION_NUMBERS, CItem, Layout, dtype_number
from minimind.inference.quantize import WeightFormat
from minimind.model.cache import Cache
from minimind.model.moe import MixtureOfExperts
from minimind.model.transformer import (
    Attention,
    AttentionCore,
    Block,
    FeedForward,
    MiniMind,
    RMSNorm,
    Transformer,
    rotary_frequencies,
    rotary_table,
)
from minimind.model.yarn import yarn_table

BYTES_A_THREAD = 1 << 20
"""Weights that are worth a thread: below this, waiting for one another takes longer than the work."""
_PLAIN = {
    *(MiniMind, Transformer, Block, Attention, AttentionCore, FeedForward, MixtureOfExperts, RMSNorm),
    *(nn.Linear, nn.Embedding, nn.Dropout, nn.ModuleList),
}
"""The modules whose arithmetic the compiled step repeats. A subclass may compute something else."""


class NativeDecoder:
    """The compiled step for `model`, with matrices in `format`. Not for several threads of Python at once.

    The model must be `covered` and stay as it is. Raises NativeUnavailable where nothing can be compiled. Results do
    not depend on `threads` (None: as many as torch uses, fewer for a small model) nor on how tokens are grouped.
    """

    def __init__(self, model: MiniMind, format: WeightFormat, threads: int | None = None) -> None:
        self._library = load()
        self.layout = Layout(model, format)
        self.config = model.config
        if threads is None:
            worthwhile = max(1, self.layout.bytes // BYTES_A_THREAD)
            threads = min(torch.get_num_threads(), available_cores(), worthwhile)
        self.threads = max(1, threads)
        self._team = self._library.team_new(self.threads, self.config.num_hidden_layers)
        if not self._team:
            raise MemoryError("out of memory")
        weakref.finalize(self, self._library.team_free, self._team)
        self._positions = 0
        self._workspace = torch.empty(0, dtype=torch.uint8)

    @property
    def format(self) -> WeightFormat:
        """The format of the matrices."""
        return self.layout.format

    def read(self, cache: Cache, tokens: Sequence[int]) -> Tensor:
        """Take in `tokens` after what `cache` (of one text) holds; the logits after each, float32 [time, vocabulary]."""
        cache.reserve(len(tokens))
        items = [(cache, token, cache.length + index) for index, token in enumerate(tokens)]
        logits = self._step(items)  # [time, vocabulary]
        cache.advance(len(tokens))
        return logits

    def read_each(self, caches: Sequence[Cache], tokens: Sequence[int]) -> Tensor:
        """Take in one token of each of several texts, each with a cache of its own; their logits [texts, vocabulary]."""
        for cache in caches:
            cache.reserve(1)
        items = [(cache, token, cache.length) for cache, token in zip(caches, tokens, strict=True)]
        logits = self._step(items)  # [texts, vocabulary]
        for cache in caches:
            cache.advance(1)
        return logits

    def _step(self, items: Sequence[tuple[Cache, int, int]]) -> Tensor:
        count = len(items)
        table = (CItem * count)()
        dtype = items[0][0].storage.dtype
        for row, (cache, token, position) in zip(table, items, strict=True):
            if not 0 <= token < self.config.vocab_size:
                raise ValueError(f"a token must be from 0 to {self.config.vocab_size - 1}, not {token}")
            if cache.batch_size != 1 or cache.storage.dtype != dtype:
                raise ValueError("every text needs a cache of its own, all of the same dtype")
            row.cache, row.capacity, row.token, row.position = cache.storage.data_ptr(), cache.capacity, token, position
        self.layout.table.cache_format = dtype_number(dtype)
        longest = max(cache.capacity for cache, _, _ in items)
        if longest > self._positions:
            self._positions = longest
            self.layout.set_rotary(*rotary_angles(self.config, longest))
        model = ctypes.byref(self.layout.table)
        size = self._library.workspace_size(self._team, model, count, longest)
        if size + 64 > self._workspace.numel():
            self._workspace = torch.empty(size + 64, dtype=torch.uint8)
        logits = torch.empty(count, self.config.vocab_size)  # [items, vocabulary]
        place = self._workspace.data_ptr()
        self._library.decode_step(self._team, model, table, count, longest, place + -place % 64, logits.data_ptr())
        return logits


def rotary_angles(config: ModelConfig, positions: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine, float32 [positions, head/2], as Transformer computes them."""
    every = torch.arange(positions)[None]  # [1, positions]
    frequencies = rotary_frequencies(config.head_size, config.rope_theta)  # [head/2]
    stretched = config.inference_rope_scaling
    tables = yarn_table(every, frequencies, config) if stretched else rotary_table(every, frequencies)
    return tables[0][0, 0], tables[1][0, 0]  # 2 × [positions, head/2]


def uncovered(model: MiniMind) -> Text | None:
    """Why the compiled step would not compute what `model` does; None where it does.

    It must be the plain network, on the CPU, in evaluation mode, all float32 or all bfloat16, and nobody may watch or
    change what happens inside (hooks).
    """
    weights = list(model.parameters())
    if any(weight.device.type != "cpu" for weight in weights):
        return Text("the model is not on the CPU", "模型不在 CPU 上")
    dtypes = {weight.dtype for weight in weights}
    if len(dtypes) != 1 or not dtypes <= {torch.float32, torch.bfloat16}:
        return Text("its precision is neither float32 nor bfloat16", "精度既不是 float32 也不是 bfloat16")
    return changed(model)


def changed(model: MiniMind) -> Text | None:
    """A sentence where `model` is not the plain network in evaluation mode, or somebody watches or changes it (hooks)."""
    said = Text("the network was changed or is being watched", "网络被改动过，或正在被观察")
    for module in model.modules():
        if type(module) not in _PLAIN or "forward" in vars(module):
            return said
        if module._forward_hooks or module._forward_pre_hooks or (module.training and model.config.dropout > 0):
            return said
        if isinstance(module, RMSNorm) and module.eps != model.config.rms_norm_eps:
            return said
        if isinstance(module, nn.Linear) and module.bias is not None:
            return said
    return None if model.config.hidden_act in ACTIVATION_NUMBERS else said
