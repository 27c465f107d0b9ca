"""The lesson on the feed-forward: its experiments against formulas, its exercise in a model, and everything run."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest
import torch

from lessons.catalogue import claims_of, load_experiment
from lessons.checking import load_check
from lessons.doctor_runs import examine_by_running
from lessons.lesson import load_lesson
from minimind.events import Claim, Event, Heatmap, Level, Scalars, Table
from minimind.experiment import Value
from minimind.lab.feed_forward import facts_network, inner_activations, neuron_off, recall_without, silenced
from minimind.lab.tasks import Facts, accuracy
from minimind.lab.tiny import tiny_model
from minimind.model.variants.feed_forward import PLAIN, PlainFeedForward, set_feed_forward

FACTS = Facts(count=40)


def _module(name: str) -> ModuleType:
    """The module that defines the experiment `name`, with its helpers."""
    return sys.modules[load_experiment(name).function.__module__]


def _run(name: str, **values: Value) -> tuple[list[Event], dict[str, Claim]]:
    experiment = load_experiment(name)
    events = list(experiment.run({**experiment.smoke, **values}))
    return events, {claim.id: claim for claim in claims_of(events)}


def test_nothing_is_wrong_when_it_runs() -> None:
    assert list(examine_by_running(slug="feed_forward")) == []


def test_a_wide_layer_without_activation_is_one_matrix() -> None:
    gap: Callable[[PlainFeedForward, torch.Tensor], float] = _module("nonlinearity").collapse_gap
    inputs = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    assert gap(PlainFeedForward(3, 64, PLAIN["linear"]), inputs) < 1e-5
    assert gap(PlainFeedForward(3, 64, PLAIN["relu"]), inputs) > 0.1


def test_the_best_line_parts_what_a_line_can_part() -> None:
    module = _module("nonlinearity")
    x = torch.linspace(-1, 1, 40)
    inputs = torch.stack((x, x.flip(0) ** 3, torch.ones(40)), 1)
    assert module.best_line(module.Points(inputs, (x > 0.3).float())) == 1.0
    corners = module.best_line(module._points("corners", torch.Generator().manual_seed(0)))
    assert 0.6 < corners < 0.8, "three of four corners at most"


def test_the_map_is_drawn_while_it_learns() -> None:
    events, claims = _run("nonlinearity", steps=40)
    assert {event.name for event in events if isinstance(event, Heatmap)} == {"map_linear_64", "map_active_64"}
    assert claims["linear_is_one_matrix"].holds is True
    assert claims["activation_bends"].holds is None, "too few steps to say"


def test_the_deep_stacks_have_the_parameters_of_the_wide_one() -> None:
    events, _ = _run("expansion")
    table = next(event for event in events if isinstance(event, Table) and event.name == "differences")
    sizes = {str(row[0]): float(row[-1]) for row in table.rows}
    for name in ("deep_one", "deep_none"):
        assert sizes[name] == pytest.approx(sizes["four"], rel=0.01)
    assert {event.name for event in events if isinstance(event, Level) and event.chart == "size"} == {
        "deep_one",
        "deep_none",
    }
    shown = [event.x for event in events if isinstance(event, Scalars) and event.chart == "size"]
    assert shown == sorted(shown)
    assert len(shown) == 5


def test_a_neuron_that_is_never_awake_counts_as_dead() -> None:
    zeros_and_dead = _module("activations").zeros_and_dead
    tokens = torch.arange(64)[None]
    model = tiny_model("T0", change=lambda model: set_feed_forward(model, "relu", 1.0))
    zeros, dead = zeros_and_dead(model, tokens)
    with torch.no_grad():
        for block in model.model.layers:
            block.get_submodule("mlp.up_proj").get_parameter("weight")[:8] = 0
    zeros_after, dead_after = zeros_and_dead(model, tokens)
    assert dead_after == pytest.approx(dead + 8 / 32, abs=0.05)
    assert zeros_after > zeros
    smooth = tiny_model("T0", change=lambda model: set_feed_forward(model, "silu", 1.0))
    assert zeros_and_dead(smooth, tokens) == (0.0, 0.0)


def test_the_kinds_have_equal_sizes() -> None:
    events, claims = _run("activations")
    table = next(event for event in events if isinstance(event, Table) and event.name == "differences")
    sizes = [float(row[-1]) for row in table.rows]
    assert max(sizes) / min(sizes) < 1.01
    histogram = next(event for event in events if isinstance(event, Heatmap))
    assert all(sum(row) == pytest.approx(1, abs=1e-4) for row in histogram.rows)
    assert claims["bending_pays"].holds is None, "five steps say nothing"


def test_silencing_ends_with_the_block() -> None:
    model = facts_network(FACTS, 2)(0)
    tokens, labels = FACTS.facts()
    before = model(tokens)
    with silenced(model, 1, "feed_forward"):
        without = model(tokens)
    assert torch.equal(model(tokens), before)
    with torch.no_grad():
        model.model.layers[1].get_submodule("mlp.down_proj").get_parameter("weight").zero_()
    torch.testing.assert_close(model(tokens), without)
    assert recall_without(FACTS, 1, "feed_forward")(model) == accuracy(model, tokens, labels)


def test_a_neuron_off_is_a_column_of_zeros() -> None:
    model = facts_network(FACTS, 1)(0)
    tokens, _ = FACTS.facts()
    with neuron_off(model, 0, 5):
        without = model(tokens)
    with torch.no_grad():
        model.model.layers[0].get_submodule("mlp.down_proj").get_parameter("weight")[:, 5] = 0
    torch.testing.assert_close(model(tokens), without)


def test_networks_without_feed_forward_have_nothing_inside() -> None:
    model = facts_network(FACTS, 2, "none")(0)
    assert inner_activations(model, FACTS.facts()[0]) == []
    assert [tuple(layer.shape) for layer in inner_activations(facts_network(FACTS, 2)(0), FACTS.facts()[0])] == [
        (40, 2, 128)
    ] * 2


def test_attention_alone_is_as_large() -> None:
    sizes = {layers: facts_network(FACTS, layers, "none")(0).parameter_count() for layers in (2, 6)}
    assert sizes[6] == pytest.approx(facts_network(FACTS, 2)(0).parameter_count(), rel=0.01)
    assert sizes[2] == pytest.approx(sizes[6] / 2, rel=0.01)


def test_what_neurons_have_in_common_is_counted() -> None:
    module = _module("key_value")
    assert module.commonest(torch.tensor([[1, 1, 2, 3], [5, 5, 5, 5]])) == pytest.approx((0.5 + 1) / 2)
    ranks = module._ranks(facts_network(FACTS, 1)(0), FACTS)
    assert ranks.shape == (128, 32)
    assert ranks.min() == 0
    assert ranks.max() == 1
    torch.testing.assert_close(ranks.mean(1), torch.full((128,), 0.5))


def test_the_exercise_fits_into_a_model() -> None:
    exercise = next(one for one in load_lesson("feed_forward").exercises if one.name == "swiglu")
    check = load_check(exercise.directory / "check.py")
    model, tokens = tiny_model("T0"), torch.arange(20)[None]
    expected = model(tokens)
    assert check.install is not None
    check.install(model, check.reference)
    assert type(model.model.layers[0].mlp).__name__ == "SwiGLU"
    torch.testing.assert_close(model(tokens), expected)
    model(tokens).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_facts_are_guessed_before_they_are_learnt() -> None:
    events, claims = _run("facts", steps=5)
    chance = next(event for event in events if isinstance(event, Level) and event.chart == "loss_held_out")
    assert chance.value == 1 / 32
    assert claims["attention_alone_learns"].measured["equal"] < 30
    assert claims["attention_alone_learns"].holds is None, "too few steps to say"
    picture = next(event for event in events if isinstance(event, Heatmap))
    assert (len(picture.rows), len(picture.rows[0])) == (2, 2)


def test_widths_follow_the_two_thirds() -> None:
    exercise = next(one for one in load_lesson("feed_forward").exercises if one.name == "param_match")
    width = load_check(exercise.directory / "check.py").reference
    assert [width(512, 4, 64), width(768, 4, 64), width(4096, 4, 256)] == [1408, 2048, 11008]
