"""The experiments of normalization against formulas, and their claims where they must fail."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from lessons.catalogue import claims_of, load_experiment, stream
from minimind.data.corpus import pretrain_document
from minimind.events import Claim, Event, Heatmap, Note, Progress, Scalars, Table
from minimind.experiment import Value


def events_of(name: str, values: Mapping[str, Value] | None = None) -> list[Event]:
    experiment = load_experiment(name)
    return list(stream(experiment, {**experiment.smoke, **(values or {})}))


def claims(events: list[Event]) -> dict[str, Claim]:
    return {claim.id: claim for claim in claims_of(events)}


def series(events: list[Event], chart: str, name: str) -> list[float]:
    return [e.values[name] for e in events if isinstance(e, Scalars) and e.chart == chart and name in e.values]


def test_he_initialisation_keeps_the_mean_square() -> None:
    """Without bias He keeps E[x²] from layer to layer; PyTorch's default divides it by 6."""
    factors: dict[str, list[float]] = {"he": [], "default": []}
    for initialisation, found in factors.items():
        values: dict[str, Value] = {"initialisation": initialisation, "bias": False, "width": 256, "depth": 6}
        spread = series(events_of("depth_signal", values), "spread", "none")
        found += [later / earlier for earlier, later in pairwise(spread[1:])]
    assert sum(factors["he"]) / len(factors["he"]) == pytest.approx(1.0, abs=0.12)
    assert sum(factors["default"]) / len(factors["default"]) == pytest.approx(1 / math.sqrt(6), abs=0.05)


def test_the_signals_fate_depends_on_what_the_claims_say() -> None:
    deep = claims(events_of("depth_signal"))
    assert all(claim.holds for claim in deep.values())
    assert deep["prediction"].measured["choice"] == 2
    shallow = claims(events_of("depth_signal", {"depth": 2}))
    assert shallow["signal_dies"].holds is False
    assert shallow["prediction"].measured["choice"] in {0, 1}
    unbiased = claims(events_of("depth_signal", {"bias": False}))
    assert unbiased["spread_misleads"].holds is False
    he = claims(events_of("depth_signal", {"initialisation": "he"}))
    assert he["signal_dies"].holds is False
    residual = claims(events_of("depth_signal", {"residual": True}))
    assert residual["signal_dies"].holds is False


def test_seeds_that_disagree_are_inconclusive() -> None:
    """At a depth where the threshold is crossed by luck the verdict must be open, or the seeds agree."""
    verdicts = set()
    for depth in range(6, 11):
        found = claims(events_of("depth_signal", {"depth": depth, "seeds": 6, "width": 32}))
        verdicts.add(found["signal_dies"].holds)
    assert None in verdicts


def test_depth_signal_streams_every_layer_of_three_charts() -> None:
    events = events_of("depth_signal", {"depth": 5})
    for chart in ("spread", "signal", "gradient"):
        layers = [e.x for e in events if isinstance(e, Scalars) and e.chart == chart and "none" in e.values]
        assert layers == [1, 2, 3, 4, 5]
    assert sum(isinstance(event, Table) for event in events) == 1


def test_overflow_begins_where_the_square_leaves_float16() -> None:
    (table,) = [event for event in events_of("half_precision_overflow") if isinstance(event, Table)]
    names = [column.en for column in table.columns]
    for row in table.rows:
        by_name: dict[str, Any] = dict(zip(names, row, strict=True))
        size = by_name["|x|"]
        assert by_name["exact"] == pytest.approx(size / math.sqrt(size**2 + 1e-6))
        assert by_name["float32"] == pytest.approx(by_name["exact"], rel=1e-6)
        assert (by_name["float16"] == 0.0) == (size**2 > 65504)


def test_epsilon_itself_underflows_in_float16() -> None:
    (table,) = [event for event in events_of("half_precision_overflow", {"eps": 1e-8}) if isinstance(event, Table)]
    smallest = dict(zip([column.en for column in table.columns], table.rows[0], strict=True))
    assert smallest["float16"] == math.inf
    assert smallest["float16, RMSNorm of the model"] == pytest.approx(math.sqrt(0.5), rel=1e-3)


@pytest.fixture(scope="module")
def grid() -> list[Event]:
    return events_of("depth_learning_rate")


def test_every_cell_of_the_map_is_filled(grid: list[Event]) -> None:
    maps = [event for event in grid if isinstance(event, Heatmap)]
    assert [len(event.rows) for event in maps] == [1, 2, 3, 4, 5, 6]
    assert maps[-1].row_labels == ("2 none", "2 post", "2 pre", "4 none", "4 post", "4 pre")
    assert maps[-1].column_labels == ("0.001", "0.003", "0.01", "0.03", "0.1")
    assert all(len(row) == 5 for row in maps[-1].rows)
    assert math.isnan(maps[-1].rows[3][4])
    (table,) = [event for event in grid if isinstance(event, Table)]
    assert len(table.rows) == 6


def test_all_arms_begin_at_chance_and_see_the_same_batches(grid: list[Event]) -> None:
    for arm in ("none", "post", "pre"):
        losses = series(grid, "loss_2", arm)
        assert len(losses) == 10
        assert losses[0] == pytest.approx(math.log(256), abs=0.02)
        assert losses[-1] < losses[0]


def test_the_floor_is_the_entropy_of_the_bytes(grid: list[Event]) -> None:
    text = "\n".join(pretrain_document(index) for index in range(400)).encode()
    counts = Counter(text)
    entropy = -sum(n / len(text) * math.log(n / len(text)) for n in counts.values())
    (drawn,) = set(series(grid, "loss_2", "byte frequencies"))
    assert drawn == pytest.approx(entropy, rel=1e-9)
    (note,) = [event for event in grid if isinstance(event, Note)]
    assert f"{entropy:.2f}" in note.text.en


def test_few_steps_decide_no_comparison(grid: list[Event]) -> None:
    found = claims(grid)
    assert found["none_diverges"].holds is True
    assert found["norm_widens_the_region"].holds is True
    for name in ("pre_norm_learns_in_most_cells", "post_norm_is_best_where_it_trains", "shallow_trains_without_norm"):
        assert found[name].holds is None


def test_an_experiment_can_be_stopped_and_reports_progress() -> None:
    experiment = load_experiment("depth_learning_rate")
    seen: list[Event] = []
    for event in stream(experiment, dict(experiment.smoke), stop=lambda: len(seen) >= 20):
        seen.append(event)
    assert len(seen) == 20
    shares = [event.done / event.total for event in seen if isinstance(event, Progress) and event.total]
    assert shares == sorted(shares)
    assert shares[-1] < 0.1
