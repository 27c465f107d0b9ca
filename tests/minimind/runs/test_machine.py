"""What the machine and a run's processes do, with a driver that is there, odd, or missing."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from minimind.training import machine
from minimind.training.machine import NO_GPU, Gpu, MachineWatch, machine_now, read_gpus
from minimind.training.processes import identify
from minimind.training.run_files import PROCESSES, write_atomic

GIB = 2**30


class FakeError(Exception):
    """What the driver raises."""


def fake_nvml(**changes: Any) -> ModuleType:
    """A driver with one GPU; `changes` replace its answers."""
    module: Any = ModuleType("pynvml")
    module.NVMLError = FakeError
    module.NVML_TEMPERATURE_GPU = 0
    module.nvmlInit = lambda: None
    module.nvmlDeviceGetCount = lambda: 1
    module.nvmlDeviceGetHandleByIndex = lambda index: index
    module.nvmlDeviceGetName = lambda _: "NVIDIA\x1b[2J H100"
    module.nvmlDeviceGetMemoryInfo = lambda _: SimpleNamespace(used=3 * GIB, total=80 * GIB)
    module.nvmlDeviceGetUtilizationRates = lambda _: SimpleNamespace(gpu=87)
    module.nvmlDeviceGetTemperature = lambda *_: 61
    module.nvmlDeviceGetPowerUsage = lambda _: 412_500
    module.nvmlDeviceGetEnforcedPowerLimit = lambda _: 700_000
    module.nvmlDeviceGetComputeRunningProcesses = lambda _: [
        SimpleNamespace(pid=os.getpid(), usedGpuMemory=2 * GIB),
        SimpleNamespace(pid=1, usedGpuMemory=GIB),
    ]
    for name, answer in changes.items():
        setattr(module, name, answer)
    return module


def refuse(*_: Any) -> Any:
    raise FakeError("Not Supported")


def test_a_gpu_is_asked_through_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    (gpu,), note = read_gpus()
    assert gpu == Gpu(0, "NVIDIA␛[2J H100", 0.87, 3 * GIB, 80 * GIB, 61.0, 412.5, 700.0)
    assert note is None


def test_what_a_gpu_does_not_say_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        sys.modules,
        "pynvml",
        fake_nvml(nvmlDeviceGetUtilizationRates=refuse, nvmlDeviceGetPowerUsage=refuse, nvmlDeviceGetMemoryInfo=refuse),
    )
    (gpu,), _ = read_gpus()
    assert (gpu.utilisation, gpu.power, gpu.memory_used, gpu.temperature) == (None, None, None, 61.0)


def test_a_driver_that_fails_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(nvmlDeviceGetCount=refuse))
    gpus, note = read_gpus()
    assert gpus == ()
    assert note is not None
    assert note.en == "the GPU cannot be asked: Not Supported"


@pytest.mark.parametrize("installed", [True, False])
def test_without_a_driver_the_answer_is_clear(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, installed: bool) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(nvmlInit=refuse) if installed else None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_gpus() == ((), NO_GPU)


def test_nvidia_smi_is_asked_where_the_package_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho '0, Tesla T4, 35, 1024, 15360, 50, 27.5, 70.00'\necho '1, A, [N/A], x'\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    (first, second), note = read_gpus()
    assert first == Gpu(0, "Tesla T4", 0.35, GIB, 15 * GIB, 50.0, 27.5, 70.0)
    assert (second.index, second.utilisation, second.power_limit) == (1, None, None)
    assert note is None
    program.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    gpus, note = read_gpus()
    assert gpus == ()
    assert note is not None
    assert "NVIDIA-SMI has failed" in note.en


def test_the_machine_has_processors_and_memory() -> None:
    found = machine_now(0.05)
    assert 0.0 <= found.cpu <= 1.0
    assert found.cores >= 1
    assert 0 < found.memory_used < found.memory_total


def test_a_run_is_its_trainer_and_all_that_came_of_it(run_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = MachineWatch()
    assert watch.of_run(run_directory) is None
    busy = "import time\nwhile True: pass"
    code = f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {busy!r}])"
    trainer = subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
    try:
        write_atomic(run_directory / PROCESSES, {"trainer": identify(trainer.pid)._asdict()})
        deadline = time.monotonic() + 20
        while (found := watch.of_run(run_directory)) is not None and found.processes < 2:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        while (found := watch.of_run(run_directory)) is not None and found.cpu < 0.2:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert found is not None
        assert found.memory > 5e6
    finally:
        os.killpg(trainer.pid, 9)
        trainer.wait()
    assert watch.of_run(run_directory) is None


def test_gpu_memory_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    assert machine._gpu_memory_of({os.getpid()}) == 2 * GIB
    assert machine._gpu_memory_of({123_456_789}) is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert machine._gpu_memory_of({os.getpid()}) is None
