"""Several texts at once: each of its own length, each ends on its own, each as if it were written alone.

A step reads every weight once for all of them, so on one machine several texts take little longer than one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from minimind.config import SampleConfig
from minimind.inference.engine import PREFILL_CHUNK, Engine
from minimind.inference.native.decoder import NativeDecoder, uncovered
from minimind.inference.writing import Token, Writing
from minimind.model.cache import Cache


class Readers(Protocol):
    """Keeps what was read of several texts."""

    def begin(self) -> Tensor:
        """Read the prompts; the logits [texts, vocabulary] after each."""
        ...

    def read(self, texts: Sequence[int], tokens: Sequence[int]) -> Tensor:
        """Read a token for each of `texts` (their numbers); the logits [texts, vocabulary] after each."""
        ...


def write_batch(
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    config: SampleConfig,
    *,
    stop: Callable[[], bool] | None = None,
    top: int = 0,
) -> Iterator[tuple[int, Token]]:
    """Write after each of `prompts` until the model ends it or it has `config.max_new_tokens`.

    Yields the number of the text and its next token, in the order in which they are written; the last token of each
    text has its `finish`. With a seed every text is drawn as `Engine.generate` would draw it with that seed. `stop` is
    asked before every round and ends all texts. A prompt that leaves no room for the answer is cut from the left.
    Raises ValueError where there are no prompts, or tokens outside the vocabulary.
    """
    if not prompts:
        raise ValueError("a batch is one or more prompts")
    writings = []
    for prompt in prompts:
        fitted, _ = engine.fit(prompt, config)
        limit = min(config.max_new_tokens, engine.context - len(fitted))
        writings.append(Writing(engine.tokenizer, fitted, config, stop_ids=engine.stop_ids, limit=limit, top=top))
    capacity = max(len(writing.tokens) + writing.room for writing in writings)
    texts = [list(writing.tokens) for writing in writings]
    readers = open_readers(engine, texts, capacity)
    logits = readers.begin()  # [texts, vocabulary]
    active = list(range(len(writings)))
    while not (stop is not None and stop()):
        for text, row in zip(active, logits[:, : engine.tokenizer.vocab_size], strict=True):
            yield text, writings[text].take(row)
        active = [text for text in active if writings[text].finish is None]
        if not active:
            return
        logits = readers.read(active, [writings[text].tokens[-1] for text in active])  # [texts, vocabulary]
    for text in active:
        yield text, writings[text].cancel()


def open_readers(engine: Engine, texts: list[list[int]], capacity: int) -> Readers:
    """What reads `texts`, each of which will have at most `capacity` tokens, on the engine's fastest way."""
    native = engine.native if uncovered(engine.model) is None else None
    return _SeparateReaders(engine, native, texts, capacity) if native else _PaddedReaders(engine, texts, capacity)


class _SeparateReaders:
    """A cache a text, read together by the compiled step: nothing is padded, and a text that has ended costs nothing.

    Of equal texts only the first is read at the beginning; the others get a copy of its cache.
    """

    def __init__(self, engine: Engine, native: NativeDecoder, texts: list[list[int]], capacity: int) -> None:
        self._model, self._native, self._texts = engine.model, native, texts
        dtype = engine.model.model.embed_tokens.weight.dtype
        self._caches = [Cache(engine.config, 1, capacity, dtype=dtype) for _ in texts]

    @torch.inference_mode()
    def begin(self) -> Tensor:
        rows: list[Tensor] = []
        first: dict[tuple[int, ...], int] = {}
        for number, (text, cache) in enumerate(zip(self._texts, self._caches, strict=True)):
            same = first.setdefault(tuple(text), number)
            if same < number:
                cache.copy_from(self._caches[same])
                rows.append(rows[same])
                continue
            for start in range(0, len(text), PREFILL_CHUNK):
                x = self._model.hidden(torch.tensor([text[start : start + PREFILL_CHUNK]]), cache=cache)
            rows.append(self._model.lm_head(x[0, -1]).float())  # [vocabulary]
        return torch.stack(rows)  # [texts, vocabulary]

    def read(self, texts: Sequence[int], tokens: Sequence[int]) -> Tensor:
        return self._native.read_each([self._caches[text] for text in texts], tokens)  # [texts, vocabulary]


class _PaddedReaders:
    """One cache for all texts, read by torch: prompts are padded on the left, so that all end at the same column.

    Padding is masked: no text looks at it. A text that has ended is carried along.
    """

    def __init__(self, engine: Engine, texts: list[list[int]], capacity: int) -> None:
        self._model, self._device = engine.model, engine.model.model.embed_tokens.weight.device
        self._longest = max(map(len, texts))
        self._padding = torch.tensor([self._longest - len(text) for text in texts], device=self._device)  # [texts]
        pad = engine.config.pad_token_id
        rows = [[pad] * (self._longest - len(text)) + text for text in texts]
        self._prompts = torch.tensor(rows, device=self._device)  # [texts, time]
        dtype = engine.model.model.embed_tokens.weight.dtype
        room = capacity + int(self._padding.max())
        self._cache = Cache(engine.config, len(texts), room, dtype=dtype, device=self._device)

    def begin(self) -> Tensor:
        return self._run(self._prompts)  # [texts, vocabulary]

    def read(self, texts: Sequence[int], tokens: Sequence[int]) -> Tensor:
        column = torch.full((len(self._padding), 1), int(self._prompts[0, -1]), device=self._device)  # [texts, 1]
        column[list(texts), 0] = torch.tensor(list(tokens), device=self._device)  # [chosen]
        return self._run(column)[list(texts)]  # [texts, vocabulary]

    @torch.inference_mode()
    def _run(self, tokens: Tensor) -> Tensor:
        """Read `tokens` [texts, time]; the logits [texts, vocabulary] after the last."""
        start, end = self._cache.length, self._cache.length + tokens.shape[1]
        columns = torch.arange(end, device=self._device)  # [length]
        queries = columns[start:, None]  # [time, 1]
        real = columns[None, None, :] >= self._padding[:, None, None]  # [texts, 1, length]
        # A padded position looks at itself: to look at nothing would be a division by zero.
        mask = ((columns[None] <= queries) & real) | (columns[None] == queries)  # [texts, time, length]
        positions = (columns[None, start:] - self._padding[:, None]).clamp(min=0)  # [texts, time]
        x = self._model.hidden(tokens, positions=positions, mask=mask[:, None], cache=self._cache)
        logits: Tensor = self._model.lm_head(x[:, -1])  # [texts, vocabulary]
        return logits.float().cpu()
