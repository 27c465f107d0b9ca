"""A model that writes: prompt in, a stream of tokens out, each with its probability and what else it might have been."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minimind.config import ModelConfig, SampleConfig
from minimind.data.chat import encode_prompt, prompt_style, tools_of
from minimind.data.tokenizer import Tokenizer
from minimind.events import Text
from minimind.hardware import choose_device, choose_dtype
from minimind.inference.graph import FixedStep, recorded_step
from minimind.inference.messages import check_messages
from minimind.inference.native.build import NativeUnavailable
from minimind.inference.native.decoder import NativeDecoder, changed, uncovered
from minimind.inference.quantize import QUANTISED, WEIGHT_FORMATS, WeightFormat
from minimind.inference.speculative import Lookahead, Proposer
from minimind.inference.writing import Stream, Token, Writing
from minimind.interop.opening import open_any
from minimind.model.cache import Cache
from minimind.model.locate import locate_model
from minimind.model.probe import watch_attention
from minimind.model.transformer import MiniMind

__all__ = ["Engine", "Stream", "Token"]

PREFILL_CHUNK = 512
"""Prompt tokens between two looks at whether the person has cancelled."""
LARGE = 20_000_000
"""Parameters from which reading half the bytes a token gains more than converting them costs (measured on a CPU)."""
AT_ONCE = 8
"""Tokens that the compiled step reads as fast as torch does, or faster; a longer piece of a prompt is left to torch."""
CACHE_STEP = 256
"""Caches are allocated in multiples of this many positions, so that a growing conversation seldom needs a new one."""


class Engine:
    """One model ready to write. Not for several threads at once.

    It remembers the keys and values of the last text and reuses those of a common beginning, so the weights must not
    change between two requests; call `forget` after changing them, and `use_native` where the compiled step writes.
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
        self.proposer: Proposer | None = None
        """What guesses the next tokens, so that several can be checked at once; it changes nothing but the speed."""
        self.drafted = self.accepted = 0
        """How many tokens of the latest request were guessed, and how many of those were right."""
        self._cache: Cache | None = None
        self._cached: list[int] = []
        self._native: NativeDecoder | None = None
        self._is_native = False
        self._recorded: FixedStep | None = None
        self._records = False
        self._is_plain = False

    @classmethod
    def open(cls, name: str | Path, device: str = "auto", dtype: str = "auto") -> Engine:
        """Open the model that `name` means to `locate_model`, with weights of `dtype`.

        `dtype` is auto, float32, bfloat16, int8 or int4; auto is bfloat16 where the hardware is fast at it and the model
        is large enough to gain by it, else float32. On a CPU tokens are written by the compiled step where there is
        one, in the metadata's ``notes`` is why not. int8 and int4 are for that step: prompts are read with the weights
        of auto, and where there is no step, those write too. Raises UserError where there is no such model, or it is
        damaged, or the device is not there.
        """
        chosen = choose_device(device)
        wish = "auto" if dtype in QUANTISED else dtype

        def precision(config: ModelConfig) -> torch.dtype:
            small = config.parameter_count() < LARGE
            return torch.float32 if wish == "auto" and small else choose_dtype(wish, chosen)

        exact = chosen.type == "cpu" and dtype in QUANTISED  # what is rounded twice is rounded worse
        model, tokenizer, metadata = open_any(locate_model(name), dtype=torch.float32 if exact else precision)
        engine = cls(model.to(chosen), tokenizer, metadata)
        format = next((one for one in WEIGHT_FORMATS if one == dtype), None)
        if chosen.type == "cpu" or dtype in QUANTISED:
            engine._note(engine.use_native(format))
        if exact:
            model.to(precision(model.config))
        engine.use_graph()
        return engine

    def use_native(self, format: WeightFormat | None = None, threads: int | None = None) -> Text | None:
        """Write by the compiled step, with weights in `format` (None: as the model has them); says why where it cannot.

        Weights that are not in that format already are copied. Without it, everything is done by torch.
        """
        self._native = None
        reason = uncovered(self.model)
        if reason is None:
            own: WeightFormat = "float32" if self.model.lm_head.weight.dtype == torch.float32 else "bfloat16"
            try:
                self._native = NativeDecoder(self.model, format or own, threads)
            except NativeUnavailable as error:
                reason = error.text
        if reason is None:
            return None
        return Text(
            f"tokens are written by torch, not by the compiled step (several times slower): {reason.en}",
            f"生成改由 torch 完成，没有使用编译的解码步（会慢几倍）：{reason.zh}",
        )

    def use_graph(self) -> None:
        """On a GPU, record the step of one token and replay it, as long as that works; elsewhere this does nothing."""
        self._records = self.model.lm_head.weight.device.type == "cuda"

    def use_torch(self) -> None:
        """Write by torch, with the weights that the model has."""
        self._native = None

    def _note(self, note: Text | None) -> None:
        if note is not None:
            self.metadata["notes"] = [*self.metadata.get("notes", ()), {"en": note.en, "zh": note.zh}]

    @property
    def format(self) -> str:
        """The format of the weights that write: float32, bfloat16, int8 or int4."""
        if self._native is not None:
            return self._native.format
        return str(self.model.lm_head.weight.dtype).removeprefix("torch.")

    @property
    def native(self) -> NativeDecoder | None:
        """The compiled step, where there is one."""
        return self._native

    @property
    def context(self) -> int:
        """How many tokens prompt and answer may have together."""
        return self.config.max_position_embeddings

    def forget(self) -> None:
        """Drop the keys and values of the last text, and the memory they take."""
        self._cache, self._cached, self._recorded = None, [], None

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
        style = prompt_style(self.tokenizer)
        head = list(messages[:1]) if messages[0]["role"] == "system" else []
        rest = list(messages[len(head) :])
        limit = self.context - self._room(config)
        tokens = encode_prompt(self.tokenizer, head + rest, tools=tools_of(head), style=style)
        while len(tokens) > limit and len(rest) > 1:
            rest.pop(0)
            while len(rest) > 1 and rest[0]["role"] != "user":
                rest.pop(0)
            tokens = encode_prompt(self.tokenizer, head + rest, tools=tools_of(head), style=style)
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
        token carries. While attention is watched nothing is guessed ahead. A prompt that leaves no room for the answer is
        cut from the left; `notes` (those given, and this) are in `self.notes` from the first token on. Raises
        ValueError for tokens outside the vocabulary.
        """
        self.drafted = self.accepted = 0
        prompt, cut = self.fit(tokens, config)
        self.notes, self.prompt_tokens = (*notes, *cut), len(prompt)
        limit = min(config.max_new_tokens, self.context - len(prompt))
        writing = Writing(self.tokenizer, prompt, config, stop_ids=self.stop_ids, limit=limit, top=top)
        ahead = Lookahead(self, writing, None if attention else self.proposer, config)
        with ExitStack() as watching:
            seen = watching.enter_context(watch_attention(self.model)) if attention else []
            logits = self._read_prompt(prompt, limit, stop, fresh=config.seed is not None)
            while logits is not None and not (stop is not None and stop()):
                token = writing.take(logits, ahead.draft, seen)
                self.drafted, self.accepted = ahead.proposed, ahead.accepted
                yield token
                if token.finish:
                    return
                logits = ahead.advance()
            yield writing.cancel()

    def scores(self, tokens: Sequence[int]) -> Tensor:
        """The logits [vocabulary] after `tokens`, of which what was read before is not read again.

        Raises ValueError for tokens outside the vocabulary and for more than the context holds.
        """
        if not 0 < len(tokens) <= self.context:
            raise ValueError(f"the model reads from 1 to {self.context} tokens, not {len(tokens)}")
        logits = self._read_prompt(list(tokens), 0, None, fresh=False)
        assert logits is not None
        return logits  # [vocabulary]

    def _room(self, config: SampleConfig) -> int:
        """How many positions of the context are kept free for the answer: half of it at most."""
        return min(config.max_new_tokens, max(1, self.context // 2))

    def fit(self, tokens: Sequence[int], config: SampleConfig) -> tuple[list[int], tuple[Text, ...]]:
        """The end of `tokens` that leaves room for an answer, and a note where that is not all of it.

        Raises ValueError for tokens outside the vocabulary.
        """
        if not tokens or not all(0 <= token < self.config.vocab_size for token in tokens):
            raise ValueError(f"a prompt is one or more tokens from 0 to {self.config.vocab_size - 1}")
        excess = len(tokens) + self._room(config) - self.context
        if excess <= 0:
            return list(tokens), ()
        note = Text(
            f"the first {excess:,} of {len(tokens):,} prompt tokens were left out: the model reads "
            f"{self.context:,} tokens at once",
            f"提示共 {len(tokens):,} 个词元，开头 {excess:,} 个没有送入模型：它一次最多读 {self.context:,} 个",
        )
        return list(tokens[excess:]), (note,)

    def _read_prompt(
        self, prompt: list[int], room: int, stop: Callable[[], bool] | None, *, fresh: bool
    ) -> Tensor | None:
        """Take in `prompt` and return the logits [vocabulary] after it; None where `stop` says so on the way.

        What the cache already holds of it is not computed again unless `fresh`: the numbers differ in their last
        digits, and a seed should give the same text whatever was written before.
        """
        self._is_native = self._native is not None and uncovered(self.model) is None
        self._is_plain = changed(self.model) is None
        needed = len(prompt) + room
        if self._cache is None or self._cache.capacity < needed:
            weight = self.model.model.embed_tokens.weight
            capacity = min(self.context, -(-needed // CACHE_STEP) * CACHE_STEP)
            self.forget()
            self._cache = Cache(self.config, 1, capacity, dtype=weight.dtype, device=weight.device)
        known = 0 if fresh else _common_length(self._cached, prompt[:-1])
        self.rewind(known)
        logits = None
        for start in range(known, len(prompt), PREFILL_CHUNK):
            if stop is not None and stop():
                return None
            logits = self.read(prompt[start : start + PREFILL_CHUNK], every=False)[-1]  # [vocabulary]
        return logits

    def rewind(self, length: int) -> None:
        """Forget what was read after the first `length` tokens."""
        if self._cache is not None:
            self._cache.truncate(length)
        del self._cached[length:]

    @torch.inference_mode()
    def read(self, tokens: list[int], *, every: bool = True) -> Tensor:
        """Take in `tokens` after what was read; the logits after each, or only the last, [time or 1, vocabulary]."""
        assert self._cache is not None
        # An embedding may be rounded up beyond the last token; those rows stand for nothing.
        size = self.tokenizer.vocab_size
        if self._native is not None and self._is_native and len(tokens) <= AT_ONCE:
            logits = self._native.read(self._cache, tokens)  # [time, vocabulary]
            self._cached += tokens
            return logits[:, :size]  # [time, vocabulary]
        recorded = self._record() if len(tokens) == 1 and self._records and self._is_plain else None
        if recorded is not None:
            self._cached += tokens
            return recorded.read(tokens[0])[None, :size].float().cpu()  # [1, vocabulary]
        device = self.model.model.embed_tokens.weight.device
        threads = torch.get_num_threads()
        try:
            if len(tokens) == 1:
                torch.set_num_threads(1)  # products of one row gain nothing from a second thread, and wait for it
            x = self.model.hidden(torch.tensor([tokens], device=device), cache=self._cache)[0]  # [time, hidden]
            self._cached += tokens
            scores: Tensor = self.model.lm_head(x if every else x[-1:])[:, :size]  # [time or 1, vocabulary]
        finally:
            torch.set_num_threads(threads)
        return scores.float().cpu()  # [time or 1, vocabulary]

    def _record(self) -> FixedStep | None:
        """The step that was recorded for the present cache, or is now."""
        assert self._cache is not None
        if self._recorded is None or self._recorded.cache is not self._cache:
            self._recorded = recorded_step(self.model, self._cache)
            self._records = self._recorded is not None
        return self._recorded


def _common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many items two sequences have in common from the start."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
