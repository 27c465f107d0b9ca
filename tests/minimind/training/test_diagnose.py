"""Each rule on curves that show it and on healthy ones that do not."""

from __future__ import annotations

import math
import random
import tomllib
from pathlib import Path

import pytest

from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Alert, Mark, Scalars, Text
from minimind.training.diagnose import RULES, diagnose
from minimind.training.rules.statistics import BLOCKS, block_means, noise, trend
from minimind.training.runs import Recorder, RunView, create_run
from tests.minimind.training.judged import RECORDED, codes, healthy, judged

ROOT = Path(__file__).resolve().parents[3]


def falling(seed: int = 0, steps: int = 300, first: float = 0.0, last: float = -40.0) -> list[float]:
    draw = random.Random(seed)
    return [first + (last - first) * step / steps + draw.gauss(0, 1) for step in range(steps)]


def preference(seed: int, *, margin: tuple[float, float], chosen: tuple[float, float], rejected: tuple[float, float]):
    """A DPO run's curves: each goes in a straight line with noise."""
    loss = [0.69 - step / 3000 for step in range(300)]
    return {
        "loss": loss,
        "margin": [value / 20 for value in falling(seed, 300, margin[0] * 20, margin[1] * 20)],
        "accuracy": [0.5 + (0.4 if margin[1] > 0.2 else 0.0) * step / 300 for step in range(300)],
        "chosen_reward": [value / 20 for value in falling(seed + 1, 300, 20 * chosen[0], 20 * chosen[1])],
        "rejected_reward": [value / 20 for value in falling(seed + 2, 300, 20 * rejected[0], 20 * rejected[1])],
    }


def rewards(seed: int, *, rises: bool, degenerate: float):
    """A GRPO run's curves."""
    draw = random.Random(seed)
    return {
        "loss": [draw.gauss(0, 0.1) for _ in range(200)],
        "learning_rate": [1e-4] * 200,
        "reward": [0.2 + (0.6 * step / 200 if rises else 0.0) + draw.gauss(0, 0.1) for step in range(200)],
        "degenerate_groups": [min(1.0, max(0.0, degenerate + draw.gauss(0, 0.1))) for _ in range(200)],
    }


@pytest.mark.parametrize("name", [name for name in RECORDED if name.startswith("healthy")])
@pytest.mark.parametrize("steps", [40, 100, 170, 250])
def test_real_trainings_that_went_well_have_no_finding(name: str, steps: int) -> None:
    curves = {
        series: [value for value in values if not isinstance(value, list) or value[0] <= steps][:steps]
        for series, values in RECORDED[name].items()
    }
    objective = "sft" if "sft" in name else "pretrain"
    assert codes(curves, planned=250, objective=objective) == []


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("steps", [130, 400])
def test_false_alarms_are_rare(heavy: bool, steps: int) -> None:
    alarms = [
        finding
        for seed in range(40)
        for finding in judged(healthy(seed, steps, floor=(1.8, 3.0)[seed % 2], heavy=heavy))
    ]
    assert {finding.code for finding in alarms} <= {"spike"}  # with heavy tails a jump is what it says
    assert sum(finding.severity != "info" for finding in alarms) == 0
    assert len(alarms) <= 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("low-0.0001", ["rate-too-low"]),
        ("low-0.0003", ["rate-too-low"]),
        ("low-0.001", ["rate-too-low"]),
        ("high-0.3", ["rate-too-high"]),
        ("high-1", ["rate-too-high"]),
        ("high-3", ["rate-too-high"]),
        ("small-data", ["repeated-data", "held-out-gap"]),
    ],
)
def test_real_trainings_that_went_wrong(name: str, expected: list[str]) -> None:
    assert codes(RECORDED[name]) == expected


@pytest.mark.parametrize("seed", range(6))
def test_a_plateau_at_a_high_rate_is_found_and_one_at_a_low_rate_is_not(seed: int) -> None:
    curves = healthy(seed)
    level = [
        loss if step < 160 else 3.0 + random.Random(step).gauss(0, 0.03) for step, loss in enumerate(curves["loss"])
    ]
    high = curves | {"loss": level, "learning_rate": [3e-3] * 400}
    (finding,) = judged(high)
    assert finding.code == "plateau"
    assert finding.evidence["level"] == pytest.approx(3.0, abs=0.01)
    assert finding.steps is not None
    assert finding.steps[0] >= 200
    assert codes(high | {"learning_rate": [3e-3 if step < 200 else 1e-4 for step in range(400)]}) == []
    still_better = [(step, 4.0 - step / 400) for step in range(50, 401, 50)]
    assert codes(high | {"validation_loss": still_better}) == []


def test_a_loss_that_never_moved_asks_for_a_higher_rate() -> None:
    draw = random.Random(1)
    (finding,) = judged({"loss": [8.7 + draw.gauss(0, 0.02) for _ in range(200)], "learning_rate": [1e-6] * 200})
    assert finding.code == "plateau"
    assert "raise learning_rate" in finding.advice.en


@pytest.mark.parametrize("seed", range(6))
def test_a_jump_counts_only_with_its_gradient(seed: int) -> None:
    curves = healthy(seed)
    loss, norms = list(curves["loss"]), list(curves["gradient_norm"])
    usual = loss[299]
    loss[300] = loss[301] = usual * 1.5
    assert codes(curves | {"loss": loss}) == []
    norms[300] = 9.0
    (finding,) = judged(curves | {"loss": loss, "gradient_norm": norms})
    assert (finding.code, finding.severity, finding.steps) == ("spike", "info", (301, 301))
    assert finding.evidence["loss"] == pytest.approx(usual * 1.5)
    assert finding.evidence["gradient_growth"] > 8
    lasting = [value if step < 300 else value + 0.5 * usual for step, value in enumerate(curves["loss"])]
    found = {one.code: one for one in judged(curves | {"loss": lasting, "gradient_norm": norms})}
    assert found["spike"].severity == "error"


def test_many_jumps_and_numbers_that_are_none_mean_a_rate_too_high() -> None:
    curves = healthy(3)
    loss, norms = list(curves["loss"]), list(curves["gradient_norm"])
    for step in (120, 200, 280, 360):
        loss[step] *= 1.6
        norms[step] = 10.0
    found = {one.code: one for one in judged(curves | {"loss": loss, "gradient_norm": norms})}
    assert found.keys() == {"rate-too-high", "spike"}
    assert found["spike"].evidence["count"] == 4
    for code in ("not-finite", "rolled-back"):
        (finding,) = judged(curves, alerts=[Alert("warning", code, Text("…", "…"), 7)])
        assert (finding.code, finding.severity) == ("rate-too-high", "error")
    assert judged(curves, alerts=[Alert("warning", "started-again", Text("…", "…"), 7)]) == []


@pytest.mark.parametrize(("share", "severity"), [(0.05, "warning"), (0.15, "info"), (0.25, None)])
def test_few_trained_tokens(share: float, severity: str | None) -> None:
    found = judged(healthy(0) | {"trained_share": [share] * 400}, objective="sft")
    assert [(one.code, one.severity) for one in found] == ([("mask-share", severity)] if severity else [])


def test_repeated_data_are_told_before_they_are_repeated() -> None:
    curves = healthy(0, 100)
    epochs = [step / 50 for step in range(100)]
    (planned,) = judged(curves | {"epoch": epochs}, planned=1000)
    assert (planned.code, planned.severity) == ("repeated-data", "info")
    assert planned.evidence["planned_epochs"] == pytest.approx(19.8)
    assert codes(curves | {"epoch": epochs}, planned=150) == []


def test_a_held_out_loss_that_rises_names_the_best_step() -> None:
    held_out = [(50, 4.0), (100, 3.2), (150, 3.0), (200, 3.01), (250, 3.3), (300, 3.4), (350, 3.5), (400, 3.6)]
    (finding,) = judged(healthy(0) | {"validation_loss": held_out})
    assert (finding.code, finding.steps) == ("held-out-gap", (150, 400))
    assert finding.evidence["best_held_out_loss"] == 3.0
    noisy = [(step, 3.0 * (1.0 + 0.015 * (step % 100 == 0))) for step in range(50, 401, 50)]
    assert codes(healthy(0) | {"validation_loss": noisy}) == []


def test_waiting_for_data() -> None:
    assert codes(healthy(0) | {"data_wait": [0.45] * 400}) == ["data-wait"]
    assert codes(rewards(0, rises=True, degenerate=0.1) | {"data_wait": [0.9] * 200}) == []  # rollouts are the work


@pytest.mark.parametrize("seed", range(6))
def test_a_lasting_drop_of_speed(seed: int) -> None:
    curves = healthy(seed)
    slower = [speed if step < 250 else 0.5 * speed for step, speed in enumerate(curves["tokens_per_second"])]
    (finding,) = judged(curves | {"tokens_per_second": slower})
    assert finding.code == "throughput-drop"
    assert finding.steps is not None
    assert abs(finding.steps[0] - 250) <= 5
    assert finding.evidence["share"] == pytest.approx(0.5, abs=0.15)
    a_moment = curves | {"tokens_per_second": slower, "tokens": [10.0 * step for step in range(400)]}
    assert codes(a_moment) == []  # ten tokens a step: over in no time


@pytest.mark.parametrize("seed", range(0, 30, 3))
def test_preferences(seed: int) -> None:
    well = preference(seed, margin=(0.0, 2.0), chosen=(0, 0.2), rejected=(0, -1.8))
    assert codes(well) == []
    assert codes(preference(seed, margin=(0.0, 0.01), chosen=(0, 0), rejected=(0, 0))) == ["preference-margin"]
    (finding,) = judged(preference(seed, margin=(0.0, 2.0), chosen=(0, -3), rejected=(0, -5)))
    assert finding.title.en == "both answers become less likely"
    assert finding.evidence["chosen_last"] == pytest.approx(-2.85, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_groups_without_spread_and_a_reward_that_stands(seed: int) -> None:
    assert codes(rewards(seed, rises=True, degenerate=0.2)) == []
    assert codes(rewards(seed, rises=True, degenerate=0.8)) == ["degenerate-groups"]
    still = codes(rewards(seed, rises=False, degenerate=0.2))
    assert set(still) <= {"plateau"}  # a hundred noisy rewards may be too few to be sure


def test_every_finding_names_a_lesson_that_exists_or_is_planned() -> None:
    planned = tomllib.loads((ROOT / "lessons" / "paths.toml").read_text(encoding="utf-8"))["planned"]
    known = {entry["slug"] for entry in planned} | {path.parent.name for path in ROOT.glob("lessons/*/module.toml")}
    shown = [
        *(judged(RECORDED[name]) for name in ("low-0.001", "high-1", "small-data")),
        judged(healthy(0) | {"trained_share": [0.01] * 400, "data_wait": [0.5] * 400}),
        judged(preference(0, margin=(0.0, 0.0), chosen=(0, 0), rejected=(0, 0))),
        judged(rewards(0, rises=True, degenerate=0.9)),
    ]
    findings = [finding for found in shown for finding in found]
    assert {finding.lesson for finding in findings} <= known
    assert len({finding.code for finding in findings}) == 8
    for finding in findings:
        assert finding.text.zh != finding.text.en
        assert all(map(math.isfinite, finding.evidence.values()))


def test_a_run_is_diagnosed_from_its_directory(home: Path) -> None:
    directory = create_run(TrainConfig(steps=250)).directory
    curves = RECORDED["high-1"]
    with Recorder(directory) as recorder:
        recorder.record(Mark("started", 0, {"steps": 250}))
        for index, loss in enumerate(curves["loss"]):
            values = {name: curves[name][index] for name in ("gradient_norm", "learning_rate")}
            recorder.record(Scalars(index + 1, {"loss": loss, **values}))
    view = RunView(directory)
    assert diagnose(view) == []
    view.refresh()
    assert [finding.code for finding in diagnose(view)] == ["rate-too-high"]
    (directory / "run.json").write_text("{")
    with pytest.raises(UserError):
        diagnose(RunView(directory, strict=False))


def test_rules_survive_hostile_curves() -> None:
    strange = [math.nan, math.inf, 0.0, -1e300, 1e300, 1e-300]
    for seed in range(20):
        draw = random.Random(seed)
        names = ("loss", "gradient_norm", "learning_rate", "epoch", "tokens", "tokens_per_second", "validation_loss",
                 "trained_share", "data_wait", "margin", "accuracy", "reward", "degenerate_groups")  # fmt: skip
        curves = {name: [draw.choice(strange) for _ in range(draw.choice((1, 20, 130)))] for name in names}
        curves["loss"] = curves["loss"] or [0.0]
        assert len(judged(curves)) <= len(RULES)


def test_the_trend_is_least_squares_of_block_means() -> None:
    values = [2.0 + 0.5 * index for index in range(BLOCKS * 8)]
    found = trend(values)
    assert found is not None
    assert found.change == pytest.approx(values[-1] - values[0] - 3.5)
    assert found.error == pytest.approx(0.0, abs=1e-9)
    assert block_means([1.0, 3.0, 5.0, 9.0], 2) == [2.0, 7.0]
    draw = random.Random(0)
    assert noise([0.01 * step + draw.gauss(0, 2.0) for step in range(4000)]) == pytest.approx(2.0, rel=0.05)
    assert trend(values[: 4 * BLOCKS - 1]) is None
