"""The lesson on position: its experiments against formulas, its exercises, and everything running it shows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice

import pytest
import torch

from lessons.catalogue import claims_of, load_experiment
from lessons.checking import load_check, self_test
from lessons.doctor_runs import examine_by_running
from lessons.lesson import lessons_directory
from minimind.events import Claim, Event, Heatmap, Level, Scalars, Table
from minimind.experiment import Value
from minimind.lab.floors import ngram_loss
from minimind.lab.text import byte_text
from minimind.lab.tiny import tiny_model
from minimind.model.cache import Cache
from minimind.model.transformer import rotary_frequencies, rotary_table

EXERCISES = lessons_directory() / "position" / "exercises"


def _run(name: str, **values: Value) -> tuple[list[Event], dict[str, Claim]]:
    experiment = load_experiment(name)
    events = list(experiment.run({**experiment.smoke, **values}))
    return events, {claim.id: claim for claim in claims_of(events)}


def _heatmaps(events: list[Event]) -> dict[str, Heatmap]:
    return {event.name: event for event in events if isinstance(event, Heatmap)}


def _points(events: list[Event], chart: str, series: str) -> Iterator[tuple[float, float]]:
    for event in events:
        if isinstance(event, Scalars) and event.chart == chart and series in event.values:
            yield event.x, event.values[series]


def test_nothing_is_wrong_when_it_runs() -> None:
    assert list(examine_by_running(slug="position")) == []


@pytest.mark.parametrize(
    ("shown", "causal", "equal"), [("none", False, True), ("none", True, False), ("rotary", False, False)]
)
def test_the_maps_of_attention_are_equal_where_order_is_invisible(shown: str, causal: bool, equal: bool) -> None:
    events, _ = _run("order_blind", shown=shown, causal=causal, sentence="alphabet")
    written, backwards = _heatmaps(events)["sentence"], _heatmaps(events)["backwards"]
    assert written.column_labels == tuple("abcdefgh")
    for row in written.rows:
        assert sum(row) == pytest.approx(1, abs=1e-5)
    difference = (torch.tensor(written.rows) - torch.tensor(backwards.rows)).abs().max()
    assert bool(difference < 1e-5) is equal


def test_one_layer_sees_a_bag_whatever_the_default_depth() -> None:
    _, claims = _run("order_blind", layers=1)
    assert claims["mask_shows_order"].holds is True
    assert claims["mask_needs_two_layers"].measured["one"] < 1e-5 < claims["mask_needs_two_layers"].measured["two"]


def test_turned_scores_make_a_toeplitz_map_and_added_ones_do_not() -> None:
    events, claims = _run("relative_distance", size=10, head_size=8)
    turned, added = (torch.tensor(_heatmaps(events)[name].rows) for name in ("rotation", "addition"))
    assert torch.allclose(turned[1:, 1:], turned[:-1, :-1], atol=1e-4)
    assert not torch.allclose(added[1:, 1:], added[:-1, :-1], atol=1e-1)
    by_distance = dict(_points(events, "score", "rotation"))
    assert by_distance[3.0] == pytest.approx(float(turned[5, 2]), abs=1e-4)
    assert claims["starting_angle_counts"].holds is True


def test_the_table_of_places_keeps_the_distance() -> None:
    events, _ = _run("relative_distance", query_at=9, key_at=2)
    (table,) = [event for event in events if isinstance(event, Table)]
    first, *later = table.rows
    assert first[:3] == (9.0, 2.0, 7.0)
    for row in later:
        assert row[2] == 7.0
        assert row[3] == pytest.approx(first[3], abs=2e-2)
        assert row[4] != pytest.approx(first[4], abs=2e-2)


def test_hands_are_as_far_apart_as_the_models_own_table_says() -> None:
    events, claims = _run("clock_hands", head_size=16, base=100.0)
    cosine, sine = rotary_table(torch.arange(50)[None], rotary_frequencies(16, 100.0))
    codes = torch.cat((cosine, sine), -1)[0, 0]  # [50, 16]
    for distance, apart in list(_points(events, "apart", "rope"))[:30]:
        assert apart == pytest.approx(float((codes[7 + int(distance)] - codes[7]).norm()), abs=1e-4)
    assert claims["few_hands_repeat"].measured == {"one": 10, "two": 70}


@pytest.mark.parametrize(
    ("head_size", "base", "trained", "never"), [(64, 1e6, 2048, 18), (96, 1e6, 32768, 18), (64, 1e4, 512, 16)]
)
def test_hands_that_never_turn_are_counted(head_size: int, base: float, trained: int, never: int) -> None:
    _, claims = _run("clock_hands", head_size=head_size, base=base, trained=trained)
    count = sum(2 * math.pi * base ** (2 * pair / head_size) > trained for pair in range(head_size // 2))
    assert claims["prediction"].measured["number"] == count == never
    period = claims["slowest_is_not_one_over_base"].measured["positions"]
    assert period == pytest.approx(2 * math.pi * base ** ((head_size - 2) / head_size), rel=1e-4)


def test_codes_and_positions_of_each_format_are_counted() -> None:
    events, claims = _run("angle_precision", positions=256)
    assert dict(_points(events, "codes", "float32"))[0.0] == 256
    frequency = 1e6 ** (-62 / 64)
    exact = [(math.cos(p * frequency), math.sin(p * frequency)) for p in range(256)]
    coarse = {tuple(row) for row in torch.tensor(exact, dtype=torch.float64).bfloat16().tolist()}
    assert claims["float32_tells_slow_positions_apart"].measured["bfloat16"] == pytest.approx(len(coarse), abs=2)
    measured = claims["bfloat16_positions_collide"].measured
    assert (measured["first"], measured["float16_first"]) == (2**8 + 1, 2**11 + 1)


def test_the_networks_of_the_ablation_differ_in_one_setting_and_fall_from_chance() -> None:
    events, claims = _run("position_ablation")
    differences = next(event for event in events if isinstance(event, Table) and event.name == "differences")
    assert [str(row[1]).count("→") for row in differences.rows] == [0, 1, 1, 1, 1]
    for arm in ("rotary", "alibi", "none", "learned", "sinusoidal"):
        first = next(_points(events, "loss", arm))
        assert 4.5 < first[1] < math.log(256)
    levels = {event.name: event.value for event in events if isinstance(event, Level)}
    text = byte_text()
    assert levels["bigram"] == pytest.approx(ngram_loss(text.train, text.held_out, 2))
    assert claims["distance_beats_place"].holds is None, "ten steps decide nothing"


def test_every_method_reads_the_length_asked_for_and_ten_steps_decide_nothing() -> None:
    events, claims = _run("extrapolate", factor=2.0)
    table = next(event for event in events if isinstance(event, Table) and event.name == "losses")
    assert [column.en for column in table.columns[1:]] == ["0–32", "32–64", "64–96", "96–128", "128–256"]
    assert [row[0] for row in table.rows] == ["rotary", "interpolate", "ntk", "yarn", "alibi", "none", "learned"]
    assert all(claim.holds is None for claim in claims.values() if claim.id != "prediction")


def test_the_curve_of_the_base_is_the_mean_cosine() -> None:
    events = list(islice(load_experiment("base_sweep").run({"head_size": 16}), 16))
    drawn = dict(_points(events, "reach", "base_10k"))
    assert list(drawn) == list(range(16))
    for exponent, value in drawn.items():
        expected = sum(math.cos(2**exponent * 1e4 ** (-2 * pair / 16)) for pair in range(8)) / 8
        assert value == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("name", ["rope_frequencies", "apply_rope", "sinusoidal_positions", "yarn_frequencies"])
def test_every_mistake_is_recognised_whatever_is_drawn(name: str) -> None:
    check = load_check(EXERCISES / name / "check.py")
    assert len(check.mutants) >= 10
    for seed in range(10):
        assert self_test(check, seed) == []


@pytest.mark.parametrize("name", ["rope_frequencies", "apply_rope"])
def test_a_learners_rotation_takes_the_place_of_the_models(name: str) -> None:
    check = load_check(EXERCISES / name / "check.py")
    assert check.install is not None
    model = tiny_model("T0", seed=1)
    tokens = torch.randint(0, 256, (2, 12), generator=torch.Generator().manual_seed(0))
    before = model(tokens)
    check.install(model, check.reference)
    assert torch.allclose(model(tokens), before, atol=1e-5)
    cache = Cache(model.config, 2, 12, dtype=torch.float32, device="cpu")
    parts = [model(tokens[:, :5], cache=cache), model(tokens[:, 5:6], cache=cache), model(tokens[:, 6:], cache=cache)]
    assert torch.allclose(torch.cat(parts, 1), before, atol=1e-5)
    wrong = check.mutants["half_the_exponent"]
    check.install(model, wrong)
    assert not torch.allclose(model(tokens), before, atol=1e-5)
