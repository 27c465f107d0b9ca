"""The stream of tokens is what the plain model would say, and ends for the right reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from minimind.config import SampleConfig
from minimind.data.chat import encode_prompt
from minimind.errors import UserError
from minimind.inference.engine import Engine, Token
from minimind.model.cache import Cache
from minimind.model.probe import attention_weights
from tests.minimind.tiny import save_tiny, tiny_model, tiny_tokenizer

GREEDY = SampleConfig(temperature=0, max_new_tokens=12)
PROMPT = [1, 60, 70, 80]


@pytest.fixture
def engine() -> Engine:
    return Engine(tiny_model(), tiny_tokenizer())


def never_ending(engine: Engine) -> Engine:
    engine.stop_ids = frozenset()
    return engine


@torch.inference_mode()
def uncached(engine: Engine, prompt: list[int], count: int) -> list[tuple[int, float]]:
    """Greedy decoding the slow way: the whole text again for every token."""
    tokens, written = list(prompt), []
    for _ in range(count):
        probabilities = engine.model(torch.tensor([tokens]))[0, -1].softmax(0)
        written.append((int(probabilities.argmax()), float(probabilities.max())))
        tokens.append(written[-1][0])
    return written


def ids(tokens: list[Token]) -> list[int | None]:
    return [token.id for token in tokens]


def test_greedy_tokens_and_probabilities_are_those_of_the_uncached_model(engine: Engine) -> None:
    written = list(never_ending(engine).generate(PROMPT, GREEDY))
    expected = uncached(engine, PROMPT, 12)
    assert ids(written) == [token for token, _ in expected]
    for token, (_, probability) in zip(written, expected, strict=True):
        assert token.probability == pytest.approx(probability, abs=1e-4)
    assert [token.finish for token in written] == [None] * 11 + ["length"]
    assert [token.seconds for token in written] == sorted(token.seconds for token in written)


def test_a_long_prompt_read_in_pieces_continues_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = never_ending(Engine(tiny_model(), tiny_tokenizer()))
    prompt = [1, *range(40, 75)]
    expected = uncached(engine, prompt, 12)
    monkeypatch.setattr("minimind.inference.engine.PREFILL_CHUNK", 7)
    assert ids(list(engine.generate(prompt, GREEDY))) == [token for token, _ in expected]


def test_a_common_beginning_is_not_read_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = Cache.reserve

    def count(cache: Cache, time: int) -> None:
        read.append(time)
        original(cache, time)

    monkeypatch.setattr(Cache, "reserve", count)
    first = list(never_ending(engine).generate(PROMPT, GREEDY))
    again = PROMPT + [token.id for token in first[:5] if token.id is not None]
    read.clear()
    continued = list(engine.generate([*again, 90, 91], GREEDY))
    assert read[0] == 2
    assert ids(continued) == [token for token, _ in uncached(engine, [*again, 90, 91], 12)]

    longer = [*again, 90, 91, continued[0].id or 0, 95]
    read.clear()
    assert ids(list(engine.generate(longer, GREEDY))) == [token for token, _ in uncached(engine, longer, 12)]
    assert read[0] == 1

    read.clear()
    list(engine.generate(PROMPT, GREEDY.replace(seed=1)))
    assert read[0] == len(PROMPT)
    engine.forget()
    read.clear()
    list(engine.generate(PROMPT, GREEDY))
    assert read[0] == len(PROMPT)


def test_a_seed_repeats_whatever_was_written_before(engine: Engine) -> None:
    config = SampleConfig(temperature=1.5, top_p=1.0, seed=7, max_new_tokens=20)
    first = list(engine.generate(PROMPT, config))
    list(engine.generate([*PROMPT, 90, 91, 92], GREEDY))
    assert ids(list(engine.generate(PROMPT, config))) == ids(first)
    assert ids(list(engine.generate(PROMPT, config.replace(seed=8)))) != ids(first)


@pytest.mark.parametrize("name", ["eos_id", "bos_id"])
def test_the_end_of_a_turn_ends_the_stream_without_a_trace_in_the_text(engine: Engine, name: str) -> None:
    end: int = getattr(engine.tokenizer, name)
    engine.model.lm_head.register_forward_hook(
        lambda module, inputs, logits: logits.index_fill(-1, torch.tensor(end), 1e4)
    )
    (token,) = engine.generate(PROMPT, GREEDY)
    assert (token.id, token.text, token.finish) == (end, "", "stop")
    assert token.probability == pytest.approx(1.0)


def test_characters_are_streamed_whole(engine: Engine) -> None:
    """A model made to say a Chinese sentence and an emoji, byte by byte, then half a character and the end of its room."""
    wanted = engine.tokenizer.encode("好🙂a") + engine.tokenizer.encode("🙂")[:2]
    assert len(wanted) > 6
    script = iter(wanted)

    def say(module: object, inputs: object, logits: torch.Tensor) -> torch.Tensor:
        return torch.full_like(logits, -50.0).index_fill(-1, torch.tensor(next(script)), 0.0)

    engine.model.lm_head.register_forward_hook(say)
    written = list(engine.generate(PROMPT, SampleConfig(temperature=0, max_new_tokens=len(wanted))))
    assert "".join(token.text for token in written) == "好🙂a\ufffd"
    assert all("\ufffd" not in token.text for token in written[:-1])
    assert "" in [token.text for token in written]


def test_alternatives_are_the_likeliest_of_the_models_own_distribution(engine: Engine) -> None:
    config = SampleConfig(temperature=3.0, top_k=2, seed=0, max_new_tokens=3)
    token = next(iter(engine.generate(PROMPT, config, top=4)))
    with torch.inference_mode():
        probabilities = engine.model(torch.tensor([PROMPT]))[0, -1].softmax(0)
    best = probabilities.topk(4)
    assert [label for label, _ in token.alternatives] == [
        engine.tokenizer.token_label(i) for i in best.indices.tolist()
    ]
    assert [share for _, share in token.alternatives] == pytest.approx(best.values.tolist(), abs=1e-5)
    assert token.id is not None
    assert token.probability == pytest.approx(float(probabilities[token.id]), abs=1e-5)


def test_attention_shown_is_that_of_the_position_that_predicted(engine: Engine) -> None:
    first, second, *_ = never_ending(engine).generate(PROMPT, GREEDY, attention=True)
    assert first.id is not None
    for token, text in ((first, PROMPT), (second, [*PROMPT, first.id])):
        expected = [layer[0, :, -1].mean(0) for layer in attention_weights(engine.model, torch.tensor([text]))]
        assert len(token.attention) == 2
        for row, wanted in zip(token.attention, expected, strict=True):
            torch.testing.assert_close(torch.tensor(row), wanted, rtol=1e-3, atol=1e-4)
    assert next(iter(engine.generate(PROMPT, GREEDY))).attention == ()


def test_cancelling_ends_between_tokens_and_the_engine_goes_on(engine: Engine) -> None:
    never_ending(engine)
    asked = iter([False] * 4 + [True] * 9)
    written = list(engine.generate(PROMPT, GREEDY, stop=lambda: next(asked)))
    assert [token.finish for token in written] == [None] * 3 + ["cancelled"]
    assert written[-1].id is None
    assert [token.finish for token in engine.generate(PROMPT, GREEDY, stop=lambda: True)] == ["cancelled"]
    assert ids(list(engine.generate(PROMPT, GREEDY))) == [token for token, _ in uncached(engine, PROMPT, 12)]


def test_an_abandoned_stream_leaves_the_engine_usable(engine: Engine) -> None:
    stream = never_ending(engine).generate(PROMPT, GREEDY)
    next(stream)
    next(stream)
    stream.close()
    assert ids(list(engine.generate(PROMPT, GREEDY))) == [token for token, _ in uncached(engine, PROMPT, 12)]


def test_a_prompt_beyond_the_context_is_cut_from_the_left_and_said(engine: Engine) -> None:
    prompt = [1, *range(40, 140)]
    written = list(never_ending(engine).generate(prompt, GREEDY))
    assert ids(written) == [token for token, _ in uncached(engine, prompt[-(64 - 12) :], 12)]
    assert [note.en for note in engine.notes] == [
        "the first 49 of 101 prompt tokens were left out: the model reads 64 tokens at once"
    ]
    assert engine.prompt_tokens == 52
    list(engine.generate(PROMPT, GREEDY))
    assert (engine.notes, engine.prompt_tokens) == ((), 4)


def test_writing_stops_where_the_context_is_full(engine: Engine) -> None:
    written = list(never_ending(engine).generate(PROMPT, GREEDY.replace(max_new_tokens=1000)))
    assert len(written) == 64 - len(PROMPT)
    assert written[-1].finish == "length"


def test_a_prompt_outside_the_vocabulary_is_refused(engine: Engine) -> None:
    for prompt in ([], [320], [-1]):
        with pytest.raises(ValueError, match="from 0 to 319"):
            list(engine.generate(prompt, GREEDY))


def test_the_repetition_penalty_leaves_the_end_of_text_alone(engine: Engine) -> None:
    """Every earlier turn ends with the stop token: penalised, no answer would ever end."""
    end = engine.tokenizer.eos_id
    scores = torch.zeros(320).index_put((torch.tensor([70, 71, 72, end]),), torch.tensor([1.0, 0.9, 0.8, 0.7]))
    engine.model.lm_head.register_forward_hook(lambda module, inputs, logits: scores.expand_as(logits))
    config = SampleConfig(temperature=0, repetition_penalty=5.0)
    assert [token.id for token in engine.generate([1, 70, end, 1], config)] == [71, 72, end]


def test_completion_starts_with_the_beginning_of_text(engine: Engine) -> None:
    tokens = [engine.tokenizer.bos_id, *engine.tokenizer.encode("the cat")]
    assert ids(list(engine.complete("the cat", GREEDY))) == ids(list(engine.generate(tokens, GREEDY)))


def test_chat_renders_the_conversation(engine: Engine) -> None:
    messages = [{"role": "user", "content": "cat?"}]
    tokens = encode_prompt(engine.tokenizer, messages)
    short = GREEDY.replace(max_new_tokens=5)
    assert ids(list(engine.chat(messages, short))) == ids(list(engine.generate(tokens, short)))


def test_old_messages_are_left_out_but_not_the_system_message(engine: Engine) -> None:
    system = {"role": "system", "content": "hm"}
    said = [{"role": role, "content": f"the cat sat {number}"} for number in range(9) for role in ("user", "assistant")]
    last = {"role": "user", "content": "and?"}
    config = GREEDY.replace(max_new_tokens=8)
    tokens, notes = engine.encode_chat([system, *said, last], config)
    assert len(tokens) <= 64 - 8
    kept = [[system, *said[start:], last] for start in range(2, len(said) + 1, 2)]
    assert tokens in [encode_prompt(engine.tokenizer, messages) for messages in kept]
    assert "oldest messages were left out" in notes[0].en
    list(engine.chat([system, *said, last], config))
    assert engine.notes == notes


@pytest.mark.parametrize(
    "messages",
    [[], "hello", None, [{"role": "user"}], [{"role": "god", "content": "x"}], [["user", "x"]], [{"content": 1}]],
)
def test_what_is_no_conversation_is_refused(engine: Engine, messages: Any) -> None:
    with pytest.raises(UserError, match="message"):
        engine.chat(messages, GREEDY)


def test_opening_by_path(tmp_path: Path) -> None:
    engine = Engine.open(save_tiny(tmp_path), device="cpu")
    assert engine.metadata == {"objective": "sft", "step": 100}
    assert engine.context == 64
    assert engine.model.lm_head.weight.dtype == torch.float32
    assert ids(list(engine.generate(PROMPT, GREEDY))) == ids(
        list(Engine(tiny_model(), tiny_tokenizer()).generate(PROMPT, GREEDY))
    )
    rounded = Engine.open(tmp_path, device="cpu", dtype="bfloat16")
    assert len(list(rounded.generate(PROMPT, GREEDY))) <= 12
    assert rounded.model.lm_head.weight.dtype == torch.bfloat16


def test_rows_beyond_the_tokenizers_vocabulary_are_never_written() -> None:
    engine = Engine(tiny_model(vocab_size=384), tiny_tokenizer())
    config = SampleConfig(temperature=10.0, top_p=1.0, seed=0, max_new_tokens=40)
    written = [token.id for token in never_ending(engine).generate(PROMPT, config)]
    assert len(written) == 40
    assert all(token is not None and token < 320 for token in written)
