"""The panes of a run on their own: empty and full, small and large, in both languages and in ASCII alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.app import ComposeResult
from textual.widget import Widget

from minimind.events import Band, Language, Level, Text
from minimind.training.machine import NO_GPU, Machine, RunUsage
from minimind.training.rules.finding import Finding
from minimind.training.run_status import RunStatus
from minimind_tui.compare_watch import ComparedRun
from minimind_tui.lens_client import Side, Token
from minimind_tui.widgets.findings_pane import FindingsPane
from minimind_tui.widgets.legend import Legend
from minimind_tui.widgets.machine_pane import MachinePane
from minimind_tui.widgets.metric_charts import MetricCharts
from minimind_tui.widgets.tables_pane import TablesPane
from minimind_tui.widgets.token_view import TokenView
from tests.tui.driving import BareApp, text_of

STATUS = RunStatus("finished", Text("done", "完成"))


class PaneApp(BareApp):
    """One pane, and nothing else."""

    ascii_only = False

    def __init__(self, pane: Widget) -> None:
        super().__init__()
        self.pane = pane

    def compose(self) -> ComposeResult:
        yield self.pane


def fill_findings(pane: FindingsPane) -> None:
    long = Text("a long verdict " * 12, "很长的结论" * 20)
    pane.set_findings([Finding("x", "warning", Text("Slow", "变慢"), long, long, "training", (1, 9), {"kl": 0.5})], 9)


def fill_machine(pane: MachinePane) -> None:
    pane.set(Machine(0.95, 2, 3 * 10**9, 8 * 10**9, (), NO_GPU), RunUsage(1.5, 10**8, 10**9, 3))


def fill_charts(pane: MetricCharts) -> None:
    steps = [float(step) for step in range(50)]
    names = ("gradient_norm", "learning_rate", "kl", "margin", "memory_bytes", "aux_loss", "strange_figure")
    pane.take({name: (steps, [step / 50 for step in steps]) for name in names}, (), "loss")
    pane.set_marks([Level("kl", "limit", 0.5)], [Band("margin", "margin", (0.0, 49.0), (0.0, 0.1), (0.5, 0.9))])


def fill_legend(pane: Legend) -> None:
    runs = [
        ComparedRun(f"run-{n}", f"一个很长的名字{n}" * 5, STATUS, 100 * n, None if n else 1.5, 0.25) for n in range(3)
    ]
    pane.set_runs(runs, ["✓ finished"] * 3)


def fill_tokens(pane: TokenView) -> None:
    words = tuple(
        Token(n, text, "trc"[n % 3], n == 0) for n, text in enumerate(["<|im_start|>", "词", "元⏎", "word"] * 30)
    )
    pane.set_sides([Side("chosen", words), Side("rejected", words[:5])])


CASES: dict[str, tuple[type[Widget], Callable[..., None], dict[Language, str]]] = {
    "findings": (FindingsPane, fill_findings, {"en": "Slow", "zh": "变慢"}),
    "machine": (MachinePane, fill_machine, {"en": "95 % of 2 cores", "zh": "95 %，共 2 核"}),
    "charts": (MetricCharts, fill_charts, {"en": "Preference margins", "zh": "偏好间隔"}),
    "legend": (Legend, fill_legend, {"en": "Run", "zh": "训练"}),
    "tokens": (TokenView, fill_tokens, {"en": "The chosen answer", "zh": "选中的回答"}),
    "tables": (TablesPane, lambda _: None, {"en": "records no tables", "zh": "没有记录表格"}),
}


@pytest.mark.parametrize(("language", "size"), [("en", (80, 24)), ("zh", (40, 10))])
@pytest.mark.parametrize("name", CASES)
async def test_a_pane_fits_its_room_empty_and_full(name: str, language: Language, size: tuple[int, int]) -> None:
    made, fill, words = CASES[name]
    app = PaneApp(made())
    app.language = language
    app.ascii_only = size == (40, 10)
    async with app.run_test(size=size) as pilot:
        text_of(app)  # every row is as wide as the terminal
        fill(app.pane)
        await pilot.pause()
        await pilot.pause()
        assert words[language] in text_of(app)
        app.pane.focus()
        await pilot.press("down", "right", "pagedown", "pageup")
        text_of(app)
