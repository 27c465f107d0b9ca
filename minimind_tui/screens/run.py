"""One training run, live: its curves, what it writes, its checkpoints and its log, and the keys that steer it."""

from __future__ import annotations

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.content import Content
from textual.css.query import NoMatches

from minimind.errors import UserError
from minimind.figures import number, rough_duration, size
from minimind.safe_text import clean_line
from minimind.training.machine import Machine, MachineWatch, RunUsage
from minimind_tui import supervisor
from minimind_tui.metrics import main_group
from minimind_tui.run_watch import RunSnapshot, RunWatch
from minimind_tui.screens.rate_dialog import RateDialog
from minimind_tui.screens.run_actions import STATE_MARKS, RunActions, Target
from minimind_tui.widgets.findings_pane import FindingsPane
from minimind_tui.widgets.line import Line
from minimind_tui.widgets.list_table import Column, ListTable, TableRow
from minimind_tui.widgets.loss_chart import LossChart
from minimind_tui.widgets.machine_pane import MachinePane
from minimind_tui.widgets.metric_charts import MetricCharts
from minimind_tui.widgets.pane_bar import PaneBar
from minimind_tui.widgets.run_facts import RunFacts
from minimind_tui.widgets.run_log import RunLog
from minimind_tui.widgets.run_outcome import RunOutcome
from minimind_tui.widgets.samples_pane import SamplesPane
from minimind_tui.widgets.tables_pane import TablesPane

POLL_SECONDS = 0.5
REMOTE_POLL_SECONDS = 1.0
MACHINE_SECONDS = 2.0
DETAIL_SECONDS = 2.0
WIDE, TALL = 120, 40
"""From this size on all panes are shown at once."""

PANES = ("loss", "samples", "metrics", "tables", "findings", "machine", "checkpoints", "log")
_NEXT = {"pretrain": "sft", "sft": "dpo", "distillation": "dpo", "dpo": "grpo"}
"""The method that usually comes after another one."""
CHECKPOINT_COLUMNS = (
    Column("run.column.step", 10, right=True),
    Column("run.column.held_out", 10, right=True),
    Column("run.column.size", 10, right=True),
    Column("run.column.age", 0),
)


class RunScreen(RunActions):
    """The screen of the run in `directory`. Raises UserError where that is no run."""

    DEFAULT_CSS = """
    RunScreen #panes { height: 1fr; layout: horizontal; }
    RunScreen .side { width: 1fr; height: 1fr; display: none; }
    RunScreen .pane { height: 1fr; width: 1fr; display: none; }
    RunScreen .pane.-current, RunScreen .side.-current { display: block; }
    RunScreen.-wide .side { display: block; }
    RunScreen.-wide .pane { display: block; }
    RunScreen.-wide .pane.-absent { display: none; }
    RunScreen.-wide #left { width: 3fr; margin: 0 1 0 0; }
    RunScreen.-wide #right { width: 2fr; }
    RunScreen.-wide PaneBar { display: none; }
    RunScreen.-wide #right .pane { border-top: solid $rule; border-title-color: $text-muted; }
    RunScreen.-wide #right .pane:focus-within { border-top: solid $primary; border-title-color: $primary; }
    RunScreen.-wide RunFacts { height: 2; }
    RunScreen.-wide #samples, RunScreen.-wide #tables { height: 2fr; }
    RunScreen #checkpoints-none { padding: 0 1; color: $text-muted; height: auto; display: none; }
    RunScreen #checkpoints.-empty #checkpoints-none { display: block; }
    RunScreen #checkpoints.-empty ListTable { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "save", "run.key.save"),
        Binding("c", "chat", "run.key.chat"),
        Binding("f", "fine_tune", "run.key.fine_tune"),
        Binding("n", "train_on", "run.key.train_on", show=False),
        Binding("tab", "next_pane(1)", "run.key.next_pane"),
        Binding("shift+tab", "next_pane(-1)", "run.key.previous_pane", show=False),
        Binding("g", "pane('findings')", "run.key.findings", show=False),
        Binding("l", "pane('log')", "run.key.log", show=False),
        Binding("a", "rate", "run.key.rate", show=False),
        Binding("v", "lens", "run.key.lens", show=False),
        Binding("z", "zoom", "run.key.zoom", show=False),
        Binding("left_square_bracket", "sample(-1)", "run.key.older", show=False),
        Binding("right_square_bracket", "sample(1)", "run.key.newer", show=False),
        Binding("y", "log_axis", "run.key.log_axis", show=False),
        Binding("m", "smooth", "run.key.smooth", show=False),
    ]

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._watch = RunWatch(directory)
        self._snapshot: RunSnapshot | None = None
        self._gone = False
        self._pane = PANES[0]
        self._keys: tuple[object, ...] = ()
        self._losses: dict[float, float] = {}
        self._anew = True
        self._pending: list[tuple[str, float, float]] = []
        self._next_details = 0.0
        self._marks: tuple[object, ...] = ()
        self._zoomed = False

    def compose_body(self) -> ComposeResult:
        """Facts, the outcome of a run that ended, and the panes."""
        yield RunFacts(id="facts")
        yield RunOutcome()
        yield PaneBar(tuple(pane for pane in PANES if pane != "tables"), "run.pane")
        with Container(id="panes"):
            with Container(id="left", classes="side"):
                yield LossChart(self._watch.config, id="loss", classes="pane")
                yield MetricCharts(id="metrics", classes="pane")
            with Container(id="right", classes="side"):
                yield SamplesPane(dialogue=self._watch.config.objective != "pretrain", id="samples", classes="pane")
                yield TablesPane(id="tables", classes="pane -absent")
                yield FindingsPane(id="findings", classes="pane")
                yield MachinePane(id="machine", classes="pane")
                with Container(id="checkpoints", classes="pane"):
                    yield ListTable(CHECKPOINT_COLUMNS, id="checkpoint-table")
                    yield Line(id="checkpoints-none")
                yield RunLog(id="log", classes="pane")

    def title_text(self) -> str:
        """The run's id, and its name if it has one."""
        view = self._watch.view
        return clean_line(f"{view.name} ({view.id})" if view.name else view.id, 120)

    def on_mount(self) -> None:
        """Arrange the panes."""
        self._arrange(*self.app.size)
        self.action_pane(self._pane)
        self.relabel()

    def on_resize(self, event: events.Resize) -> None:
        """All panes at once where there is room."""
        self._arrange(event.size.width, event.size.height)

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        """Follow the run again."""
        self._follow()
        self._follow_machine()

    def on_screen_suspend(self) -> None:
        """Nobody looks: stop reading. The run goes on."""
        for group in ("follow", "machine"):
            self.workers.cancel_group(self, group)

    async def on_unmount(self) -> None:
        """Let go of the files. The run goes on."""
        await asyncio.to_thread(self._watch.close)

    # --- following ------------------------------------------------------------------------------------------------

    @work(group="follow", exclusive=True)
    async def _follow(self) -> None:
        pause = REMOTE_POLL_SECONDS if self.app.remote else POLL_SECONDS
        self._anew = True
        while not self._gone:
            try:
                snapshot = await asyncio.to_thread(self._watch.poll, self._anew)
            except OSError:
                self._gone = True
                with suppress(NoMatches):
                    self.query_one(RunOutcome).set_gone()
                    self.refresh_bindings()
                return
            self._anew = False
            with suppress(NoMatches):  # a screen that is being taken down has lost parts of itself
                self._show(snapshot)
            await asyncio.sleep(0.01 if snapshot.loading is not None else pause)

    @work(group="machine", exclusive=True)
    async def _follow_machine(self) -> None:
        """Look at the machine while its pane is to be seen."""
        directory, loop = self._watch.directory, asyncio.get_running_loop()
        # psutil counts from one look of a thread to its next: it must always be the same thread.
        thread = ThreadPoolExecutor(1)
        try:
            watch = await loop.run_in_executor(thread, MachineWatch)
            while not self._gone:
                with suppress(NoMatches):
                    pane = self.query_one(MachinePane)
                    if pane.size.height:
                        look = partial(_look, watch, directory)
                        pane.set(*await loop.run_in_executor(thread, look))
                await asyncio.sleep(MACHINE_SECONDS)
        finally:
            thread.shutdown(wait=False, cancel_futures=True)

    def _show(self, snapshot: RunSnapshot) -> None:
        self._snapshot = snapshot
        state = snapshot.status.state
        self.query_one(RunFacts).set(snapshot, self.state_name(snapshot.status), STATE_MARKS[state][2])
        self._draw(snapshot)
        self.query_one(SamplesPane).set_samples(snapshot.samples)
        self._tables(snapshot)
        self.query_one(FindingsPane).set_findings(snapshot.findings, snapshot.step)
        self.query_one(PaneBar).set_count("findings", len(snapshot.findings or ()))
        self._held_out(snapshot)
        self.query_one(RunOutcome).set(snapshot, best=self._best(), can_fine_tune=self._can_fine_tune())
        self._checkpoints(snapshot)
        self.query_one(RunLog).take(snapshot)
        keys = (state, bool(snapshot.checkpoints))
        if keys != self._keys:
            self._keys = keys
            self.refresh_bindings()

    def _draw(self, snapshot: RunSnapshot) -> None:
        """The curves, and the lines and spreads under them."""
        chart, details = self.query_one(LossChart), self.query_one(MetricCharts)
        chart.take(snapshot)
        self._pending += snapshot.points
        if snapshot.curves is not None or time.monotonic() >= self._next_details:
            # A dozen small charts cost more of the link than all the rest: they are brought up to date less often.
            points = () if snapshot.curves is not None else tuple(self._pending)
            details.take(snapshot.curves, points, chart.group)
            self._pending.clear()
            self._next_details = time.monotonic() + DETAIL_SECONDS
        # The first reward of a run that was opened before it began: what is drawn in the middle changes.
        self._anew = snapshot.loading is None and chart.group != main_group(snapshot.latest)
        marks = (chart.group, snapshot.levels, snapshot.bands)
        if marks != self._marks:
            self._marks = marks
            chart.set_marks(snapshot.levels, snapshot.bands)
            details.set_marks(snapshot.levels, snapshot.bands)

    def _tables(self, snapshot: RunSnapshot) -> None:
        """A pane of its own for tables, where there are any."""
        pane = self.query_one(TablesPane)
        pane.set_tables(snapshot.tables)
        if pane.has_class("-absent") == bool(snapshot.tables):
            pane.set_class(not snapshot.tables, "-absent")
            self.query_one(PaneBar).set_names(self._offered())

    def _held_out(self, snapshot: RunSnapshot) -> None:
        """Keep the held-out losses by step."""
        if snapshot.curves is not None:
            self._losses = dict(zip(*snapshot.curves.get("validation_loss", ((), ())), strict=True))
        self._losses.update((x, y) for name, x, y in snapshot.points if name == "validation_loss")

    def _checkpoints(self, snapshot: RunSnapshot) -> None:
        now = time.time()
        rows = [
            TableRow(
                str(checkpoint.path),
                (
                    f"{checkpoint.step:,}",
                    number(self._losses.get(checkpoint.step)),
                    size(checkpoint.size),
                    rough_duration(max(0.0, now - checkpoint.time), self.language),
                ),
            )
            for checkpoint in reversed(snapshot.checkpoints)
        ]
        self.query_one(ListTable).set_rows(rows)
        self.query_one("#checkpoints").set_class(not rows, "-empty")

    def _best(self) -> float | None:
        """The lowest held-out loss."""
        return min((loss for loss in self._losses.values() if math.isfinite(loss)), default=None)

    def relabel(self) -> None:
        """Speak again."""
        for pane in PANES:
            self.query_one(f"#{pane}").border_title = Content(self.t(f"run.pane.{pane}"))
        self.query_one("#checkpoints-none", Line).show(self.t("run.checkpoints_none"))
        if self._snapshot is not None:
            state = self._snapshot.status.state
            self.query_one(RunFacts).set(self._snapshot, self.state_name(self._snapshot.status), STATE_MARKS[state][2])
            self._checkpoints(self._snapshot)

    # --- panes ------------------------------------------------------------------------------------------------------

    def _arrange(self, width: int, height: int) -> None:
        """All panes at once where there is room, else one at a time."""
        self.set_class(width >= WIDE and height >= TALL and not self._zoomed, "-wide")

    @on(PaneBar.Picked)
    def _pane_picked(self, event: PaneBar.Picked) -> None:
        self.action_pane(event.name)

    def action_pane(self, name: str) -> None:
        """Show the pane `name` and give it the focus."""
        self._pane = name
        self.query_one(PaneBar).show(name)
        for pane in PANES:
            self.query_one(f"#{pane}").set_class(pane == name, "-current")
        for side in self.query(".side"):
            side.set_class(bool(side.query(".pane.-current")), "-current")
        self.call_after_refresh(self._focus_pane, name)

    def _focus_pane(self, name: str) -> None:
        """The focus to what is to be seen first in the pane `name`."""
        pane = self.query_one(f"#{name}")
        target = next((widget for widget in (pane, *pane.query("*")) if widget.focusable), None)
        if target is not None:
            target.focus()

    def _offered(self) -> tuple[str, ...]:
        """The panes with something in them."""
        return tuple(pane for pane in PANES if not self.query_one(f"#{pane}").has_class("-absent"))

    def action_next_pane(self, step: int) -> None:
        """Go to the next pane, or to the one before."""
        panes = self._offered()
        self.action_pane(panes[(panes.index(self._pane) + step) % len(panes)])

    @on(FindingsPane.LessonWanted)
    def _lesson_wanted(self, event: FindingsPane.LessonWanted) -> None:
        self.app.leave_for_lesson(event.slug)

    def action_zoom(self) -> None:
        """The pane with the focus alone, or all again."""
        focused = next((pane for pane in PANES if self.query_one(f"#{pane}").has_focus_within), self._pane)
        self._zoomed = not self._zoomed
        self._arrange(*self.app.size)
        self.action_pane(focused)

    def action_sample(self, step: int) -> None:
        """Older or newer samples."""
        self.query_one(SamplesPane).turn(step)

    def action_log_axis(self) -> None:
        """The loss on a logarithmic axis, or not."""
        self.query_one(LossChart).action_toggle_log()

    def action_smooth(self) -> None:
        """Averaged curves, or as measured."""
        chart = self.query_one(LossChart)
        chart.action_toggle_smooth()
        self.query_one(MetricCharts).smooth(chart.smoothed)

    # --- the run ------------------------------------------------------------------------------------------------------

    def target(self) -> Target | None:
        """This run."""
        snapshot = self._snapshot
        if snapshot is None or self._gone:
            return None
        taken = sum(checkpoint.size for checkpoint in snapshot.checkpoints)
        return Target(self._watch.directory, snapshot.status, len(snapshot.checkpoints), taken)

    def run_changed(self) -> None:
        """Look again at once."""
        if self.is_current:
            self._follow()

    def run_deleted(self, _directory: Path) -> None:
        """Nothing is left to show."""
        self.app.call_later(self.app.action_back)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what the run's state allows has a key."""
        if action in ("save", "rate"):
            target = self.target()
            return target is not None and target.status.state in ("running", "paused")
        if action == "fine_tune":
            return self._can_fine_tune()
        if action in ("chat", "train_on"):
            return self._snapshot is not None and bool(self._snapshot.checkpoints)
        return super().check_action(action, parameters)

    def _can_fine_tune(self) -> bool:
        snapshot = self._snapshot
        return (
            snapshot is not None
            and bool(snapshot.checkpoints)
            and not snapshot.status.live
            and self._watch.config.objective == "pretrain"
        )

    def _checkpoint(self) -> Path | None:
        """The checkpoint under the cursor where the table has the focus, else the newest."""
        table = self.query_one(ListTable)
        if table.has_focus and table.current is not None:
            return Path(table.current)
        checkpoints = self._snapshot.checkpoints if self._snapshot is not None else ()
        return checkpoints[-1].path if checkpoints else None

    @work(group="ask")
    async def action_save(self) -> None:
        """Ask for a checkpoint now."""
        target = self.target()
        if target is not None and await self.ask(supervisor.save, target.directory):
            self.confide("saving", target)

    async def action_train_on(self) -> None:
        """Open the form of a run that goes on from a checkpoint, with the method that usually comes next."""
        found = self._checkpoint()
        if found is not None:
            objective = self._watch.config.objective
            await self.app.show_new_run({"objective": _NEXT.get(objective, objective), "model": str(found)})

    async def action_lens(self) -> None:
        """Look at the data as this run's trainer does."""
        await self.app.show_lens(self._watch.config)

    @work(group="ask", exclusive=True)
    async def action_rate(self) -> None:
        """Another learning rate from the next step on."""
        target = self.target()
        if target is None:
            return
        wished = await asyncio.to_thread(supervisor.learning_rate, target.directory)
        rate = await self.app.push_screen_wait(RateDialog(wished or self._watch.config.learning_rate))
        if rate is not None and await self.ask(supervisor.set_learning_rate, target.directory, rate):
            self.confide("rate", target, rate=f"{rate:g}")

    async def action_chat(self) -> None:
        """Talk to a checkpoint."""
        found = self._checkpoint()
        if found is not None:
            await self.app.show_chat(str(found))

    @on(ListTable.Chosen)
    async def _checkpoint_chosen(self, event: ListTable.Chosen) -> None:
        await self.app.show_chat(event.row)

    @work(group="ask", exclusive=True)
    async def action_fine_tune(self) -> None:
        """Start supervised fine-tuning from a checkpoint, and show it."""
        found = self._checkpoint()
        if found is None:
            return
        self.app.tell(self.t("run.starting_fine_tune", checkpoint=supervisor.model_title(str(found))))
        try:
            directory = await asyncio.to_thread(supervisor.fine_tune, found)
        except UserError as error:
            self.app.tell(error.text, severity="error")
            return
        self.app.call_later(self.app.show_run, directory)


def _look(watch: MachineWatch, directory: Path) -> tuple[Machine, RunUsage | None]:
    """The machine, and what a run uses of it."""
    return watch.now(), watch.of_run(directory)
