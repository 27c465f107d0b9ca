"""The tables of model.h as ctypes, filled from a model: where each weight lies, in which format."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor, nn

from minimind.inference.quantize import STORED_FORMATS, PackedMatrix, WeightFormat, pack
from minimind.model.moe import MixtureOfExperts
from minimind.model.transformer import Block, FeedForward, MiniMind

ACTIVATION_NUMBERS = {"silu": 0, "gelu": 1, "relu": 2}
_POINTER = ctypes.c_void_p


class CMatrix(ctypes.Structure):
    """``Matrix``: weights [rows, columns]."""

    _fields_ = [
        ("values", _POINTER),
        ("scales", _POINTER),
        ("stride", ctypes.c_int64),
        *((name, ctypes.c_int32) for name in ("rows", "columns", "format", "padding")),
    ]


class CExpert(ctypes.Structure):
    """``Expert``: one feed-forward layer."""

    _fields_ = [(name, CMatrix) for name in ("gate", "up", "down")]


class CLayer(ctypes.Structure):
    """``Layer``: one block."""

    _fields_ = [
        *((name, CMatrix) for name in ("query", "key", "value", "output")),
        *((name, _POINTER) for name in ("attention_norm", "feed_forward_norm", "query_norm", "key_norm")),
        ("router", CMatrix),
        ("experts", _POINTER),
    ]


_SIZES = ("hidden", "layers", "heads", "groups", "head", "feed_forward", "vocabulary", "activation")
_EXPERTS = ("routed", "chosen", "shared", "normalise")


class CModel(ctypes.Structure):
    """``Model``: everything."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in (*_SIZES, *_EXPERTS, "cache_format", "embedding_format")),
        *((name, ctypes.c_float) for name in ("epsilon", "padding")),
        *((name, _POINTER) for name in ("embedding", "cosine", "sine", "norm")),
        ("output", CMatrix),
        ("layer", _POINTER),
    ]


class CItem(ctypes.Structure):
    """``Item``: a token to be read."""

    _fields_ = [
        ("cache", _POINTER),
        ("capacity", ctypes.c_int64),
        ("token", ctypes.c_int32),
        ("position", ctypes.c_int32),
    ]


class Layout:
    """`model` with its matrices in `format`, as C sees it. Keeps alive what the tables point to.

    Matrices that have the format already are pointed to where they are. With int4 the output layer is int8: it is read
    for every choice, and 4 bits there cost more than they save. A router keeps its own precision.
    """

    def __init__(self, model: MiniMind, format: WeightFormat) -> None:
        self.format = format
        self.bytes = 0
        """Bytes of weights that a token reads, embeddings and norms aside (with experts: of all of them)."""
        self._kept: list[Any] = []
        config = model.config
        self.table = CModel(
            hidden=config.hidden_size,
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            groups=config.num_key_value_heads,
            head=config.head_size,
            feed_forward=config.expert_size if config.use_moe else config.feed_forward_size,
            vocabulary=config.vocab_size,
            activation=ACTIVATION_NUMBERS[config.hidden_act],
            epsilon=config.rms_norm_eps,
        )
        if config.use_moe:
            self.table.routed, self.table.chosen = config.num_experts, config.num_experts_per_tok
            self.table.shared, self.table.normalise = config.n_shared_experts, config.norm_topk_prob
        embedding = model.model.embed_tokens.weight.detach()
        self.table.embedding = self._keep(embedding)
        self.table.embedding_format = dtype_number(embedding.dtype)
        self.table.norm = self._vector(model.model.norm.weight)
        self.table.output = self._matrix(model.lm_head, "int8" if format == "int4" else format)
        layers = (CLayer * config.num_hidden_layers)(*(self._layer(block) for block in model.model.layers))
        self._kept.append(layers)
        self.table.layer = ctypes.addressof(layers)

    def set_rotary(self, cosine: Tensor, sine: Tensor) -> None:
        """Use these angles, float32 [positions, head/2]."""
        self._rotary = cosine.contiguous(), sine.contiguous()
        self.table.cosine, self.table.sine = (tensor.data_ptr() for tensor in self._rotary)

    def _layer(self, block: nn.Module) -> CLayer:
        assert isinstance(block, Block)
        attention, table = block.self_attn, CLayer()
        for name, linear in (("query", attention.q_proj), ("key", attention.k_proj), ("value", attention.v_proj)):
            setattr(table, name, self._matrix(linear, self.format))
        table.output = self._matrix(attention.o_proj, self.format)
        table.attention_norm = self._vector(block.input_layernorm.weight)
        table.feed_forward_norm = self._vector(block.post_attention_layernorm.weight)
        if attention.q_norm is not None and attention.k_norm is not None:
            table.query_norm = self._vector(attention.q_norm.weight)
            table.key_norm = self._vector(attention.k_norm.weight)
        parts: list[nn.Module] = [block.mlp]
        if isinstance(block.mlp, MixtureOfExperts):
            table.router = self._matrix(block.mlp.gate, _own_format(block.mlp.gate.weight))
            parts = [*block.mlp.experts, *block.mlp.shared_experts]
        experts = (CExpert * len(parts))(*(self._expert(part) for part in parts))
        self._kept.append(experts)
        table.experts = ctypes.addressof(experts)
        return table

    def _expert(self, part: nn.Module) -> CExpert:
        assert isinstance(part, FeedForward)
        gate, up, down = (
            self._matrix(linear, self.format) for linear in (part.gate_proj, part.up_proj, part.down_proj)
        )
        return CExpert(gate=gate, up=up, down=down)

    def _matrix(self, linear: nn.Linear, format: WeightFormat) -> CMatrix:
        packed = pack(linear.weight, format)
        self.bytes += packed.bytes
        return CMatrix(
            values=self._keep(packed.values),
            scales=None if packed.scales is None else self._keep(packed.scales),
            stride=packed.stride,
            rows=packed.rows,
            columns=packed.columns,
            format=_format_number(packed),
        )

    def _vector(self, weight: Tensor) -> int:
        return self._keep(weight.detach().float().contiguous())

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return tensor.data_ptr()


def dtype_number(dtype: torch.dtype) -> int:
    """How model.h names a dtype of embeddings and caches."""
    return 0 if dtype == torch.float32 else 1


def _own_format(weight: Tensor) -> WeightFormat:
    return "float32" if weight.dtype == torch.float32 else "bfloat16"


def _format_number(packed: PackedMatrix) -> int:
    return STORED_FORMATS.index(packed.format)
