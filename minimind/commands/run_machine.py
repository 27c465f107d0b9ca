"""``minimind runs machine``: how busy the machine is, and what each living run uses of it."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict
from typing import Any

from minimind.commands.columns import in_columns
from minimind.commands.output import Output
from minimind.commands.run_text import text_data
from minimind.figures import percent, size
from minimind.training.machine import Gpu, Machine, MachineWatch, RunUsage
from minimind.training.runs import list_runs

_LOOK_SECONDS = 0.5


def machine(_arguments: argparse.Namespace, output: Output) -> int:
    """Look twice, half a second apart, and tell."""
    watch = MachineWatch()
    live = [view.directory for view in list_runs() if view.status().live]
    watches = {directory: MachineWatch() for directory in live}
    for directory, own in watches.items():
        own.of_run(directory)
    time.sleep(_LOOK_SECONDS)
    found = watch.now()
    usages = {directory.name: own.of_run(directory) for directory, own in watches.items()}
    runs = {name: usage for name, usage in usages.items() if usage is not None}
    output.emit(_data(found, runs), in_columns(_rows(found, runs, output)))
    return 0


def _data(found: Machine, runs: dict[str, RunUsage]) -> dict[str, Any]:
    note = text_data(found.gpu_note) if found.gpu_note else None
    return asdict(found) | {"gpu_note": note, "runs": {name: asdict(usage) for name, usage in runs.items()}}


def _rows(found: Machine, runs: dict[str, RunUsage], output: Output) -> list[list[str]]:
    memory = f"{size(found.memory_used)} / {size(found.memory_total)}"
    cores = output.pick(f"{found.cores} cores", f"{found.cores} 核")
    rows = [["CPU", f"{percent(found.cpu)}, {cores}"], [output.pick("memory", "内存"), memory]]
    rows += [[f"GPU {gpu.index}", gpu_text(gpu)] for gpu in found.gpus]
    if found.gpu_note is not None:
        rows.append(["GPU", found.gpu_note.of(output.language)])
    for name, usage in runs.items():
        held = "" if usage.gpu_memory is None else f", GPU {size(usage.gpu_memory)}"
        busy = output.pick(f"{usage.cpu:.1f} cores", f"{usage.cpu:.1f} 核")
        rows.append([name, f"{busy}, {size(usage.memory)}{held}"])
    return rows


def gpu_text(gpu: Gpu) -> str:
    """Name and figures of a GPU on one line; what it does not say is left out."""
    words = [gpu.name]
    if gpu.utilisation is not None:
        words.append(percent(gpu.utilisation))
    if gpu.memory_used is not None and gpu.memory_total is not None:
        words.append(f"{size(gpu.memory_used)} / {size(gpu.memory_total)}")
    if gpu.temperature is not None:
        words.append(f"{gpu.temperature:.0f} °C")
    if gpu.power is not None:
        words.append(f"{gpu.power:.0f} W" + (f" / {gpu.power_limit:.0f} W" if gpu.power_limit is not None else ""))
    return ", ".join(words)
