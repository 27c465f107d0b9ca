"""The laboratory: floors against formulas, paired arms, verdicts of several seeds."""

import math
from functools import partial

import pytest
import torch

from minimind.events import Band, Event, Progress, Scalars
from minimind.lab.arms import Arm, Results, differences, on_text, train_arms
from minimind.lab.floors import ngram_loss, uniform_loss
from minimind.lab.text import byte_text, evaluate
from minimind.lab.tiny import tiny_config, tiny_model
from minimind.lab.verdicts import agree, is_close, is_lower, means
from minimind.model.variants.norms import replace_norms


def test_sizes_are_those_of_the_course() -> None:
    assert 110_000 < tiny_model("T1").parameter_count() < 125_000
    assert tiny_config("T2").num_hidden_layers == 3
    assert tiny_config("T1", num_hidden_layers=5).num_hidden_layers == 5


def test_a_model_is_a_function_of_its_seed() -> None:
    first, second, other = (tiny_model("T0", seed=seed).lm_head.weight for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_text_is_bytes_and_held_out_is_other_text() -> None:
    text = byte_text(30)
    assert len(text.train) == 30_000
    assert int(text.train.max()) < 256
    tokens, labels = text.batch(torch.Generator().manual_seed(0), 4, 16)
    assert tokens.shape == labels.shape == (4, 16)
    assert torch.equal(tokens[:, 1:], labels[:, :-1])
    held_out = bytes(text.held_out[:200].tolist())
    assert held_out not in bytes(text.train.tolist())


def test_evaluation_of_an_untrained_model_is_about_ln_256() -> None:
    loss = evaluate(tiny_model("T0"), byte_text(30).evaluation(4, 32))
    assert loss == pytest.approx(math.log(256), abs=0.1)


def test_ngram_losses_by_hand() -> None:
    train = torch.tensor([0, 1, 0, 1, 0])
    # unigram: (count + 1/2) / (5 + 1)
    expected = -(math.log(3.5 / 6) + math.log(2.5 / 6)) / 2
    assert ngram_loss(train, torch.tensor([0, 1]), 1, vocabulary=2) == pytest.approx(expected)
    # bigram 0 → 1: seen twice; 0 occurs three times; smoothed by the unigram's 2.5 / 6
    assert ngram_loss(train, torch.tensor([0, 1]), 2, vocabulary=2) == pytest.approx(-math.log((2 + 2.5 / 6) / 4))


def test_longer_contexts_predict_text_better() -> None:
    text = byte_text(60)
    losses = [ngram_loss(text.train, text.held_out, order) for order in (1, 2, 3)]
    assert uniform_loss() > losses[0] > losses[1] > losses[2]


def test_an_order_that_is_not_counted_is_refused() -> None:
    with pytest.raises(ValueError, match="order"):
        ngram_loss(torch.zeros(4).long(), torch.zeros(4).long(), 4)


def _compare(seeds: int) -> tuple[list[Event], Results]:
    arms = [
        Arm("rms", lambda seed: tiny_model("T0", seed=seed), {"norm": "rms"}),
        Arm(
            "none",
            lambda seed: tiny_model("T0", seed=seed, change=partial(replace_norms, kind="none")),
            {"norm": "none"},
        ),
    ]
    plan = on_text(byte_text(30), 10, seeds=seeds, batch=4, time=16)
    events = []
    stream = train_arms(arms, plan)
    while True:
        try:
            events.append(next(stream))
        except StopIteration as stop:
            return events, stop.value


def test_arms_are_trained_in_lockstep_and_measured_once_a_seed() -> None:
    events, results = _compare(2)
    points = [event for event in events if isinstance(event, Scalars)]
    assert [event.x for event in points] == [5, 10]
    assert points[0].values.keys() == {"rms", "none"}
    assert {len(numbers) for numbers in results.measured["held_out"].values()} == {2}
    assert results.mean("rms") < math.log(256)
    bands = [event for event in events if isinstance(event, Band)]
    assert {band.name for band in bands} == {"rms", "none"}
    assert all(low <= high for band in bands for low, high in zip(band.low, band.high, strict=True))
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert last.done == last.total


def test_the_same_comparison_gives_the_same_numbers() -> None:
    assert _compare(1)[1].measured == _compare(1)[1].measured


def test_shared_tensors_start_equal_whatever_else_an_arm_draws() -> None:
    from minimind.lab.arms import _paired

    arms = [
        Arm("narrow", lambda seed: tiny_model("T0", seed=seed)),
        Arm("wide", lambda seed: tiny_model("T0", seed=seed, intermediate_size=200)),
    ]
    models = _paired(arms, 3)
    name = "model.layers.1.self_attn.q_proj.weight"
    assert torch.equal(models["narrow"].get_parameter(name), models["wide"].get_parameter(name))


def test_differences_name_the_one_thing_that_differs() -> None:
    arms = [
        Arm("a", lambda seed: tiny_model("T0", seed=seed), {"heads": "2"}),
        Arm("b", lambda seed: tiny_model("T0", seed=seed, num_attention_heads=4), {"heads": "4"}),
    ]
    rows = differences(arms).rows
    assert rows[1][:2] == ("b", "heads: 2 → 4")
    assert rows[0][2] == tiny_model("T0").parameter_count()


def test_an_arm_may_not_change_what_the_first_does_not_state() -> None:
    arms = [
        Arm("a", lambda seed: tiny_model("T0", seed=seed)),
        Arm("b", lambda seed: tiny_model("T0", seed=seed), {"x": "1"}),
    ]
    with pytest.raises(ValueError, match="x"):
        differences(arms)


def test_verdicts() -> None:
    assert is_lower([1.0, 1.1], [1.3, 1.2]) is True
    assert is_lower([1.3, 1.2], [1.0, 1.1]) is False
    assert is_lower([1.0, 1.3], [1.2, 1.1]) is None, "seeds disagree"
    assert is_lower([1.0], [1.01]) is None, "smaller than noise"
    assert is_lower([1.0], [math.inf]) is True
    assert is_lower([math.inf], [math.inf]) is None
    assert is_close([1.0, 2.0], [1.01, 2.02], 0.1) is True
    assert is_close([1.0, 2.0], [1.5, 2.5], 0.1) is False
    assert is_close([1.0, 2.0], [1.01, 2.5], 0.1) is None
    assert agree([True, True]) is True
    assert agree([True, False]) is None
    assert means(a=[1, 3], b=[2, 2]) == {"a": 2, "b": 2, "seeds": 2}
