"""What a model costs, on paper: parameters, operations, bytes and memory from its configuration alone. No torch.

Every function is a formula with its derivation in the docstring. Symbols: L layers, d = ``hidden_size``, h query heads
and g key/value heads of width k, f the width of a feed-forward layer or expert, V the vocabulary, T the sequence
length. A multiplication and the addition after it are 2 operations. What a device makes of these numbers is in
`minimind.devices`.
"""

from __future__ import annotations

from dataclasses import dataclass

from minimind.config import ModelConfig

FLOAT32_BYTES = 4.0
BFLOAT16_BYTES = 2.0
_LOSS_ROWS = 1024
"""Positions whose scores the loss holds at a time (`minimind.training.loss`)."""


@dataclass(frozen=True, slots=True)
class ParameterCounts:
    """Trainable numbers by part; the whole model's, not one layer's.

    `output` is 0 where the output layer shares the embedding. `feed_forward` are the dense layers, or the shared experts
    of a mixture; `experts` the routed experts, all of them; `active_experts` those that work on one token.
    """

    embedding: int
    attention: int
    feed_forward: int
    experts: int
    active_experts: int
    router: int
    norms: int
    output: int

    @property
    def total(self) -> int:
        """All of them; equals ``config.parameter_count()``."""
        return self._with(self.experts)

    @property
    def active(self) -> int:
        """Those that work on any one token; equals ``config.active_parameter_count()``."""
        return self._with(self.active_experts)

    @property
    def multiplied(self) -> int:
        """Those a token is multiplied with: the active ones in matrices, with the output layer and without a look-up.

        An embedding is read, not multiplied, so it counts only where it is the output layer too.
        """
        matrices = self.attention + self.feed_forward + self.active_experts + self.router
        return matrices + (self.output or self.embedding)

    def _with(self, experts: int) -> int:
        return self.embedding + self.attention + self.feed_forward + experts + self.router + self.norms + self.output


def parameter_counts(config: ModelConfig) -> ParameterCounts:
    """Parameters by part.

    A layer has 2d(h + g)k in attention (q, k, v, o), 3df in a SwiGLU layer or in each expert, dE in the router of E
    experts, 2d in norms and, with q/k norm, 2k more; the embedding has Vd, the last norm d.
    """
    width, layers, head = config.hidden_size, config.num_hidden_layers, config.head_size
    expert = 3 * width * config.expert_size if config.use_moe else 0
    dense = config.n_shared_experts * expert if config.use_moe else 3 * width * config.feed_forward_size
    norms = 2 * width + (2 * head if config.qk_norm else 0)
    return ParameterCounts(
        embedding=config.vocab_size * width,
        attention=layers * 2 * width * (config.num_attention_heads + config.num_key_value_heads) * head,
        feed_forward=layers * dense,
        experts=layers * config.num_experts * expert,
        active_experts=layers * config.num_experts_per_tok * expert,
        router=layers * width * config.num_experts if config.use_moe else 0,
        norms=layers * norms + width,
        output=0 if config.tie_word_embeddings else config.vocab_size * width,
    )


def forward_flops_per_token(config: ModelConfig, context: float) -> float:
    """Operations to run the model over one token that attends to `context` positions, itself included.

    2N for the matrices, N the multiplied parameters (`ParameterCounts.multiplied`; of a mixture of experts the active
    ones), and 4Lhk · context for attention: query times key and weight times value, 2k each for a head and a position.
    Not counted, together below a percent: norms, rotary positions, softmax, activations, residual sums.
    """
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * config.head_size
    return 2.0 * parameter_counts(config).multiplied + attention * context


def training_flops_per_token(config: ModelConfig, sequence_length: int, *, causal: bool = True) -> float:
    """Operations to train on one token of sequences of `sequence_length`: 6N plus the attention term.

    The backward pass costs twice the forward pass: each product is differentiated by both of its factors. That makes
    6N (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", section 2.1) and 12Lhk · context for attention.
    Position t sees t positions: on average context = (T + 1) / 2. The convention of Chowdhery et al. 2022, "PaLM",
    appendix B, counts the whole square, context = T: that is `causal` = False, and what a kernel without a notion of
    causality does. Recomputation of activations is not counted (there is none), nor the optimiser (about 15 operations
    a parameter and step, shared by all tokens of the step).
    """
    context = (sequence_length + 1) / 2 if causal else float(sequence_length)
    return 3.0 * forward_flops_per_token(config, context)


def kv_cache_bytes(config: ModelConfig, length: int, batch: int = 1, dtype_bytes: float = BFLOAT16_BYTES) -> float:
    """Bytes of the keys and values of `length` positions in `batch` sequences: 2Lgk numbers a position.

    Grouped-query attention keeps g of h heads (Ainslie et al. 2023, "GQA").
    """
    numbers = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_size
    return dtype_bytes * numbers * length * batch


def decode_bytes_per_token(
    config: ModelConfig, dtype_bytes: float, context: int, *, cache_dtype_bytes: float | None = None
) -> float:
    """Bytes read from memory to write one token alone (batch 1) after `context` positions.

    Every active parameter once, in weights of `dtype_bytes` (fractions are for quantised weights with their scales),
    of an embedding that is not the output layer one row only; and the cache of all positions before, in
    `cache_dtype_bytes` (that of the weights, where they are not quantised, else 2). Reading these is what decoding
    alone waits for: two operations a number read is far below what any device could compute meanwhile (Pope et al.
    2022, "Efficiently Scaling Transformer Inference", section 2).
    """
    counts = parameter_counts(config)
    weights = counts.active - (counts.embedding - config.hidden_size if counts.output else 0)
    if cache_dtype_bytes is None:
        cache_dtype_bytes = max(dtype_bytes, BFLOAT16_BYTES)
    return dtype_bytes * weights + kv_cache_bytes(config, context, dtype_bytes=cache_dtype_bytes)


@dataclass(frozen=True, slots=True)
class TrainingMemory:
    """Bytes that training holds at its fullest moment, by what they are for."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    loss: float

    @property
    def total(self) -> float:
        """All of them. What the framework itself takes (some hundred MB) comes on top."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.loss


def training_memory(
    config: ModelConfig, batch: int, length: int, dtype_bytes: float = BFLOAT16_BYTES, *, stored_attention: bool = False
) -> TrainingMemory:
    """Memory of one update over `batch` sequences of `length` tokens, computing in numbers of `dtype_bytes` (2 or 4).

    For N parameters, as `minimind.training` does it: float32 weights, 4N, and where the computation is narrower a copy
    in its type (Micikevicius et al. 2018, "Mixed Precision Training", section 3.1); gradients in both; AdamW's two
    float32 moments, 8N. All N count: a mixture keeps every expert's. Activations are `activation_bytes_per_token` for
    each token, with the weights of attention where `stored_attention` says so; the loss holds the scores of at most
    1,024 positions three times (as computed, as probabilities, as their gradient) beside a float32 gradient of the
    output layer and a gradient of its input.
    """
    counts = parameter_counts(config)
    narrow = dtype_bytes if dtype_bytes < FLOAT32_BYTES else 0.0
    tokens = batch * length
    scores = min(tokens, _LOSS_ROWS) * config.vocab_size * (2 * dtype_bytes + FLOAT32_BYTES)
    output_layer = (counts.output or counts.embedding) * (FLOAT32_BYTES + narrow)
    kept = activation_bytes_per_token(config, dtype_bytes, stored_length=length if stored_attention else 0)
    return TrainingMemory(
        weights=(FLOAT32_BYTES + narrow) * counts.total,
        gradients=(FLOAT32_BYTES + narrow) * counts.total,
        optimizer=2 * FLOAT32_BYTES * counts.total,
        activations=kept * tokens,
        loss=scores + output_layer + 2 * dtype_bytes * tokens * config.hidden_size,
    )


def activation_bytes_per_token(
    config: ModelConfig, dtype_bytes: float = BFLOAT16_BYTES, *, stored_length: int = 0
) -> float:
    """Bytes the forward pass keeps for the backward pass, for each token, without recomputation.

    Counted from the model's own operations, s = `dtype_bytes`. A norm over n numbers keeps its input in float32 (4n) and
    what it multiplies with its weight (sn). A layer keeps two norms over d and, with q/k norm, one over hk and one over
    gk; the input of q, k, v (sd) and of the feed-forward layer (sd); queries, keys, values and the mixed
    values, these in two orders of their axes (s(3h + 2g)k), with a float32 for each head; and 4 times f of the feed-forward layer (gate, activated gate, up, their
    product). A token in a mixture keeps that, its own input and its output for each expert that works on it, besides
    the router's scores. Attention is taken not to store its T × T weights (Dao et al. 2022, "FlashAttention"); where it
    does, `stored_length` = T adds sh · T for each layer. Norms and the order of parts are this model's: Korthikanti et al. 2022, "Reducing Activation Recomputation in Large
    Transformer Models", section 4.1, count GPT's.
    """
    s, width, head = dtype_bytes, config.hidden_size, config.head_size
    heads, groups = config.num_attention_heads, config.num_key_value_heads
    norm = FLOAT32_BYTES + s
    layer = 2 * norm * width + 2 * s * width + s * (3 * heads + 2 * groups) * head + FLOAT32_BYTES * heads
    layer += s * heads * stored_length
    if config.qk_norm:
        layer += norm * (heads + groups) * head
    if config.use_moe:
        used = config.num_experts_per_tok
        layer += 4 * s * config.expert_size * (used + config.n_shared_experts)
        layer += 2 * s * width * used + FLOAT32_BYTES * config.num_experts
    else:
        layer += 4 * s * config.feed_forward_size
    return config.num_hidden_layers * layer + norm * width


def inference_memory(config: ModelConfig, dtype_bytes: float, context: int) -> float:
    """Bytes to write text of `context` positions, one sequence: every parameter (also the idle experts) and the cache."""
    cache = kv_cache_bytes(config, context, dtype_bytes=max(dtype_bytes, BFLOAT16_BYTES))
    return dtype_bytes * parameter_counts(config).total + cache
