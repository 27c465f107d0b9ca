"""Sampling against cases worked out by hand, and by frequencies."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from minimind.config import SampleConfig
from minimind.errors import UserError
from minimind.inference.sample import (
    apply_temperature,
    next_token,
    repetition_penalty,
    top_k_filter,
    top_p_filter,
)

PROBABILITIES = (0.5, 0.3, 0.15, 0.05)
LOGITS = torch.tensor(PROBABILITIES).log()


def kept(logits: Tensor) -> list[int]:
    return torch.isfinite(logits).nonzero().flatten().tolist()


@pytest.mark.parametrize(
    ("p", "expected"), [(0.0, [0]), (0.49, [0]), (0.51, [0, 1]), (0.79, [0, 1]), (0.81, [0, 1, 2])]
)
def test_top_p_keeps_the_token_that_crosses(p: float, expected: list[int]) -> None:
    assert kept(top_p_filter(LOGITS, p)) == expected


def test_top_p_works_on_any_order_and_one_keeps_all() -> None:
    assert kept(top_p_filter(LOGITS[[3, 1, 0, 2]], 0.6)) == [1, 2]
    assert torch.equal(top_p_filter(LOGITS, 1.0), LOGITS)


@pytest.mark.parametrize(
    ("k", "expected"), [(0, [0, 1, 2, 3]), (1, [0]), (2, [0, 1]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])]
)
def test_top_k_keeps_k(k: int, expected: list[int]) -> None:
    filtered = top_k_filter(LOGITS, k)
    assert kept(filtered) == expected
    assert torch.equal(filtered[expected], LOGITS[expected])


def test_top_k_keeps_exactly_k_of_equal_scores() -> None:
    assert len(kept(top_k_filter(torch.zeros(8), 3))) == 3


def test_temperature_is_a_power_of_the_probabilities() -> None:
    powers = torch.tensor(PROBABILITIES) ** (1 / 0.5)
    torch.testing.assert_close(apply_temperature(LOGITS, 0.5).softmax(0), powers / powers.sum())
    torch.testing.assert_close(apply_temperature(LOGITS, 1e-300).softmax(0), torch.tensor([1.0, 0, 0, 0]))


def test_the_penalty_lowers_positive_and_negative_scores_once() -> None:
    logits = torch.tensor([2.0, -2.0, 0.0, 3.0, -1.0])
    expected = torch.tensor([1.0, -4.0, 0.0, 3.0, -1.0])
    assert torch.equal(repetition_penalty(logits, [0, 1, 1, 2, 0], 2.0), expected)
    assert torch.equal(repetition_penalty(logits, [], 2.0), logits)
    assert torch.equal(logits, torch.tensor([2.0, -2.0, 0.0, 3.0, -1.0]))


def test_zero_temperature_is_greedy_and_needs_no_generator() -> None:
    config = SampleConfig(temperature=0, top_p=0.1, top_k=1)
    assert next_token(torch.tensor([0.0, 5.0, 4.9]), [], config) == 1
    assert next_token(torch.tensor([0.0, 5.0, 4.9]), [1], config.replace(repetition_penalty=1.5)) == 2


def test_draws_follow_the_filtered_distribution() -> None:
    """20,000 draws; each frequency within four standard deviations of what the filters leave."""
    config = SampleConfig(temperature=2.0, top_k=3, top_p=0.7)
    three = torch.tensor(PROBABILITIES[:3]).sqrt()
    assert three[0] / three.sum() < 0.7 < three[:2].sum() / three.sum()  # the second of three crosses, and stays
    roots = three[:2] / three[:2].sum()
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor([next_token(LOGITS, [], config, generator) for _ in range(20_000)])
    frequencies = draws.bincount(minlength=4) / len(draws)
    deviation = (roots * (1 - roots) / len(draws)).sqrt()
    assert ((frequencies[:2] - roots).abs() < 4 * deviation).all()
    assert frequencies[2:].eq(0).all()


def test_the_same_seed_draws_the_same() -> None:
    config = SampleConfig(temperature=1.0, top_p=1.0)
    first, second = (
        [next_token(torch.zeros(50), [], config, generator) for _ in range(20)]
        for generator in (torch.Generator().manual_seed(5), torch.Generator().manual_seed(5))
    )
    assert first == second
    assert len(set(first)) > 5


def test_a_diverged_model_is_said() -> None:
    with pytest.raises(UserError, match="not numbers"):
        next_token(torch.tensor([0.0, math.nan]), [], SampleConfig())


@settings(max_examples=200, deadline=None)
@given(
    logits=st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=30),
    temperature=st.floats(0.0, 10.0),
    k=st.integers(0, 40),
    p=st.floats(0.0, 1.0),
    penalty=st.floats(0.1, 10.0),
)
def test_some_token_of_the_vocabulary_always_comes_out(
    logits: list[float], temperature: float, k: int, p: float, penalty: float
) -> None:
    config = SampleConfig(temperature=temperature, top_k=k, top_p=p, repetition_penalty=penalty)
    drawn = next_token(torch.tensor(logits), [0], config, torch.Generator().manual_seed(0))
    assert 0 <= drawn < len(logits)
