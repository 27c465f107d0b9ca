"""A model that writes: prompt in, a stream of tokens out, each with its probability and what else it might have been."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from minimind.config import ModelConfig, SampleConfig
from minimind.data.chat import encode_prompt
from minimind.data.tokenizer import Tokenizer
from minimind.events import Text
from minimind.hardware import choose_device, choose_dtype
from minimind.inference.messages import check_messages
from minimind.inference.sample import next_token
from minimind.interop.opening import open_any
from minimind.model.cache import Cache
from minimind.model.locate import locate_model
from minimind.model.probe import watch_attention
from minimind.model.transformer import MiniMind

Finish = Literal["stop", "length", "cancelled"]
PREFILL_CHUNK = 512
"""Prompt tokens between two looks at whether the person has cancelled."""
LARGE = 20_000_000
"""Parameters from which reading half the bytes a token gains more than converting them costs (measured on a CPU)."""
CACHE_STEP = 256
"""Caches are allocated in multiples of this many positions, so that a growing conversation seldom needs a new one."""


@dataclass(frozen=True, slots=True)
class Token:
    """One step of writing. The last one of a stream has `finish`.

    `text` is what the token completes (a character may take several tokens, so it can be empty). `probability` is the
    model's own for this token, before temperature and filters; `alternatives` are the likeliest tokens of that
    distribution, as labels. `seconds` counts from the request. `attention` has a row for each layer: how much the
    position that predicted this token looked at each earlier one, averaged over heads (only where asked for). A
    cancelled stream ends with a token that has neither id nor probability.
    """

    id: int | None
    text: str
    probability: float | None
    alternatives: tuple[tuple[str, float], ...] = ()
    seconds: float = 0.0
    finish: Finish | None = None
    attention: tuple[tuple[float, ...], ...] = ()


Stream: TypeAlias = Generator[Token, None, None]
"""Tokens as they are written; `close` ends it early."""


class Engine:
    """One model ready to write. Not for several threads at once.

    It remembers the keys and values of the last text and reuses those of a common beginning, so the weights must not
    change between two requests; call `forget` after changing them.
    """

    def __init__(self, model: MiniMind, tokenizer: Tokenizer, metadata: Mapping[str, Any] | None = None) -> None:
        """`model` is used as it is, on its device; it should be in evaluation mode."""
        self.model = model
        self.tokenizer = tokenizer
        self.config = model.config
        self.metadata: dict[str, Any] = dict(metadata or {})
        self.notes: tuple[Text, ...] = ()
        """What the latest request had to change (a prompt cut to fit), to be shown to the person."""
        self.prompt_tokens = 0
        """How many tokens the model read for the latest request."""
        self.stop_ids = frozenset({tokenizer.eos_id, tokenizer.bos_id, model.config.eos_token_id})
        """Tokens that end an answer: the end of a turn or text, and the beginning of a next one."""
        self._cache: Cache | None = None
        self._cached: list[int] = []

    @classmethod
    def open(cls, name: str | Path, device: str = "auto", dtype: str = "auto") -> Engine:
        """Open the model that `name` means to `locate_model`.

        `dtype` is auto, float32 or bfloat16; auto is bfloat16 where the hardware is fast at it and the model is large
        enough to gain by it. Raises UserError where there is no such model, or it is damaged, or the device is not
        there.
        """
        chosen = choose_device(device)

        def precision(config: ModelConfig) -> torch.dtype:
            small = config.parameter_count() < LARGE
            return torch.float32 if dtype == "auto" and small else choose_dtype(dtype, chosen)

        model, tokenizer, metadata = open_any(locate_model(name), dtype=precision)
        return cls(model.to(chosen), tokenizer, metadata)

    @property
    def context(self) -> int:
        """How many tokens prompt and answer may have together."""
        return self.config.max_position_embeddings

    def forget(self) -> None:
        """Drop the keys and values of the last text, and the memory they take."""
        self._cache, self._cached = None, []

    def complete(
        self, prompt: str, config: SampleConfig, *, stop: Callable[[], bool] | None = None, top: int = 0
    ) -> Stream:
        """Continue raw text, as a model does that was only pretrained; arguments as in `generate`."""
        return self.generate(self.encode_text(prompt), config, stop=stop, top=top)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        config: SampleConfig,
        *,
        stop: Callable[[], bool] | None = None,
        top: int = 0,
    ) -> Stream:
        """Answer a conversation of {"role", "content"} messages; other arguments as in `generate`.

        Where it is too long, the oldest messages are left out first. Raises UserError for messages that are none.
        """
        tokens, notes = self.encode_chat(messages, config)
        return self.generate(tokens, config, stop=stop, top=top, notes=notes)

    def encode_text(self, prompt: str) -> list[int]:
        """The ids of raw text as a pretrained model expects it: the beginning-of-text token and the text."""
        return [self.tokenizer.bos_id, *self.tokenizer.encode(prompt)]

    def encode_chat(
        self, messages: Sequence[Mapping[str, Any]], config: SampleConfig
    ) -> tuple[list[int], tuple[Text, ...]]:
        """The ids of a conversation up to where the answer begins, and a note where old messages did not fit."""
        check_messages(messages)
        style: Literal["minimind-3", "minimind-2"] = (
            "minimind-3" if "<think>" in self.tokenizer.added_tokens else "minimind-2"
        )
        head = list(messages[:1]) if messages[0]["role"] == "system" else []
        rest = list(messages[len(head) :])
        limit = self.context - self._room(config)
        tokens = encode_prompt(self.tokenizer, head + rest, style=style)
        while len(tokens) > limit and len(rest) > 1:
            rest.pop(0)
            while len(rest) > 1 and rest[0]["role"] != "user":
                rest.pop(0)
            tokens = encode_prompt(self.tokenizer, head + rest, style=style)
        dropped = len(messages) - len(head) - len(rest)
        if not dropped:
            return tokens, ()
        note = Text(
            f"the {dropped} oldest messages were left out: the model reads {self.context:,} tokens at once",
            f"最早的 {dropped} 条消息没有送入模型：它一次最多读 {self.context:,} 个词元",
        )
        return tokens, (note,)

    def generate(
        self,
        tokens: Sequence[int],
        config: SampleConfig,
        *,
        stop: Callable[[], bool] | None = None,
        top: int = 0,
        attention: bool = False,
        notes: tuple[Text, ...] = (),
    ) -> Stream:
        """Write after `tokens` until the model ends, `config.max_new_tokens` are written or the context is full.

        `stop` is asked before every token and ends the stream where it says True. `top` is how many alternatives each
        token carries. A prompt that leaves no room for the answer is cut from the left; `notes` (those given, and
        this) are in `self.notes` from the first token on. Raises ValueError for tokens outside the vocabulary.
        """
        began = time.monotonic()
        prompt = self._fit(tokens, config, notes)
        generator = torch.Generator()
        if config.seed is None:
            generator.seed()
        else:
            generator.manual_seed(config.seed)
        decoder = self.tokenizer.stream_decoder()
        history = set(prompt) - self.stop_ids
        limit = min(config.max_new_tokens, self.context - len(prompt))
        with ExitStack() as watching:
            seen = watching.enter_context(watch_attention(self.model)) if attention else []
            logits = self._read(prompt, limit, stop, fresh=config.seed is not None)
            for count in range(1, limit + 1):
                if logits is None or (stop is not None and stop()):
                    seconds = time.monotonic() - began
                    yield Token(None, decoder.finish(), None, seconds=seconds, finish="cancelled")
                    return
                chosen = next_token(logits, history, config, generator)
                history.add(chosen)
                ended = chosen in self.stop_ids
                finish: Finish | None = "stop" if ended else "length" if count == limit else None
                text = ("" if ended else decoder.push(chosen)) + (decoder.finish() if finish else "")
                probability, alternatives = self._distribution(logits, chosen, top)
                looked = tuple(tuple(layer[0, :, -1].mean(0).tolist()) for layer in seen)
                yield Token(chosen, text, probability, alternatives, time.monotonic() - began, finish, looked)
                if finish:
                    return
                logits = self._step([chosen])

    def _room(self, config: SampleConfig) -> int:
        """How many positions of the context are kept free for the answer: half of it at most."""
        return min(config.max_new_tokens, max(1, self.context // 2))

    def _fit(self, tokens: Sequence[int], config: SampleConfig, notes: tuple[Text, ...]) -> list[int]:
        if not tokens or not all(0 <= token < self.config.vocab_size for token in tokens):
            raise ValueError(f"a prompt is one or more tokens from 0 to {self.config.vocab_size - 1}")
        excess = len(tokens) + self._room(config) - self.context
        self.notes = notes
        if excess > 0:
            cut = Text(
                f"the first {excess:,} of {len(tokens):,} prompt tokens were left out: the model reads "
                f"{self.context:,} tokens at once",
                f"提示共 {len(tokens):,} 个词元，开头 {excess:,} 个没有送入模型：它一次最多读 {self.context:,} 个",
            )
            self.notes = (*notes, cut)
        prompt = list(tokens[max(0, excess) :])
        self.prompt_tokens = len(prompt)
        return prompt

    def _read(self, prompt: list[int], room: int, stop: Callable[[], bool] | None, *, fresh: bool) -> Tensor | None:
        """Take in `prompt` and return the logits [vocabulary] after it; None where `stop` says so on the way.

        What the cache already holds of it is not computed again unless `fresh`: the numbers differ in their last
        digits, and a seed should give the same text whatever was written before.
        """
        needed = len(prompt) + room
        if self._cache is None or self._cache.capacity < needed:
            weight = self.model.model.embed_tokens.weight
            capacity = min(self.context, -(-needed // CACHE_STEP) * CACHE_STEP)
            self._cached = []
            self._cache = Cache(self.config, 1, capacity, dtype=weight.dtype, device=weight.device)
        known = 0 if fresh else _common_length(self._cached, prompt[:-1])
        self._cache.truncate(known)
        del self._cached[known:]
        logits = None
        for start in range(known, len(prompt), PREFILL_CHUNK):
            if stop is not None and stop():
                return None
            logits = self._step(prompt[start : start + PREFILL_CHUNK])  # [vocabulary]
        return logits

    @torch.inference_mode()
    def _step(self, tokens: list[int]) -> Tensor:
        """Take in `tokens` after what the cache holds; returns the logits [vocabulary] after the last, on the CPU."""
        device = self.model.model.embed_tokens.weight.device
        threads = torch.get_num_threads()
        try:
            if len(tokens) == 1:
                torch.set_num_threads(1)  # products of one row gain nothing from a second thread, and wait for it
            x = self.model.hidden(torch.tensor([tokens], device=device), cache=self._cache)  # [1, time, hidden]
            self._cached += tokens
            # An embedding may be rounded up beyond the last token; those rows stand for nothing.
            logits: Tensor = self.model.lm_head(x[0, -1])[: self.tokenizer.vocab_size]  # [vocabulary]
        finally:
            torch.set_num_threads(threads)
        return logits.float().cpu()  # [vocabulary]

    def _distribution(self, logits: Tensor, chosen: int, top: int) -> tuple[float, tuple[tuple[str, float], ...]]:
        probabilities = logits.softmax(0)  # [vocabulary]
        if not top:
            return float(probabilities[chosen]), ()
        best = probabilities.topk(min(top, len(probabilities)))
        alternatives = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        labelled = tuple((self.tokenizer.token_label(token), share) for token, share in alternatives)
        return float(probabilities[chosen]), labelled


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many items two sequences have in common from the start."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
