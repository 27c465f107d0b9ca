"""The lesson on attention: its experiments against formulas, its exercises, and everything running it shows."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from types import ModuleType

import pytest
import torch

from lessons.catalogue import claims_of, load_experiment
from lessons.checking import load_check
from lessons.doctor_runs import examine_by_running
from lessons.exercise import solution_of
from lessons.lesson import lessons_directory
from minimind.errors import UserError
from minimind.events import Claim, Event, Heatmap, Progress, Scalars, Table
from minimind.experiment import Value
from minimind.lab.tiny import tiny_model
from minimind.model.cache import Cache
from minimind.model.variants.attention import set_mask

LESSON = lessons_directory() / "attention"


def _run(name: str, **values: Value) -> tuple[list[Event], dict[str, Claim]]:
    experiment = load_experiment(name)
    events = list(experiment.run({**experiment.smoke, **values}))
    return events, {claim.id: claim for claim in claims_of(events)}


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_is_wrong_when_it_runs() -> None:
    assert list(examine_by_running(slug="attention")) == []


def test_the_dictionary_gives_the_weight_of_the_formula() -> None:
    events, claims = _run("qkv_step")
    wanted = math.exp(9 / math.sqrt(6)) / (math.exp(9 / math.sqrt(6)) + 6)
    assert claims["the_look_up_finds_it"].measured["weight"] == pytest.approx(wanted, rel=1e-5)
    weights = next(event for event in events if isinstance(event, Heatmap) and event.name == "weights")
    for place, row in enumerate(weights.rows):
        assert sum(value for value in row if not math.isnan(value)) == pytest.approx(1, abs=1e-5)
        assert all(math.isnan(value) for value in row[place + 1 :])
    _, both = _run("qkv_step", tokens="A1B2A3A", temperature=0.05)
    assert both["the_look_up_finds_it"].measured["weight"] == pytest.approx(1, abs=1e-4)
    _, seeing = _run("qkv_step", causal=False)
    assert seeing["nothing_from_the_future"].holds is None


def test_scores_spread_as_the_root_and_entropy_has_a_ceiling() -> None:
    events, claims = _run("attention_scale", keys=32)
    assert claims["spread_grows_with_root"].measured["raw"] == pytest.approx(8, rel=0.1)
    entropies = [event.values for event in events if isinstance(event, Scalars) and event.chart == "entropy"]
    assert all(value <= math.log(32) + 1e-5 for values in entropies for value in values.values())
    assert all(values["by d"] > values["by √d"] > values["not at all"] for values in entropies)
    _, narrow = _run("attention_scale", largest=16)
    assert narrow["undivided_saturates"].holds is None
    assert narrow["prediction"].measured["choice"] == 2


@pytest.mark.parametrize(("strength", "tile"), [(1.0, 1), (1.0, 64), (30.0, 8), (100.0, 16)])
def test_tiles_equal_the_models_own_attention(strength: float, tile: int) -> None:
    _, claims = _run("flash_tiles", strength=strength, tile=tile, time=96)
    assert claims["tiles_are_exact"].holds is True
    assert claims["tiles_are_exact"].measured["error"] < 1e-5 * strength
    assert claims["rescaling_is_what_does_it"].holds is True


def test_an_untrained_model_leaks_only_without_the_mask() -> None:
    experiment = _module(LESSON / "experiments" / "mask_leak.py")
    tokens = torch.randint(0, 256, (2, 12), generator=torch.Generator().manual_seed(0))
    model = tiny_model()
    assert experiment.leak(model, tokens) == 0.0
    set_mask(model, "none")
    assert experiment.leak(model, tokens) > 1e-5


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_cache_bytes_are_two_times_layers_times_groups_times_size(groups: int) -> None:
    experiment = _module(LESSON / "experiments" / "grouped_queries.py")
    assert experiment.cache_bytes(groups) == 2 * 8 * groups * 96 * 2


def test_heads_cost_no_parameters_and_tying_saves_them() -> None:
    events, _ = _run("head_count")
    (table,) = [event for event in events if isinstance(event, Table) and event.name == "differences"]
    sizes = {str(row[0]): float(row[2]) for row in table.rows}
    assert sizes["1 head"] == sizes["4 heads"]
    assert sizes["2 layers"] > sizes["1 head"]
    shares = [event.done / event.total for event in events if isinstance(event, Progress) and event.total]
    assert shares == sorted(shares)
    events, claims = _run("tied_projections", text=False)
    (table,) = [event for event in events if isinstance(event, Table) and event.name == "differences"]
    sizes = {str(row[0]): float(row[2]) for row in table.rows}
    assert sizes["Q = K"] == sizes["K = V"] == sizes["separate"] - 2 * 64 * 64
    assert sizes["all"] == sizes["separate"] - 4 * 64 * 64
    assert "text_hardly_shows_it" not in claims


@pytest.mark.parametrize("name", ["mask_leak", "head_count", "grouped_queries", "tied_projections", "induction"])
def test_few_steps_decide_nothing_about_training(name: str) -> None:
    decided = {
        "mask_leak": {"one_test_finds_the_leak"},
        "grouped_queries": {"cache_shrinks_with_the_groups", "parameters_shrink_too"},
        "tied_projections": {"each_looks_at_itself"},
    }
    _, claims = _run(name)
    said = {claim.id for claim in claims.values() if claim.holds is not None} - {"prediction"}
    assert said == decided.get(name, set())


@pytest.mark.parametrize("name", ["sdpa", "causal_mask", "split_merge_heads", "gqa", "mha", "online_softmax"])
@pytest.mark.parametrize(("groups", "normed"), [(4, False), (2, True)])
def test_a_part_of_ones_own_in_the_model_changes_nothing(tmp_path: Path, name: str, groups: int, normed: bool) -> None:
    directory = LESSON / "exercises" / name
    check = load_check(directory / "check.py")
    file = tmp_path / "learner.py"
    file.write_text(solution_of((directory / "solution.py").read_text(encoding="utf-8")), encoding="utf-8")
    model = tiny_model(num_key_value_heads=groups, qk_norm=normed)
    tokens = torch.randint(0, 256, (2, 20), generator=torch.Generator().manual_seed(0))
    wanted = model(tokens).detach()
    assert check.install is not None
    check.install(model, getattr(_module(file), check.part))
    assert torch.allclose(model(tokens).detach(), wanted, atol=1e-5)
    cache = Cache(model.config, 2, 20)
    if name == "mha":
        with pytest.raises(UserError, match="cache"):
            model(tokens[:, :13], cache=cache)
    else:
        parts = [model(piece, cache=cache) for piece in (tokens[:, :13], tokens[:, 13:19], tokens[:, 19:])]
        assert torch.allclose(torch.cat(parts, 1).detach(), wanted, atol=1e-5)
