"""The trainer's process: killed, stopped, refused, out of memory; and the estimate and the command that start it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from minimind import cli
from minimind.config import TrainConfig
from minimind.errors import UserError
from minimind.events import Mark, Progress, Text
from minimind.model.files import load_model
from minimind.training import checkpoint, loop, worker
from minimind.training.runs import RunView, create_run, request

REAL: dict[str, Any] = {
    "model": "nano",
    "data_megabytes": 0.03,
    "batch_size": 2,
    "sequence_length": 48,
    "evaluation_tokens": 100,
    "evaluate_every": 100,
    "sample_every": 1000,
    "save_every": 4,
    "steps": 24,
    "device": "cpu",
    "threads": 1,
}


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put the signal handlers back that a worker in this process replaces."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def run_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make a run with the settings `REAL`, changed by the arguments."""
    monkeypatch.setattr(loop, "SAMPLE_TOKENS", 2)

    def make(**settings: Any) -> Path:
        return create_run(TrainConfig.from_dict(REAL | settings)).directory

    return make


def verdict(directory: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((directory / "final.json").read_text(encoding="utf-8"))
    return data


def read(directory: Path) -> RunView:
    view = RunView(directory)
    view.refresh()
    view.close()
    return view


def start(directory: Path) -> subprocess.Popen[bytes]:
    root = str(Path(worker.__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-m", "minimind.training.worker", str(directory)],
        env=os.environ | {"PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
    )


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, "it ended first"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_killed_and_stopped_processes_resume_to_the_same_bits(run_directory: Callable[..., Path]) -> None:
    """SIGKILL, then SIGTERM, of real processes; the end equals that of a run nobody disturbed."""
    straight, disturbed = run_directory(), run_directory()
    assert worker.run(straight) == 0
    checkpoints = disturbed / "checkpoints"

    killed = start(disturbed)
    wait_for(lambda: bool(checkpoint.steps(checkpoints)), killed)
    killed.kill()
    killed.communicate()
    assert not (disturbed / "final.json").exists()
    first = checkpoint.steps(checkpoints)[-1]
    assert first < 24

    stopped = start(disturbed)
    wait_for(lambda: checkpoint.steps(checkpoints)[-1] > first, stopped)
    stopped.send_signal(signal.SIGTERM)
    _, error = stopped.communicate(timeout=60)
    assert stopped.returncode == 0, error
    assert verdict(disturbed)["outcome"] == "stopped"
    assert verdict(disturbed)["step"] < 24

    assert worker.run(disturbed) == 0
    assert verdict(disturbed)["outcome"] == "finished"
    for name in ("model.safetensors", "optimizer.safetensors"):
        ours, theirs = ((run / "checkpoints" / "step-000024" / name).read_bytes() for run in (disturbed, straight))
        assert ours == theirs, name
    view = read(disturbed)
    assert next(mark.step for mark in view.marks if mark.what == "started") == 0
    assert view.latest["loss"] == read(straight).latest["loss"]
    assert view.step == 24


def test_what_a_run_tells(run_directory: Callable[..., Path]) -> None:
    directory = run_directory(steps=3)
    assert worker.run(directory) == 0
    view = read(directory)
    assert view.bad_records == view.unknown_records == 0
    assert verdict(directory)["text"]["zh"].startswith("全部 3 步已完成")
    assert isinstance(view.progress, Progress)
    assert (view.progress.done, view.progress.total) == (3, 3)
    assert {"loss", "validation_loss", "validation_bits_per_byte", "tokens_per_second"} <= set(view.series)
    assert any(mark.what == "saved" for mark in view.marks)
    assert view.samples[0].prompt


def test_sft_goes_on_from_a_run(run_directory: Callable[..., Path]) -> None:
    first = run_directory(steps=2)
    worker.run(first)
    second = run_directory(objective="sft", model=str(first), steps=2)
    assert worker.run(second) == 0
    from minimind.inference.engine import Engine

    engine = Engine.open(second)
    assert engine.metadata["objective"] == "sft"
    assert [step["objective"] for step in engine.metadata["history"]] == ["pretrain"]
    assert engine.metadata["history"][0]["step"] == 2


def test_a_packed_model_is_the_same_model_without_the_training(
    run_directory: Callable[..., Path], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = run_directory(steps=2)
    worker.run(directory)
    packed = home.parent / "packed"
    assert cli.main(["model", "pack", str(directory), str(packed), "--dtype", "bfloat16", "--json"]) == 0
    size = json.loads(capsys.readouterr().out)["bytes"]
    names = {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "MANIFEST.json"}
    assert {entry.name for entry in packed.iterdir()} == names
    original, _, told = load_model(directory / "checkpoints" / "step-000002")
    model, _, metadata = load_model(packed)
    assert metadata == told
    assert size < 2 * model.parameter_count() + 300_000
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, original.get_parameter(name).bfloat16().float()), name
    assert cli.main(["model", "pack", str(directory), str(packed)]) == 2


def test_a_wish_to_stop_during_the_preparation(run_directory: Callable[..., Path]) -> None:
    directory = run_directory(data_megabytes=0.4)
    request(directory, want="stop")
    assert worker.run(directory) == 0
    assert verdict(directory)["outcome"] == "stopped"
    assert "before the first step" in verdict(directory)["text"]["en"]


def damaged_line(directory: Path) -> dict[str, Any]:
    path = directory.parent / "bad.jsonl"
    path.write_text('{"text": "fine"}\n{"text": 3}\n', encoding="utf-8")
    return {"data": [str(path)]}


def empty_file(directory: Path) -> dict[str, Any]:
    path = directory.parent / "empty.jsonl"
    path.touch()
    return {"data": [str(path)]}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (lambda home: {"model": "nonesuch"}, "nonesuch"),
        (lambda home: {"data": ["missing.jsonl"]}, "missing.jsonl"),
        (damaged_line, "bad.jsonl:2"),
        (empty_file, "empty"),
        (lambda home: {"sequence_length": 4096}, "sequence_length = 4096"),
        (lambda home: {"device": "mps"}, "mps"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    run_directory: Callable[..., Path],
    home: Path,
    settings: Callable[[Path], dict[str, Any]],
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    directory = run_directory(**settings(home))
    assert worker.run(directory) == 2
    final = verdict(directory)
    assert final["outcome"] == "failed"
    assert said in final["text"]["en"]
    assert said.split()[0] in final["text"]["zh"]
    error = capfd.readouterr().err
    assert "Traceback" not in error
    assert said in error
    assert read(directory).alerts[-1].level == "error"


def test_a_tokenizer_of_another_model_is_refused_before_anything_is_computed(
    run_directory: Callable[..., Path],
) -> None:
    first = run_directory(steps=1)
    worker.run(first)
    second = run_directory(model=str(first), tokenizer="minimind-6400", steps=1)
    assert worker.run(second) == 2
    assert "is not the one" in verdict(second)["text"]["en"]


def test_another_tokenizer_decides_the_vocabulary_of_a_new_model(run_directory: Callable[..., Path]) -> None:
    directory = run_directory(tokenizer="minimind-6400", steps=1)
    assert worker.run(directory) == 0
    assert any("vocab_size 2048 → " in note.text.en for note in read(directory).notes)


def test_data_smaller_than_a_batch(run_directory: Callable[..., Path], home: Path) -> None:
    path = home.parent / "small.jsonl"
    path.write_text("".join(json.dumps({"text": f"line {n} of a few"}) + "\n" for n in range(6)), encoding="utf-8")
    directory = run_directory(data=[str(path)], batch_size=64, steps=2)
    assert worker.run(directory) == 0
    assert any("batch_size reduced from 64" in note.text.en for note in read(directory).notes)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"),
        MemoryError(),
    ],
)
def test_out_of_memory_has_a_status_and_advice(
    run_directory: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(self: object, step: int, steps: int) -> None:
        raise error

    monkeypatch.setattr("minimind.training.update.Updater.update", fail)
    directory = run_directory(batch_size=10, accumulation_steps=3)
    assert worker.run(directory) == 12
    final = verdict(directory)
    assert final["outcome"] == "out-of-memory"
    assert "batch_size 10 → 5, accumulation_steps 3 → 6" in final["text"]["en"]


def test_a_fault_of_ours_is_named_as_such(
    run_directory: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(self: object, step: int, steps: int) -> None:
        raise ZeroDivisionError("oops \x1b[31m")

    monkeypatch.setattr("minimind.training.update.Updater.update", fail)
    directory = run_directory()
    assert worker.run(directory) == 1
    assert verdict(directory)["text"]["en"].startswith("a fault of ours: ZeroDivisionError: oops")
    assert "\x1b" not in verdict(directory)["text"]["en"]
    assert "Traceback" in capfd.readouterr().err


def test_a_damaged_checkpoint_is_reported_and_the_one_before_is_used(run_directory: Callable[..., Path]) -> None:
    directory = run_directory(steps=8)
    worker.run(directory)
    newest = directory / "checkpoints" / "step-000008"
    (newest / "model.safetensors").write_bytes(b"x")
    assert worker.run(directory) == 0
    view = read(directory)
    assert [alert.code for alert in view.alerts] == ["damaged-checkpoint"]
    assert Mark("started", 4, view.marks[-1].detail).step in [mark.step for mark in view.marks]
    assert checkpoint.latest(directory / "checkpoints") == newest


def test_usage(capfd: pytest.CaptureFixture[str]) -> None:
    assert worker.main([]) == 2
    assert "RUNDIR" in capfd.readouterr().err
    with pytest.raises(UserError) as caught:
        RunView("/nonexistent/run")
    assert isinstance(caught.value.text, Text)
