"""How busy the machine is, and how much of that is the run: processors, memory, GPUs."""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style

from minimind.figures import percent, size
from minimind.training.machine import Gpu, Machine, RunUsage
from minimind_tui.rows import cut, fit, width_of
from minimind_tui.widgets.painted import Painted, Row, StyleKey

_LONGEST_BAR = 20
_BUSY = 0.9
"""Share from which a bar warns."""


class MachinePane(Painted, can_focus=True):
    """A row for the processors, one for memory, two for each GPU; what is not known is left out."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"machine-pane--{part}" for part in ("label", "value", "done", "full", "todo", "note")
    }
    DEFAULT_CSS = """
    MachinePane { height: 1fr; padding: 0 1; background: $background; }
    MachinePane:focus { background: $surface; }
    MachinePane > .machine-pane--label { color: $text-muted; }
    MachinePane > .machine-pane--value { color: $foreground; }
    MachinePane > .machine-pane--done { color: $primary; }
    MachinePane > .machine-pane--full { color: $warning; }
    MachinePane > .machine-pane--todo { color: $rule; }
    MachinePane > .machine-pane--note { color: $text-muted; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._machine: Machine | None = None
        self._usage: RunUsage | None = None

    def set(self, machine: Machine, usage: RunUsage | None) -> None:
        """Show the machine, and what the run uses of it (None: it does not live here)."""
        self._machine, self._usage = machine, usage
        self.schedule()

    def paint(self, width: int, height: int) -> list[Row]:
        """The rows."""
        machine, usage = self._machine, self._usage
        if machine is None:
            looking: list[Row] = [[(self.t("run.machine.looking"), "note")]]
            return (looking + [[] for _ in range(height)])[:height]
        cores = self.t("run.machine.of_cores", share=percent(machine.cpu), cores=machine.cores)
        memory = self.t("run.machine.of", used=size(machine.memory_used), total=size(machine.memory_total))
        rows = [
            self._row(self.t("run.machine.cpu"), machine.cpu, cores),
            self._row(self.t("run.machine.memory"), machine.memory_used / max(1, machine.memory_total), memory),
        ]
        for gpu in machine.gpus:
            rows += self._gpu(gpu)
        if machine.gpu_note is not None:
            rows.append([(cut(self.say(machine.gpu_note), width), "note")])
        rows.append([(cut(self._run(usage), width), "value" if usage is not None else "note")])
        return (rows + [[] for _ in range(height)])[:height]

    def style_of(self, key: StyleKey) -> Style:
        """The style of a part."""
        return self.get_component_rich_style(f"machine-pane--{key}", partial=True)

    def _row(self, label: str, share: float, words: str) -> Row:
        share = min(1.0, max(0.0, share))
        bar = max(4, min(_LONGEST_BAR, self.size.width // 4))
        done = round(bar * share)
        full, empty = ("#", "-") if self.ascii_only else ("━", "─")
        tone = "full" if share >= _BUSY else "done"
        head = fit(label, max(8, width_of(label))) + " "
        return [(head, "label"), (full * done, tone), (empty * (bar - done), "todo"), (f"  {words}", "value")]

    def _gpu(self, gpu: Gpu) -> list[Row]:
        words = [percent(gpu.utilisation) if gpu.utilisation is not None else "", gpu.name]
        if gpu.temperature is not None:
            words.append(f"{gpu.temperature:.0f} °C")
        if gpu.power is not None:
            limit = f"/{gpu.power_limit:.0f}" if gpu.power_limit else ""
            words.append(f"{gpu.power:.0f}{limit} W")
        rows = [self._row(f"GPU {gpu.index}", gpu.utilisation or 0.0, " · ".join(filter(None, words)))]
        if gpu.memory_used is not None and gpu.memory_total:
            held = self.t("run.machine.of", used=size(gpu.memory_used), total=size(gpu.memory_total))
            rows.append(self._row("", gpu.memory_used / gpu.memory_total, held))
        return rows

    def _run(self, usage: RunUsage | None) -> str:
        if usage is None:
            return self.t("run.machine.not_here")
        values = {"cpu": f"{usage.cpu:.1f}", "memory": size(usage.memory), "processes": usage.processes}
        words = self.t("run.machine.run", **values)
        return (
            words if usage.gpu_memory is None else words + self.t("run.machine.on_gpu", memory=size(usage.gpu_memory))
        )
