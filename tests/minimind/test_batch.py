"""Several texts at once are what each would be alone."""

from __future__ import annotations

import pytest
import torch

from minimind.config import SampleConfig
from minimind.inference.batch import write_batch
from minimind.inference.engine import Engine
from minimind.inference.writing import Token
from tests.minimind.tiny import tiny_model, tiny_tokenizer

PROMPTS = [[1, 60, 70, 80], [1, *range(40, 61)], [1], [1, 99, 98]]
CONFIGS = [SampleConfig(temperature=0, max_new_tokens=12), SampleConfig(temperature=0.9, seed=4, max_new_tokens=12)]


def engine_of(native: bool, **changes: object) -> Engine:
    engine = Engine(tiny_model(**changes), tiny_tokenizer())
    if native:
        assert engine.use_native() is None
    return engine


def collected(engine: Engine, config: SampleConfig, prompts: list[list[int]]) -> list[list[Token]]:
    texts: list[list[Token]] = [[] for _ in prompts]
    for index, token in write_batch(engine, prompts, config, top=2):
        texts[index].append(token)
    return texts


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("config", CONFIGS)
def test_every_text_is_what_it_is_alone(native: bool, config: SampleConfig) -> None:
    engine = engine_of(native)
    engine.stop_ids = frozenset()
    fourth = list(engine.generate(PROMPTS[1], config))[3]
    engine.stop_ids = frozenset({fourth.id or 0})  # so that the texts end at different places
    alone = [list(engine.generate(prompt, config, top=2)) for prompt in PROMPTS]
    assert len({len(text) for text in alone}) > 1
    for wanted, text in zip(alone, collected(engine, config, PROMPTS), strict=True):
        assert [token.id for token in text] == [token.id for token in wanted]
        assert [token.finish for token in text] == [token.finish for token in wanted]
        assert "".join(token.text for token in text) == "".join(token.text for token in wanted)
        for one, other in zip(text, wanted, strict=True):
            assert one.probability == pytest.approx(other.probability, rel=1e-3)


def test_a_cancelled_batch_ends_every_text() -> None:
    asked = iter([False] * 3 + [True] * 9)
    engine = engine_of(True)
    engine.stop_ids = frozenset()
    texts: dict[int, list[Token]] = {}
    for index, token in write_batch(engine, PROMPTS, CONFIGS[0], stop=lambda: next(asked)):
        texts.setdefault(index, []).append(token)
    assert [[token.finish for token in text] for text in texts.values()] == [[None] * 3 + ["cancelled"]] * 4


def test_prompts_are_checked_and_cut() -> None:
    engine = engine_of(False)
    with pytest.raises(ValueError, match="one or more prompts"):
        next(write_batch(engine, [], CONFIGS[0]))
    with pytest.raises(ValueError, match="from 0 to 319"):
        next(write_batch(engine, [[1], [320]], CONFIGS[0]))
    long = [1, *range(40, 140)]
    texts = collected(engine, CONFIGS[0], [long, [1, 60]])
    assert [token.id for token in texts[0]] == [token.id for token in engine.generate(long, CONFIGS[0])]


def test_padding_is_never_looked_at() -> None:
    """Whatever stands in a padding token's embedding."""
    engine = engine_of(False)
    plain = collected(engine, CONFIGS[0], PROMPTS)
    engine.model.lm_head.weight = torch.nn.Parameter(engine.model.lm_head.weight.detach().clone())
    with torch.no_grad():
        engine.model.model.embed_tokens.weight[engine.config.pad_token_id] *= -7
    assert [[token.id for token in text] for text in collected(engine, CONFIGS[0], PROMPTS)] == [
        [token.id for token in text] for text in plain
    ]
