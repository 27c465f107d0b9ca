"""How busy the machine is, and how much of that is one run: processors, memory, GPUs. No torch, and no CUDA context.

GPUs are asked through NVML (the package nvidia-ml-py, an optional extra), or by nvidia-smi where that is not installed;
both only look. Where there is no GPU the answer is an empty tuple and a sentence that says why.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from minimind.events import Text
from minimind.hardware import available_cores
from minimind.safe_text import clean_line
from minimind.training.liveness import read_processes
from minimind.training.processes import is_alive

_SMI_SECONDS = 5.0
_SMI_FIELDS = (
    "index,name,utilization.gpu,memory.used,memory.total,temperature.gpu,power.draw,enforced.power.limit"  # no spaces
)
NO_GPU = Text("no NVIDIA GPU here", "本机没有 NVIDIA GPU")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU: busy share of the last moment (0…1), bytes of memory, degrees Celsius, watts; None where it does not say."""

    index: int
    name: str
    utilisation: float | None
    memory_used: int | None
    memory_total: int | None
    temperature: float | None
    power: float | None
    power_limit: float | None


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine at one moment.

    `cpu` is the busy share of all processors (0…1) since the last look; `cores` those this process may use. Memory is in
    bytes, `memory_used` what is not available to a new process. `gpu_note` says why there is no GPU in `gpus`.
    """

    cpu: float
    cores: int
    memory_used: int
    memory_total: int
    gpus: tuple[Gpu, ...]
    gpu_note: Text | None


@dataclass(frozen=True, slots=True)
class RunUsage:
    """What the processes of a run use: processors kept busy since the last look (1.0: one of them), bytes of main memory
    (shared pages counted in each process), bytes on GPUs (None where that is not known), and how many processes there are.
    """

    cpu: float
    memory: int
    gpu_memory: int | None
    processes: int


class MachineWatch:
    """Looks at the machine again and again: shares of time are those since the look before (0.0 at the first)."""

    def __init__(self) -> None:
        psutil.cpu_percent(None)
        self._known: dict[int, psutil.Process] = {}

    def now(self) -> Machine:
        """The machine at this moment; takes a few milliseconds (nvidia-smi up to a second)."""
        memory = psutil.virtual_memory()
        gpus, note = read_gpus()
        return Machine(
            cpu=psutil.cpu_percent(None) / 100,
            cores=available_cores(),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            gpus=gpus,
            gpu_note=note,
        )

    def of_run(self, directory: Path) -> RunUsage | None:
        """What the run in `directory` uses: its trainer and everything that came of it. None where it does not live here."""
        told = read_processes(directory)
        trainer = told.trainer if told is not None else None
        if trainer is None or not is_alive(trainer):
            return None
        with contextlib.suppress(psutil.Error):
            root = self._known.get(trainer.pid) or psutil.Process(trainer.pid)
            found = {process.pid: self._known.get(process.pid, process) for process in root.children(recursive=True)}
            found[root.pid] = root
            self._known = found
            return _usage(found)
        return None


def machine_now(seconds: float = 0.2) -> Machine:
    """The machine over the next `seconds`; a screen that looks repeatedly keeps a `MachineWatch` instead."""
    watch = MachineWatch()
    psutil.cpu_percent(seconds)
    return watch.now()


def _usage(processes: dict[int, psutil.Process]) -> RunUsage:
    cpu, memory, count = 0.0, 0, 0
    for process in processes.values():
        with contextlib.suppress(psutil.Error):  # it ended while we looked
            cpu += process.cpu_percent(None) / 100
            memory += process.memory_info().rss
            count += 1
    return RunUsage(cpu, memory, _gpu_memory_of(set(processes)), count)


def read_gpus() -> tuple[tuple[Gpu, ...], Text | None]:
    """The GPUs, and why there is none where there is none. Never raises."""
    nvml = _nvml()
    if nvml is None:
        return _from_smi()
    try:
        gpus = tuple(_read_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
        return gpus, None if gpus else NO_GPU
    except nvml.NVMLError as error:
        return (), _unreadable(str(error))


def _unreadable(said: str) -> Text:
    shown = clean_line(said, 120)
    return Text(f"the GPU cannot be asked: {shown}", f"无法查询 GPU：{shown}")


def _nvml() -> Any:
    """The module, ready to be asked; None where it or the driver is not installed."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()  # counted: again costs nothing
    except pynvml.NVMLError:
        return None
    return pynvml


def _read_gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)

    def ask(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except nvml.NVMLError:  # this GPU (or a share of one) does not say
            return None

    name = ask(lambda: nvml.nvmlDeviceGetName(handle))
    memory = ask(lambda: nvml.nvmlDeviceGetMemoryInfo(handle))
    return Gpu(
        index,
        clean_line(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name or "GPU"), 60),
        ask(lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
        None if memory is None else int(memory.used),
        None if memory is None else int(memory.total),
        ask(lambda: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))),
        ask(lambda: nvml.nvmlDeviceGetPowerUsage(handle) / 1000),
        ask(lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000),
    )


def _gpu_memory_of(pids: set[int]) -> int | None:
    """Bytes that these processes hold on all GPUs; None where the driver does not tell (as in many containers)."""
    nvml = _nvml()
    if nvml is None:
        return None
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        held = [one for handle in handles for one in nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
    except nvml.NVMLError:
        return None
    own = [one.usedGpuMemory for one in held if one.pid in pids]
    return sum(own) if own and None not in own else None


def _from_smi() -> tuple[tuple[Gpu, ...], Text | None]:
    command = ["nvidia-smi", f"--query-gpu={_SMI_FIELDS}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SMI_SECONDS, check=False)
    except FileNotFoundError:
        return (), NO_GPU
    except (OSError, subprocess.TimeoutExpired) as error:
        return (), _unreadable(str(error))
    if done.returncode != 0:
        return (), _unreadable(done.stdout.strip() or done.stderr.strip())
    gpus = tuple(_parse_smi([cell.strip() for cell in line.split(",")]) for line in done.stdout.splitlines())
    return gpus, None if gpus else NO_GPU


def _parse_smi(cells: Sequence[str]) -> Gpu:
    """A line of nvidia-smi: MiB for memory, percent, degrees, watts; ``[N/A]`` for what is not known."""
    values: list[float | None] = []
    for cell in (*cells[2:], *[""] * 8):
        try:
            values.append(float(cell))
        except ValueError:
            values.append(None)
    busy, used, total, temperature, power, limit = values[:6]
    return Gpu(
        int(cells[0]) if cells[0].isdigit() else 0,
        clean_line(cells[1] if len(cells) > 1 else "GPU", 60),
        None if busy is None else busy / 100,
        None if used is None else int(used * 2**20),
        None if total is None else int(total * 2**20),
        temperature,
        power,
        limit,
    )
