"""The step with its position in a tensor is the plain step; recording it needs a GPU."""

from __future__ import annotations

import pytest
import torch

from minimind.config import SampleConfig
from minimind.inference.engine import Engine
from minimind.inference.graph import FixedStep, recorded_step
from minimind.model.cache import Cache
from tests.minimind.tiny import tiny_model, tiny_tokenizer

TOKENS = [5, 60, 70, 80, 5, 7, 300]


@pytest.mark.parametrize("changes", [{}, {"inference_rope_scaling": True, "max_position_embeddings": 4096}])
@torch.inference_mode()
def test_the_fixed_step_continues_what_the_plain_one_began(changes: dict[str, object]) -> None:
    model = tiny_model(**changes)
    expected = model(torch.tensor([TOKENS]))[0]
    cache = Cache(model.config, 1, 16)
    model(torch.tensor([TOKENS[:3]]), cache=cache)
    step = FixedStep(model, cache)
    for position in range(3, 6):
        torch.testing.assert_close(step.read(TOKENS[position]), expected[position], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(model(torch.tensor([TOKENS[6:]]), cache=cache)[0, 0], expected[6], rtol=1e-4, atol=1e-4)
    assert cache.length == 7
    cache.truncate(2)  # what lies beyond is not looked at
    model(torch.tensor([TOKENS[2:4]]), cache=cache)
    torch.testing.assert_close(step.read(TOKENS[4]), expected[4], rtol=1e-4, atol=1e-4)
    cache.length = 16
    with pytest.raises(ValueError, match="the cache holds 16"):
        step.read(1)


def test_what_cannot_be_recorded_is_left_alone() -> None:
    moe = tiny_model(use_moe=True)
    assert recorded_step(moe, Cache(moe.config, 1, 8)) is None
    full = Cache(tiny_model().config, 1, 8)
    full.length = 8
    assert recorded_step(tiny_model(), full) is None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_recorded_step_writes_the_same_text() -> None:
    config = SampleConfig(temperature=0, max_new_tokens=20)
    texts = []
    for device in ("cpu", "cuda"):
        engine = Engine(tiny_model().to(device), tiny_tokenizer())
        engine.use_graph()
        texts.append([token.id for token in engine.generate([1, 60, 70], config)])
    assert engine._recorded is not None
    assert texts[0] == texts[1]
