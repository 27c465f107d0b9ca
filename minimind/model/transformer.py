"""The network, top to bottom: a decoder-only Transformer that turns token ids into scores for the next token.

Read it downwards: a norm, a way to say where a token stands, attention, a feed-forward layer, a block of both, a stack
of blocks. Both released MiniMind generations are settings of one `ModelConfig`, and parameter names are theirs, so
that a checkpoint loads without a converter.

Lines that make a tensor end in its shape. ``batch`` sequences of ``time`` tokens; ``hidden`` is the width of the
residual stream; ``heads`` query heads share ``groups`` key/value heads of width ``head``; ``length`` counts the keys
that may be looked at (``time``, plus what a cache already holds).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minimind.config import ModelConfig
from minimind.model.cache import Cache, LayerCache
from minimind.model.moe import MixtureOfExperts
from minimind.model.yarn import yarn_table

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": F.silu, "gelu": F.gelu, "relu": F.relu}


class RMSNorm(nn.Module):
    """Root-mean-square normalisation: y = x / √(mean(x²) + ε) · weight, over the last axis.

    Computed in float32 whatever the input's dtype: squares overflow float16, and sums in bfloat16 lose digits.
    Zhang and Sennrich 2019, "Root Mean Square Layer Normalization", equation 4.
    """

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size))  # [size]

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` [..., size]; the result has its shape and dtype."""
        wide = x.float()  # [..., size]
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)  # [..., 1]
        return self.weight * (wide * scale).type_as(x)  # [..., size]


def rotary_frequencies(head_size: int, theta: float, device: torch.device | str = "cpu") -> Tensor:
    """How fast each pair of components turns, in radians a position: θ^(-2i/d) for i = 0 … d/2-1, float32.

    Su et al. 2021, "RoFormer", section 3.2.2 (there θ = 10,000; a larger base reaches further back).
    """
    exponents = torch.arange(0, head_size, 2, dtype=torch.float32, device=device) / head_size  # [head/2]
    return theta**-exponents  # [head/2]


def rotary_table(positions: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every angle position · frequency, float32, with an axis that broadcasts over heads.

    Takes `positions` [batch or 1, time] and `frequencies` [head/2]. Computed once a forward pass, for the positions
    that occur in it: there is no table that could be too short, or be rounded when the model is cast to bfloat16.
    """
    angles = positions[:, None, :, None].float() * frequencies  # [batch or 1, 1, time, head/2]
    return angles.cos(), angles.sin()  # 2 × [batch or 1, 1, time, head/2]


def apply_rotary(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn each pair (x[i], x[i + head/2]) of `x` [batch, heads, time, head] by its position's angle.

    Shape and dtype stay. Partners stand half a head apart, as in the released models, where the paper pairs neighbours:
    the same up to a fixed permutation. The product of a query turned by m and a key turned by n depends on m-n only.
    """
    first, second = x.float().chunk(2, dim=-1)  # 2 × [batch, heads, time, head/2]
    turned = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    return turned.type_as(x)  # [batch, heads, time, head]


class AttentionCore(nn.Module):
    """softmax(QKᵀ/√d)V: every query takes a weighted average of the values it may look at. It has no parameters.

    A module of its own so that a probe can hook its inputs and a faster kernel can take its place.
    Vaswani et al. 2017, "Attention Is All You Need", equation 1.
    """

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """Take `queries` [batch, heads, time, head], `keys` and `values` [batch, groups, length, head].

        `mask` (bool, broadcastable to [batch, heads, time, length]) is True where a query may look. Without one, a
        single query looks at every key, and several look at themselves and what came before (length = time).
        """
        return F.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=mask is None and queries.shape[2] > 1,
            enable_gqa=queries.shape[1] != keys.shape[1],
        )  # [batch, heads, time, head]


class Attention(nn.Module):
    """Causal self-attention with rotary positions, in which several query heads share one key/value head.

    Ainslie et al. 2023, "GQA: Training Generalized Multi-Query Transformer Models"; the optional norm on queries and
    keys is that of Henry et al. 2020, "Query-Key Normalization for Transformers", with RMSNorm as in Qwen3.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.head_size = config.head_size
        width, heads, groups = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
        self.q_proj = nn.Linear(width, heads * self.head_size, bias=False)
        self.k_proj = nn.Linear(width, groups * self.head_size, bias=False)
        self.v_proj = nn.Linear(width, groups * self.head_size, bias=False)
        self.o_proj = nn.Linear(heads * self.head_size, width, bias=False)
        self.q_norm = RMSNorm(self.head_size, config.rms_norm_eps) if config.qk_norm else None
        self.k_norm = RMSNorm(self.head_size, config.rms_norm_eps) if config.qk_norm else None
        self.core = AttentionCore(config.dropout)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None = None, cache: LayerCache | None = None
    ) -> Tensor:
        """Mix information between positions of `x` [batch, time, hidden]; the result has its shape."""
        batch, time, _ = x.shape
        queries = self.q_proj(x).view(batch, time, -1, self.head_size)  # [batch, time, heads, head]
        keys = self.k_proj(x).view(batch, time, -1, self.head_size)  # [batch, time, groups, head]
        values = self.v_proj(x).view(batch, time, -1, self.head_size)  # [batch, time, groups, head]

        if self.q_norm is not None and self.k_norm is not None:
            queries, keys = self.q_norm(queries), self.k_norm(keys)  # shapes stay

        queries = apply_rotary(queries.transpose(1, 2), *rotary)  # [batch, heads, time, head]
        keys = apply_rotary(keys.transpose(1, 2), *rotary)  # [batch, groups, time, head]
        values = values.transpose(1, 2)  # [batch, groups, time, head]
        if cache is not None:
            keys, values = cache.update(keys, values)  # [batch, groups, length, head]

        mixed = self.core(queries, keys, values, mask)  # [batch, heads, time, head]
        mixed = mixed.transpose(1, 2).reshape(batch, time, -1)  # [batch, time, heads · head]
        update: Tensor = self.dropout(self.o_proj(mixed))  # [batch, time, hidden]
        return update


class FeedForward(nn.Module):
    """SwiGLU: down(activation(gate(x)) ⊙ up(x)), for each position by itself.

    `size` is its width where that is not the config's ``feed_forward_size``.
    Shazeer 2020, "GLU Variants Improve Transformer", equation 6.
    """

    def __init__(self, config: ModelConfig, size: int | None = None) -> None:
        super().__init__()
        size = size or config.feed_forward_size
        self.gate_proj = nn.Linear(config.hidden_size, size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, size, bias=False)
        self.down_proj = nn.Linear(size, config.hidden_size, bias=False)
        self.activation = ACTIVATIONS[config.hidden_act]
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Transform `x` [batch, time, hidden]; the result has its shape."""
        gated = self.activation(self.gate_proj(x)) * self.up_proj(x)  # [batch, time, feed-forward]
        update: Tensor = self.dropout(self.down_proj(gated))  # [batch, time, hidden]
        return update


class Block(nn.Module):
    """One layer, pre-norm: the residual stream is only ever added to, and each part reads a normalised copy of it.

    Xiong et al. 2020, "On Layer Normalization in the Transformer Architecture", section 3.2.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MixtureOfExperts(config, FeedForward) if config.use_moe else FeedForward(config)

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor], mask: Tensor | None = None, cache: LayerCache | None = None
    ) -> Tensor:
        """Update the residual stream `x` [batch, time, hidden]."""
        attended: Tensor = x + self.self_attn(self.input_layernorm(x), rotary, mask, cache)  # [batch, time, hidden]
        updated: Tensor = attended + self.mlp(self.post_attention_layernorm(attended))  # [batch, time, hidden]
        return updated


class Transformer(nn.Module):
    """Embedding, the stack of blocks, and a last norm: token ids in, one vector a position out."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(
        self, tokens: Tensor, positions: Tensor | None = None, mask: Tensor | None = None, cache: Cache | None = None
    ) -> Tensor:
        """Take `tokens` [batch, time] to [batch, time, hidden]; the arguments are those of `MiniMind.forward`."""
        time = tokens.shape[1]
        past = 0
        if cache is not None:
            cache.reserve(time)
            past = cache.length
        if positions is None:
            positions = torch.arange(past, past + time, device=tokens.device)[None]  # [1, time]
        if mask is None and past > 0 and time > 1:
            mask = causal_mask(time, past + time, tokens.device)  # [time, length]

        frequencies = rotary_frequencies(self.config.head_size, self.config.rope_theta, tokens.device)  # [head/2]
        if self.config.inference_rope_scaling:
            rotary = yarn_table(positions, frequencies, self.config)  # 2 × [batch or 1, 1, time, head/2]
        else:
            rotary = rotary_table(positions, frequencies)  # 2 × [batch or 1, 1, time, head/2]
        x = self.dropout(self.embed_tokens(tokens))  # [batch, time, hidden]
        for index, block in enumerate(self.layers):
            x = block(x, rotary, mask, None if cache is None else cache.layers[index])  # [batch, time, hidden]
        if cache is not None:
            cache.advance(time)
        normed: Tensor = self.norm(x)  # [batch, time, hidden]
        return normed


def causal_mask(time: int, length: int, device: torch.device | str = "cpu") -> Tensor:
    """Which of `length` keys the last `time` positions may look at: themselves and everything before; True = may."""
    return torch.ones(time, length, dtype=torch.bool, device=device).tril(length - time)  # [time, length]


class MiniMind(nn.Module):
    """The language model: a Transformer and the layer that turns its vectors into a score for each token.

    With ``config.tie_word_embeddings`` that layer is the embedding itself, read the other way round
    (Press and Wolf 2017, "Using the Output Embedding to Improve Language Models").
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Transformer(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie_weights()
        self.apply(_initialise)

    def tie_weights(self) -> None:
        """Make the output layer share the embedding's tensor, where the config says so."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight  # [vocabulary, hidden]

    def hidden(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """The vectors [batch, time, hidden] before the output layer, after the last norm; arguments as in `forward`."""
        x: Tensor = self.model(tokens, positions, mask, cache)  # [batch, time, hidden]
        return x

    def forward(
        self,
        tokens: Tensor,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Scores (logits) [batch, time, vocabulary] for the token that follows each position of `tokens` [batch, time].

        `positions` [batch, time] are counted from 0, or from the cache's length, where they are not given. `mask`, bool
        [batch, 1, time, length], is True where a position may look; None means at itself and everything before it.
        `cache` holds the keys and values of earlier tokens and takes in these. Raises ValueError where they do not fit.
        """
        x = self.hidden(tokens, positions=positions, mask=mask, cache=cache)  # [batch, time, hidden]
        logits: Tensor = self.lm_head(x)  # [batch, time, vocabulary]
        return logits

    def parameter_count(self) -> int:
        """Trainable numbers; tied weights count once."""
        return sum(parameter.numel() for parameter in self.parameters())


def _initialise(module: nn.Module) -> None:
    """Small random matrices: the first predictions are nearly uniform, so the first loss is about ln(vocabulary)."""
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
