"""Several processes as a person starts them, through the shim and torchrun; and two machines, which are namespaces."""

from __future__ import annotations

import ctypes
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

from minimind.config import TrainConfig
from minimind.training import checkpoint, launch, worker
from minimind.training.liveness import read_processes
from minimind.training.processes import processes_with_variable
from minimind.training.run_files import RUN_VARIABLE
from minimind.training.runs import RunView, create_run
from tests.minimind.training.processes import Ranks
from tests.minimind.training.test_distributed import everything_loaded, run_directory, same, train, verdict
from tests.minimind.training.test_worker import REAL

__all__ = ["everything_loaded", "run_directory"]

_ADDRESS = "10.77.231.1"
_CLONE_NEWNET = 0x40000000


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def starts(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / "events.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [record for record in records if record.get("what") == "started"]


def test_a_lost_process_is_replaced_and_none_is_left_behind(home: Path) -> None:
    """kill -9 of one process: all begin again from the checkpoint. kill -9 of torchrun: nothing remains."""
    settings = {"processes": 2, "steps": 100_000, "save_every": 2, "compile": "off", "restarts": 1}
    directory = create_run(TrainConfig.from_dict(REAL | settings)).directory
    variable = (RUN_VARIABLE, str(directory.resolve()))
    launch.launch(directory)
    wait_until(lambda: len(checkpoint.steps(directory / "checkpoints")) > 1)
    trainer = read_processes(directory)
    assert trainer is not None
    assert trainer.trainer is not None
    second = next(
        one.pid
        for one in processes_with_variable(*variable)
        if b"RANK=1" in Path(f"/proc/{one.pid}/environ").read_bytes().split(b"\0")
    )
    os.kill(second, signal.SIGKILL)
    wait_until(lambda: len(starts(directory)) == 2)
    first, again = starts(directory)
    assert first["detail"]["processes"] == again["detail"]["processes"] == 2
    assert first["step"] == 0
    assert again["step"] >= 2
    assert RunView(directory).status().state == "running"
    os.kill(trainer.trainer.pid, signal.SIGKILL)
    wait_until(lambda: not RunView(directory).status().live)
    status = RunView(directory).status()
    assert status.state in ("killed", "failed")
    assert status.resumable
    assert processes_with_variable(*variable) == []


def test_the_command_is_torchruns_where_there_are_several(home: Path) -> None:
    alone = create_run(TrainConfig()).directory
    assert "torch.distributed.run" not in launch.trainer_command(alone)
    several = create_run(TrainConfig(processes=4, restarts=3)).directory
    command = launch.trainer_command(several, launch.Order(allow_changes=True))
    assert {"--standalone", "--nproc-per-node=4", "--max-restarts=3"} <= set(command)
    assert command[-4:] == ["-m", "minimind.training.worker", str(several), "--allow-changes"]
    machines = launch.Machines(3, 1, "head.example:29500")
    command = launch.trainer_command(alone, launch.Order(machines))
    place = {"--nnodes=3", "--node-rank=1", "--master-addr=head.example", "--master-port=29500", "--max-restarts=0"}
    assert place <= set(command)
    assert "--standalone" not in command


def test_a_trainer_is_told_nothing_of_other_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "3")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    alone, several = launch.trainer_environment(), launch.trainer_environment(processes=10_000)
    assert {"WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT", "OMP_NUM_THREADS"} & set(alone) == set()
    assert several["OMP_NUM_THREADS"] == "1"


@pytest.fixture
def machines() -> Iterator[list[str]]:
    """The names of two network namespaces with a cable between them: two machines as far as a network can tell."""
    names = [f"minimind-{os.getpid()}-{index}" for index in range(2)]
    commands = [["netns", "add", name] for name in names]
    commands += [["link", "add", "cable0", "netns", names[0], "type", "veth", "peer", "cable1", "netns", names[1]]]
    for index, name in enumerate(names):
        cable = f"cable{index}"
        commands += [
            ["-n", name, "addr", "add", f"{_ADDRESS[:-1]}{index + 1}/24", "dev", cable],
            ["-n", name, "link", "set", "lo", "up"],
            ["-n", name, "link", "set", cable, "up"],
        ]
    try:
        for command in commands:
            try:
                done = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
            except OSError as error:
                pytest.skip(f"no network namespaces: {error}")
            if done.returncode:
                pytest.skip(f"no network namespaces: ip {' '.join(command)}: {done.stderr.strip()}")
        yield names
    finally:
        for name in names:
            if Path("/run/netns", name).exists():
                subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")
def test_two_machines_learn_what_one_learns(run_directory: Callable[..., Path], machines: list[str]) -> None:
    alone, two = run_directory(), run_directory()
    assert train(alone, 1) == [0]

    def on_its_machine(rank: int) -> int:
        library = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(f"/run/netns/{machines[rank]}", os.O_RDONLY)
        assert library.setns(descriptor, _CLONE_NEWNET) == 0
        os.environ |= {"MASTER_ADDR": _ADDRESS, "GLOO_SOCKET_IFNAME": f"cable{rank}", "LOCAL_RANK": "0"}
        return worker.run(two)

    assert Ranks(2, on_its_machine, two / "log.txt").wait() == [0, 0], (two / "log.txt").read_text()
    assert verdict(two)["outcome"] == "finished"
    same(two, alone)
