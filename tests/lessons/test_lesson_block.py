"""The lesson on the block: what its experiments hold equal, its exercise, and everything running it shows."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from lessons.catalogue import claims_of, load_experiment
from lessons.checking import load_check, run_check, self_test
from lessons.doctor_runs import examine_by_running
from lessons.lesson import find_exercise, load_lesson
from lessons.pages import DiagramBlock
from minimind.errors import UserError
from minimind.events import Claim, Event, Heatmap, Level, Note, Scalars, Table
from minimind.experiment import Value
from minimind.lab.switches import Switches, names
from minimind.lab.tiny import tiny_model
from minimind.model.cache import Cache


def _run(name: str, **values: Value) -> tuple[list[Event], dict[str, Claim]]:
    experiment = load_experiment(name)
    events = list(experiment.run({**experiment.smoke, **values}))
    return events, {claim.id: claim for claim in claims_of(events)}


def _sizes(events: list[Event]) -> dict[str, float]:
    """The parameters of each arm, as the table of differences says."""
    table = next(event for event in events if isinstance(event, Table) and event.name == "differences")
    return {str(row[0]): float(row[2]) for row in table.rows}


def _levels(events: list[Event]) -> dict[str, float]:
    return {event.name: event.value for event in events if isinstance(event, Level) and event.chart == "loss"}


def test_nothing_is_wrong_when_it_runs() -> None:
    assert list(examine_by_running(slug="block")) == []


def test_a_part_taken_out_takes_its_own_parameters_and_no_others() -> None:
    events, claims = _run("remove_one_part")
    sizes = _sizes(events)
    width, inner = 32, 88
    missing = {name: sizes["whole"] - size for name, size in sizes.items() if size != sizes["whole"]}
    assert missing == {
        "attention": 2 * (4 * width**2 + width),
        "feed_forward": 2 * (3 * width * inner + width),
        "input_norm": 2 * width,
        "post_attention_norm": 2 * width,
        "final_norm": width,
    }
    assert _levels(events)["uniform"] == pytest.approx(math.log(256))
    assert _levels(events)["bigram"] < _levels(events)["frequencies"] < _levels(events)["uniform"]
    assert claims["without_attention_it_cannot_beat_pairs"].holds is True
    assert claims["every_sublayer_counts"].holds is None


@pytest.mark.parametrize("name", ["sublayer_order", "one_residual"])
def test_rearranged_networks_have_the_same_parameters_and_start_untrained(name: str) -> None:
    events, _ = _run(name, **({"layers": 2} if name == "sublayer_order" else {"shallow": 2, "deep": 4}))
    sizes = _sizes(events)
    by_depth = {key.split()[-1]: size for key, size in sizes.items()} if name == "one_residual" else sizes
    assert len(set(by_depth.values())) == (2 if name == "one_residual" else 1)
    first = next(event for event in events if isinstance(event, Scalars) and event.chart == "loss")
    assert all(4 < value < math.log(256) + 0.05 for value in first.values.values())


def test_deep_and_wide_networks_are_of_one_size() -> None:
    events, _ = _run("deep_or_wide")
    sizes = list(_sizes(events).values())
    assert len(sizes) == 4
    assert max(sizes) <= 1.02 * min(sizes)


def test_the_map_has_a_row_for_each_depth_and_place() -> None:
    events, claims = _run("norm_place_map", deepest=8, sweep=True)
    maps = [event for event in events if isinstance(event, Heatmap)]
    assert maps[-1].row_labels == ("2 pre", "2 post", "2 sandwich", "8 pre", "8 post", "8 sandwich")
    assert maps[-1].column_labels == ("0.001", "0.003", "0.01")
    sizes = [event.values for event in events if isinstance(event, Scalars) and event.chart == "stream"]
    assert len(sizes) == 9
    assert all(values["post"] == pytest.approx(1, rel=0.02) for values in sizes[1:])
    assert claims["before_trains_in_more_cells"].holds is None


def test_what_if_changes_what_was_asked_and_says_when_sizes_differ() -> None:
    events, claims = _run("what_if")
    table = next(event for event in events if isinstance(event, Table) and event.name == "differences")
    assert table.rows[1][1] == "residual: both → none"
    assert table.rows[0][2] == table.rows[1][2]
    assert not any(isinstance(event, Note) for event in events)
    assert set(claims) == {"verdict", "learned"}
    events, _ = _run("what_if", residual="both", feed_forward="none")
    (note,) = [event for event in events if isinstance(event, Note)]
    assert "fewer parameters" in note.text.en
    with pytest.raises(UserError, match="no switch is set otherwise"):
        _run("what_if", residual="both")


def test_a_network_that_sees_the_future_is_also_measured_without_it() -> None:
    events, claims = _run("what_if", residual="both", mask="none")
    table = next(event for event in events if isinstance(event, Table) and event.name == "results")
    assert [column.en for column in table.columns[1:3]] == ["as trained", "without the future"]
    assert table.rows[0][1] == pytest.approx(float(table.rows[0][2]))
    assert table.rows[1][1] != pytest.approx(float(table.rows[1][2]))
    assert "loss_is_fake" in claims


def test_the_diagram_shows_every_switch_and_is_on_one_page() -> None:
    lesson = load_lesson("block")
    for language in ("en", "zh"):
        shown = [b for page in lesson.pages[language] for b in page.blocks if isinstance(b, DiagramBlock)]
        assert [set(block.switches) for block in shown] == [set(names())]


@pytest.mark.parametrize("seed", range(10))
def test_the_reference_passes_and_every_mutant_is_diagnosed_as_itself(seed: int) -> None:
    exercise = find_exercise("block")
    check = load_check(exercise.directory / "check.py")
    assert {mutant.id for mutant in exercise.mutants} == set(check.mutants)
    assert len(check.mutants) == 16
    assert self_test(check, seed) == []


def test_the_solution_passes_and_takes_the_place_of_the_models_blocks(tmp_path: Path) -> None:
    exercise = find_exercise("block")
    check = load_check(exercise.directory / "check.py")
    path = tmp_path / "mine.py"
    path.write_text(exercise.solution, encoding="utf-8")
    assert all(stage["passed"] for stage in run_check(check, path, 3)["stages"])

    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None
    assert spec.loader is not None
    mine = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mine)
    model, tokens = tiny_model("T0").eval(), torch.arange(14).view(2, 7)
    expected = model(tokens)
    assert check.install is not None
    check.install(model, mine.Block)
    assert [type(block) for block in model.model.layers] == [mine.Block, mine.Block]
    torch.testing.assert_close(model(tokens), expected)
    cache = Cache(model.config, 2, 7)
    pieces = [model(piece, cache=cache) for piece in tokens.split([3, 4], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), expected)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("self.mlp", "self.feed_forward", "the parameter mlp.gate_proj.weight is missing"),
        ("RMSNorm(size, eps)", "RMSNorm(size + 1, eps)", "input_layernorm.weight should have the shape"),
        ("super().__init__()", "super().__init__()\n        self.extra = RMSNorm(3, 1.0)", "no parameter extra.weight"),
    ],
)
def test_parameters_that_no_checkpoint_has_are_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    exercise = find_exercise("block")
    path = tmp_path / "mine.py"
    path.write_text(exercise.solution.replace(old, new), encoding="utf-8")
    (stage,) = run_check(load_check(exercise.directory / "check.py"), path, 3)["stages"]
    assert not stage["passed"]
    assert words in stage["message"]["en"]


def test_the_baseline_is_the_course_model() -> None:
    model, reference = Switches().build("T1"), tiny_model("T1")
    assert model.parameter_count() == pytest.approx(reference.parameter_count(), rel=0.02)
    assert dict(model.named_parameters()).keys() == dict(reference.named_parameters()).keys()
