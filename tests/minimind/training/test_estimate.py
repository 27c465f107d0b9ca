"""The estimate, the recommended settings, and the two commands."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from minimind.commands import estimate as estimate_command
from minimind.commands import train as train_command
from minimind.commands.output import Output
from minimind.config import MODEL_PRESETS, TrainConfig, train_preset
from minimind.errors import UserError
from minimind.train_config import DURATIONS
from minimind.train_presets import RELEASED, TRAIN_PRESETS
from minimind.training import estimate as estimating
from minimind.training import launch, worker
from minimind.training.estimate import Probe, estimate, planned_steps, probe
from minimind.training.job import Job
from minimind.training.recommend import preset_of, recommended_config
from minimind.training.runs import RunView, create_run, list_runs, outcomes

TINY_RUN = [
    "--steps",
    "3",
    "--data-megabytes",
    "0.03",
    "--batch-size",
    "2",
    "--sequence-length",
    "48",
    "--threads",
    "1",
]
QUIET = ["--evaluation-tokens", "100", "--evaluate-every", "100", "--sample-every", "100"]


def run_command(module: Any, arguments: list[str]) -> tuple[int, list[dict[str, Any]]]:
    """Run one command with --json; its exit status and the objects it printed."""
    parser = argparse.ArgumentParser()
    module.register(parser.add_subparsers())
    options = parser.parse_args(arguments)
    stdout = io.StringIO()
    status = options.run(options, Output(as_json=True, language="en", stdout=stdout, stderr=io.StringIO()))
    return int(status), [json.loads(line) for line in stdout.getvalue().splitlines()]


def test_a_probe_leaves_the_job_and_the_random_generator_alone(make_job: Callable[..., Job]) -> None:
    job = make_job()
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    torch.manual_seed(3)
    measured = probe(job, seconds=0.2)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(1))
    assert all(torch.equal(before[name], tensor) for name, tensor in job.model.state_dict().items())
    assert 1 <= len(measured.updates) <= 18
    assert 0 < measured.tokens_per_update <= 2 * 64
    assert measured.evaluation > 0
    assert measured.sampling > 0
    assert measured.saving > 0
    assert measured.update == pytest.approx(sum(measured.updates) / len(measured.updates))


def test_planned_steps(make_job: Callable[..., Job]) -> None:
    assert planned_steps(make_job(steps=7)) == 7
    epoch = make_job(steps=None, epochs=1.0)
    exact = sum(1 for _ in epoch.objective.batches(epoch.data.train, epoch.config, epochs=1))
    one = planned_steps(epoch)
    assert one == pytest.approx(exact, rel=0.06)
    assert planned_steps(make_job(steps=None)) == one
    assert planned_steps(make_job(steps=None, epochs=2.5)) == pytest.approx(2.5 * one, abs=3)
    assert planned_steps(make_job(steps=None, epochs=1.0, accumulation_steps=4)) == pytest.approx(one / 4, abs=1)


def test_minutes_become_steps_that_fill_them(make_job: Callable[..., Job]) -> None:
    job = make_job(steps=None, minutes=5.0)
    measured = probe(job, seconds=0.1)
    steps = planned_steps(job, measured)
    seconds = steps * (measured.update + measured.evaluation / 4 + measured.sampling / 100_000 + measured.saving / 5)
    assert seconds == pytest.approx(300, rel=0.02)
    slow = measured._replace(updates=(30.0,))
    assert planned_steps(make_job(steps=None, minutes=0.01), slow) == 10


def test_estimate_of_more_data_than_it_reads(home: Path) -> None:
    settings: dict[str, Any] = {"batch_size": 2, "sequence_length": 64, "evaluation_tokens": 100, "epochs": 1.0}
    small = estimate(TrainConfig(data_megabytes=0.5, **settings), home / "cache", seconds=0.2)
    large = estimate(TrainConfig(data_megabytes=50.0, **settings), home / "cache", seconds=0.2)
    assert large.steps == pytest.approx(100 * small.steps, rel=0.25)
    assert large.seconds_low < large.seconds_high
    assert large.parameters == MODEL_PRESETS["nano"].parameter_count()
    assert large.tokens == pytest.approx(50e6 / 3.5, rel=0.25)
    assert large.peak_memory_bytes > 50e6
    assert large.disk_bytes > 6 * 12 * large.parameters


def test_estimate_reads_only_the_head_of_a_large_file(home: Path) -> None:
    path = home.parent / "large.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(30_000):
            file.write(json.dumps({"text": f"Line {number} says that {number} plus one is {number + 1}."}) + "\n")
    found = estimate(
        TrainConfig(data=(str(path),), batch_size=2, sequence_length=64, evaluation_tokens=100, epochs=1.0),
        home / "cache",
        seconds=0.2,
    )
    assert max(file.stat().st_size for file in (home / "cache").glob("estimate-*")) <= 600_000
    assert found.tokens > 400_000
    with pytest.raises(UserError, match=r"none\.jsonl"):
        estimate(TrainConfig(data=("none.jsonl",)), home / "cache")


def test_recommended_settings() -> None:
    config = recommended_config("pretrain", {})
    assert config == TrainConfig(**({"objective": "pretrain", "model": "nano"} | train_preset("nano", "pretrain")))
    assert recommended_config("pretrain", {"steps": 5}).steps == 5
    timed = recommended_config("pretrain", {"minutes": 1.5})
    assert (timed.minutes, timed.steps, timed.epochs) == (1.5, None, None)
    assert recommended_config("pretrain", {"learning_rate": "0.5"}).learning_rate == 0.5
    with pytest.raises(UserError, match="--model"):
        recommended_config("sft", {})
    with pytest.raises(UserError, match="no model"):
        recommended_config("sft", {"model": "nonesuch"})
    with pytest.raises(UserError, match="learning_rate"):
        recommended_config("pretrain", {"learning_rat": 1})


def test_the_released_recipe_takes_the_place_of_the_recommended_settings() -> None:
    config = recommended_config("pretrain", {"recipe": "released", "batch_size": 4})
    assert (config.optimizer, config.learning_rate, config.warmup, config.accumulation_steps) == ("adamw", 5e-4, 0.0, 8)
    assert (config.beta2, config.weight_decay, config.decay_all, config.epochs) == (0.999, 0.01, True, 2.0)
    assert (config.batch_size, config.minutes) == (4, None)
    timed = recommended_config("pretrain", {"recipe": "released", "minutes": 2})
    assert (timed.minutes, timed.epochs) == (2.0, None)


def test_every_recommendation_is_one_that_can_be_made() -> None:
    for (preset, method), values in TRAIN_PRESETS.items():
        objective, _, tune = method.partition("-")
        made = recommended_config(objective, {"model": preset, "tune": tune or "full"})
        assert all(getattr(made, name) == value for name, value in values.items() if name not in DURATIONS)
    for method in RELEASED:
        objective, _, tune = method.partition("-")
        given = {"model": "nano", "tune": tune or "full", "recipe": "released"}
        assert recommended_config(objective, given).optimizer == "adamw"


def test_a_run_keeps_its_starting_point_and_its_preset_is_recognised(home: Path) -> None:
    config = TrainConfig(
        steps=1, data_megabytes=0.03, batch_size=2, sequence_length=48, evaluation_tokens=100, sample_every=100
    )
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    directory = create_run(config).directory
    assert worker.run(directory) == 0
    for number, handler in before.items():
        signal.signal(number, handler)
    assert preset_of(directory.name) == "nano"
    tuned = recommended_config("sft", {"model": "last"})
    assert Path(tuned.model) == directory / "checkpoints" / "step-000001"
    for name, value in train_preset("nano", "sft").items():
        assert getattr(tuned, name) == value


def test_estimate_command() -> None:
    status, lines = run_command(estimate_command, ["estimate", "pretrain", "--seconds", "0.2", *TINY_RUN, *QUIET])
    assert status == 0
    assert lines[0]["steps"] == 3
    assert lines[0]["tokens_per_second"] > 0


def test_a_prediction_is_kept_and_compared_with_what_came_of_it(home: Path) -> None:
    settings = ["pretrain", *TINY_RUN, *QUIET]
    price = ["--price-per-hour", "36", "--currency", "¥"]
    _, (found,) = run_command(estimate_command, ["estimate", *settings, "--seconds", "0.2", *price])
    assert found["seconds_low"] <= found["seconds"] <= found["seconds_high"]
    assert found["cost"] == pytest.approx(found["seconds"] / 100)
    assert found["cost_low"] < found["cost_high"]
    assert run_command(train_command, ["train", *settings])[0] == 0
    (view,) = list_runs()
    rows = {row.name.en: row for row in outcomes(view)}
    assert rows.keys() == {"time", "tokens", "memory", "cost"}
    assert rows["time"].predicted == pytest.approx(found["seconds"])
    assert rows["cost"].actual == pytest.approx(rows["time"].actual / 100)
    assert rows["cost"].unit == "¥"
    assert rows["tokens"].ratio == pytest.approx(1.0, abs=0.1)
    assert found["disk_bytes"] < 2.2 * 12 * found["parameters"]
    assert 0.3 < rows["memory"].ratio < 3
    other = create_run(view.config.replace(seed=1))
    assert RunView(other.directory).request["prediction"] is None
    assert outcomes(RunView(other.directory)) == []
    cached = next((home / "cache" / "estimates").glob("found-*.json"))
    cached.write_text(json.dumps(json.loads(cached.read_text()) | {"time": 0.0}))
    assert RunView(create_run(view.config).directory).request["prediction"] is None


def test_train_command_in_the_foreground(monkeypatch: pytest.MonkeyPatch) -> None:
    status, lines = run_command(train_command, ["train", "pretrain", "--name", "mine", *TINY_RUN, *QUIET])
    assert status == 0
    assert lines[-1]["state"] == "finished"
    assert sum(line.get("kind") == "scalars" and "loss" in line["values"] for line in lines) == 3
    (view,) = list_runs()
    assert view.name == "mine"
    assert view.id == lines[-1]["id"]
    assert view.config.steps == 3
    with pytest.raises(UserError, match="finished"):
        run_command(train_command, ["train", "--run", view.id])


def test_detached_then_stopped_by_an_interrupt_then_resumed(home: Path) -> None:
    long = [*TINY_RUN, *QUIET, "--set", "save_every=5000", "steps=100000"]
    long[long.index("--steps") : long.index("--steps") + 2] = []
    status, lines = run_command(train_command, ["train", "pretrain", "--detach", *long])
    assert status == 0
    directory = Path(lines[0]["directory"])
    assert RunView(directory).status().live
    launch.stop(directory)
    while RunView(directory).status().live:
        threading.Event().wait(0.05)
    assert RunView(directory).status().state == "stopped"

    def interrupt() -> None:
        view = RunView(directory)
        while view.step < 1 or not view.status().live:
            view.refresh()
            threading.Event().wait(0.05)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    status, lines = run_command(train_command, ["train", "--run", directory.name])
    assert status == 130
    assert lines[-1]["state"] == "stopped"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train"], "say what to do"),
        (["train", "pretrain", "--run", "x"], "leave out the method"),
        (["train", "--run", "nonesuch"], "nonesuch"),
        (["train", "pretrain", "--data", "none.jsonl"], "none.jsonl"),
        (["train", "pretrain", "--set", "steps"], "NAME=VALUE"),
        (["train", "pretrain", "--steps", "0"], "steps = '0'"),
        (["train", "pretrain", "--config", "none.toml"], "none.toml"),
        (["train", "sft"], "--model"),
        (["train", "pretrain", "--model", "nonesuch"], "nonesuch"),
    ],
)
def test_mistakes_are_refused_before_a_run_is_made(arguments: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        run_command(train_command, arguments)
    assert said in caught.value.text.en
    assert list_runs() == []


def test_precedence_of_flags_set_and_file(home: Path) -> None:
    path = home.parent / "my.toml"
    path.write_text("steps = 1\nbatch_size = 1\nseed = 1\n", encoding="utf-8")
    from minimind.commands.training_flags import add_training_flags, training_config

    parser = argparse.ArgumentParser()
    parser.add_argument("objective")
    add_training_flags(parser)
    given = ["pretrain", "--config", str(path), "--set", "batch_size=2", "seed=2", "--seed", "3"]
    config = training_config(parser.parse_args(given))
    assert (config.steps, config.batch_size, config.seed) == (1, 2, 3)


def test_several_processes_are_measured_with_one(make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def measure(job: Job, seconds: float) -> Probe:
        asked.append(job.config.batch_size)
        return Probe((1.0,), 100.0 * job.config.batch_size, 0.0, 0.0)

    monkeypatch.setattr(estimating, "probe", measure)
    job = make_job(processes=2, batch_size=4)
    on_gpus = dataclasses.replace(job, precision=dataclasses.replace(job.precision, device=torch.device("cuda")))
    found = [estimating._probe_of_all(one, 1.0) for one in (job, on_gpus)]
    assert asked == [4, 2]  # without GPUs they share the cores; with them each has half of the rows
    assert [one.tokens_per_update for one in found] == [400.0, 400.0]
