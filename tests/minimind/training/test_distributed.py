"""Several processes that train one run, on gloo: the same numbers as one, and what happens when one is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from minimind.config import MODEL_PRESETS, PRESET_TOKENIZERS, TrainConfig
from minimind.data.packing import Batch, Position
from minimind.errors import UserError
from minimind.model.files import load_model
from minimind.model.weights import read_weights
from minimind.training import distributed, loop, worker
from minimind.training.changes import change_settings
from minimind.training.checkpoint import NoRoomError, validate, write
from minimind.training.control import Control
from minimind.training.distributed import Processes
from minimind.training.runs import RunView, create_run
from minimind.training.update import Update, Updater
from tests.minimind.training.conftest import SETTINGS, TINY
from tests.minimind.training.processes import Ranks, in_processes

BATCHES: dict[str, Any] = {
    "batch_size": 5,
    "accumulation_steps": 2,
    "steps": 6,
    "save_every": 3,
    "threads": 1,
    "compile": "off",
}


@pytest.fixture
def run_directory(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Make a run of the tiny model without dropout: processes draw differently."""
    monkeypatch.setitem(MODEL_PRESETS, "tiny", dataclasses.replace(TINY, dropout=0.0))
    monkeypatch.setitem(PRESET_TOKENIZERS, "tiny", "nano-2048")
    monkeypatch.setattr(loop, "SAMPLE_TOKENS", 2)

    def make(**settings: Any) -> Path:
        return create_run(TrainConfig.from_dict(SETTINGS | BATCHES | settings)).directory

    return make


@pytest.fixture(scope="module", autouse=True)
def everything_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Load in this process what the forked ones would each load for themselves: a trainer takes seconds otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIMIND_HOME", str(tmp_path_factory.mktemp("loading")))
        patch.setitem(MODEL_PRESETS, "tiny", TINY)
        patch.setitem(PRESET_TOKENIZERS, "tiny", "nano-2048")
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        threads = torch.get_num_threads()
        assert worker.run(create_run(TrainConfig.from_dict(SETTINGS | BATCHES | {"steps": 1})).directory) == 0
        torch.set_num_threads(threads)
        for number, handler in before.items():
            signal.signal(number, handler)


def train(directory: Path, processes: int = 2) -> list[int]:
    """Train a run in that many processes; returns their exit codes."""
    return in_processes(processes, lambda rank: worker.run(directory), directory / "log.txt")


def verdict(directory: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((directory / "final.json").read_text(encoding="utf-8"))
    return data


def curve(directory: Path, name: str = "loss") -> dict[float, float]:
    view = RunView(directory)
    view.refresh()
    view.close()
    series = view.series[name]
    return dict(zip(series.x, series.y, strict=True))


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return read_weights(directory / "checkpoints" / "step-000006" / "model.safetensors")


def same(ours: Path, theirs: Path) -> None:
    """Two runs read the same data and learned the same, to what float32 sums in another order leave."""
    for name, most in (("loss", 2e-5), ("gradient_norm", 2e-4), ("tokens", 0.0), ("validation_loss", 2e-5)):
        assert curve(ours, name) == pytest.approx(curve(theirs, name), abs=most), name
    for name, weight in weights(ours).items():
        torch.testing.assert_close(weight, weights(theirs)[name], atol=2e-4, rtol=0)


def test_processes_learn_what_one_learns_whatever_their_number(run_directory: Callable[..., Path]) -> None:
    """Five rows over two and three processes; then each goes on from the other's checkpoint."""
    alone, two = run_directory(), run_directory()
    assert train(alone, 1) == [0]
    assert train(two) == [0, 0]
    assert verdict(two)["outcome"] == "finished"
    assert len(curve(two)) == 6
    same(two, alone)
    same(again(alone, 3), alone)
    same(again(two, 1), alone)


def again(directory: Path, processes: int, **settings: Any) -> Path:
    """A copy of the run that goes on from its third step, in that many processes."""
    other = directory.with_name(f"{directory.name}-{processes}")
    shutil.copytree(directory, other)
    shutil.rmtree(other / "checkpoints" / "step-000006")
    change_settings(other, settings, allow=False)
    assert train(other, processes) == [0] * processes
    started = [json.loads(line) for line in (other / "events.jsonl").read_text().splitlines() if "started" in line]
    assert [(mark["step"], mark["detail"]["processes"]) for mark in started][1] == (3, processes)
    return other


def test_a_model_in_shards_is_the_same_model(run_directory: Callable[..., Path]) -> None:
    """Two processes with a shard each, one with all of it, and each going on from the other's checkpoint."""
    alone, two = run_directory(), run_directory(sharding="fsdp")
    assert train(alone, 1) == [0]
    assert train(two) == [0, 0]
    same(two, alone)
    saved = two / "checkpoints" / "step-000006"
    assert len(list(saved.glob("optimizer-shard-*.safetensors"))) == 2
    validate(saved)
    model, _, _ = load_model(saved)
    assert all(torch.equal(parameter, weights(two)[name]) for name, parameter in model.named_parameters())
    same(again(two, 1, sharding="none"), alone)
    same(again(two, 3), alone)
    same(again(alone, 2, sharding="fsdp"), alone)


def test_with_dropout_two_processes_go_on_to_the_same_bits(
    run_directory: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process draws its own dropout, and the same again where the run goes on."""
    monkeypatch.setitem(MODEL_PRESETS, "tiny", dataclasses.replace(TINY, dropout=0.2))
    straight = run_directory()
    assert train(straight) == [0, 0]
    other = again(straight, 2)
    for name in ("model.safetensors", "optimizer.safetensors"):
        ours, theirs = ((run / "checkpoints" / "step-000006" / name).read_bytes() for run in (other, straight))
        assert ours == theirs, name


def test_a_killed_process_ends_the_run(run_directory: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    at_step(monkeypatch, rank=1, do=lambda: os.kill(os.getpid(), signal.SIGKILL))
    directory = run_directory()
    assert train(directory) == [13, -signal.SIGKILL]
    assert verdict(directory)["outcome"] == "failed"
    assert "process 0 of 2" in verdict(directory)["text"]["en"]
    assert "失去联系" in verdict(directory)["text"]["zh"]


def test_a_frozen_process_does_not_keep_the_others_waiting(
    run_directory: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen, it cannot end itself: the others give up after their own time."""
    at_step(monkeypatch, rank=1, do=lambda: os.kill(os.getpid(), signal.SIGSTOP))
    directory = run_directory(process_timeout=1.0)
    ranks = Ranks(2, lambda rank: worker.run(directory), directory / "log.txt")
    while not (directory / "final.json").exists():
        time.sleep(0.02)
    os.kill(ranks.pids[1], signal.SIGKILL)
    assert ranks.wait() == [13, -signal.SIGKILL]
    assert "Timed out waiting 6250ms" in verdict(directory)["text"]["en"]


def test_a_hung_process_leaves_its_stack_in_the_log(
    run_directory: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stand_still_for_ever() -> None:
        time.sleep(1000)

    at_step(monkeypatch, rank=1, do=stand_still_for_ever)
    directory = run_directory(process_timeout=1.0)
    assert train(directory) == [13, 14]
    log = (directory / "log.txt").read_text(encoding="utf-8")
    assert "process 1 of 2" in log
    assert "has stood still for 1 seconds" in log
    assert "stand_still_for_ever" in log
    assert "process 0 of 2" in verdict(directory)["text"]["en"]


def test_a_fault_of_one_is_the_runs_verdict(
    run_directory: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise UserError("the disk of this machine is gone", "本机磁盘不见了")

    at_step(monkeypatch, rank=1, do=fail)
    directory = run_directory()
    assert train(directory) == [0, 0]
    assert verdict(directory)["text"]["en"] == "the disk of this machine is gone"


def at_step(monkeypatch: pytest.MonkeyPatch, *, rank: int, do: Callable[[], None]) -> None:
    """Let one process do something else before its third update."""
    update = Updater.update

    def disturbed(self: Updater, step: int, steps: int) -> Update:
        if step == 2 and self.group.rank == rank:
            do()
        return update(self, step, steps)

    monkeypatch.setattr(Updater, "update", disturbed)


def test_a_signal_to_one_stops_all_after_the_same_step(run_directory: Callable[..., Path]) -> None:
    directory = run_directory(steps=100_000)
    ranks = Ranks(2, lambda rank: worker.run(directory), directory / "log.txt")
    events = directory / "events.jsonl"
    while not (events.exists() and b'"gradient_norm"' in events.read_bytes()):
        time.sleep(0.02)
    os.kill(ranks.pids[1], signal.SIGTERM)
    assert ranks.wait() == [0, 0]
    assert verdict(directory)["outcome"] == "stopped"
    assert verdict(directory)["step"] == max(curve(directory))


def test_decisions_are_the_first_ones(tmp_path: Path) -> None:
    """What every method of the group answers, in both processes."""

    def work(rank: int) -> None:
        group = Processes("cpu", 20)
        assert group.of_first({"value": rank + 7, "text": "词"}) == {"value": 7, "text": "词"}
        assert group.by_first(lambda: rank) == 0
        assert group.total(rank + 0.5) == 2.0
        assert group.total_scalars({"a": 1.0, f"only {rank}": 2.0}) == {"a": 2.0, "only 0": 2.0, "only 1": 2.0}
        wish = Control(sequence=3 - rank, want="pause", save=2, learning_rate=0.1 * (rank + 1))
        assert group.agree(wish, False) == Control(sequence=3, want="pause", save=2, learning_rate=0.1)
        assert group.agree(wish, rank == 1).want == "stop"
        order = tmp_path / "order"
        group.in_turn(lambda: order.write_text("first") if rank == 0 else order.read_text())
        for kind in (UserError, NoRoomError):
            with pytest.raises(kind, match="no room"):
                group.by_first(lambda kind=kind: (_ for _ in ()).throw(kind("no room", "没有空间")))
        with pytest.raises(UserError, match="from 1"):
            group.in_turn(lambda: write(tmp_path, 1, {}, keep=1) if rank == 0 else fail())
        used, unused = torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(2))
        once = torch.nn.Parameter(torch.zeros(2))
        used.grad = torch.full((3,), rank + 1.0)
        once.grad = torch.ones(2) if rank == 0 else None
        group.sum_gradients([used, unused, once])
        assert used.grad.tolist() == [3.0] * 3
        assert unused.grad is None
        assert once.grad is not None
        assert once.grad.tolist() == [1.0] * 2
        torch.manual_seed(0)
        group.vary(1, 2)
        assert (torch.rand(()) == torch.rand((), generator=torch.Generator().manual_seed(0))) == group.first
        group.leave()

    def fail() -> Path:
        raise UserError("from 1", "来自 1")

    log = tmp_path / "log"
    assert in_processes(2, work, log) == [0, 0], log.read_text()


@pytest.mark.parametrize(("rows", "count", "together"), [(5, 2, 1), (8, 3, 2), (2, 4, 1), (6, 1, 2)])
def test_shares_are_a_partition(rows: int, count: int, together: int) -> None:
    tokens = torch.arange(rows * 3).view(rows, 3)
    whole = Batch(tokens, tokens + 1, tokens, tokens, Position(), useful_tokens=rows * 3 - 1, trained_bytes=31)
    shares = [whole.share(index, count, together) for index in range(count)]
    for name in ("tokens", "labels", "positions", "documents"):
        assert torch.equal(torch.cat([getattr(share, name) for share in shares]), getattr(whole, name))
    assert sum(share.useful_tokens for share in shares) == whole.useful_tokens
    assert sum(share.trained_bytes for share in shares) == 31
    sizes = [len(share.tokens) for share in shares]
    assert all(size % together == 0 for size in sizes)
    assert max(sizes) - min(sizes) <= together
    assert len(shares[-1].tokens)


def test_what_does_not_fit_together_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings, said in (
        ({"processes": 9, "batch_size": 8}, "raise batch_size"),
        ({"processes": 2, "device": "mps"}, "one process"),
        ({"sharding": "fsdp", "optimizer": "muon"}, "adamw"),
        ({"sharding": "fsdp", "ema": 0.9}, "ema = 0"),
    ):
        with pytest.raises(UserError, match=said):
            TrainConfig.from_dict(settings)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "_die_with_parent", lambda: None)
    with pytest.raises(UserError, match="this machine has 1 GPU"):
        distributed.join("auto", 10.0)
