"""The list of training runs, followed while it is looked at."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.css.query import NoMatches
from textual.widgets import Input

from minimind.errors import UserError
from minimind.events import Text
from minimind.figures import number, percent, rough_duration, size
from minimind.safe_text import clean_line
from minimind.training.run_filter import RunFilter, parse_filter
from minimind.training.runs import State
from minimind_tui import supervisor
from minimind_tui.screens.about_dialog import AboutDialog, Words
from minimind_tui.screens.dialog import ConfirmDialog
from minimind_tui.screens.run_actions import STATE_MARKS, RunActions, Target
from minimind_tui.supervisor import RunList, RunSummary
from minimind_tui.widgets.line import Line
from minimind_tui.widgets.list_table import Column, ListTable, TableRow

POLL_SECONDS = 1.0

# An id, 24 cells, is never cut: other columns give way first.
COLUMNS = (
    Column("runs.column.state", 12),
    Column("runs.column.run", 0),
    Column("runs.column.objective", 12, appears_at=131),
    Column("runs.column.model", 16, appears_at=106),
    Column("runs.column.device", 6, appears_at=139),
    Column("runs.column.tags", 16, appears_at=157),
    Column("runs.column.progress", 6, right=True),
    Column("runs.column.eta", 9, right=True, appears_at=78),
    Column("runs.column.loss", 7, right=True),
    Column("runs.column.best", 7, right=True, appears_at=66),
    Column("runs.column.age", 9, right=True, appears_at=88),
    Column("runs.column.size", 8, right=True, appears_at=116),
)


class RunsScreen(RunActions):
    """All runs, newest first: their state, progress and losses, and what can be done to them."""

    TITLE_KEY = "runs.title"
    AUTO_FOCUS = "ListTable"  # not the filter, which would swallow every key
    DEFAULT_CSS = """
    RunsScreen #summary { height: 1; padding: 0 1; color: $text-muted; }
    RunsScreen #filter { display: none; height: 1; margin: 0 1; background: $panel; }
    RunsScreen.-filtering #filter { display: block; }
    RunsScreen #empty { display: none; height: 1fr; align: center middle; }
    RunsScreen #empty Line { width: auto; max-width: 70; height: auto; text-align: center; }
    RunsScreen #empty-title { text-style: bold; margin: 0 0 1 0; }
    RunsScreen.-empty #empty { display: block; }
    RunsScreen.-empty ListTable, RunsScreen.-empty #about { display: none; }
    RunsScreen #about { height: auto; max-height: 5; padding: 0 1; border-top: solid $rule; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "runs.key.new"),
        Binding("slash", "filter", "runs.key.filter"),
        Binding("space", "mark", "runs.key.mark"),
        Binding("o", "compare", "runs.key.compare"),
        Binding("e", "describe", "runs.key.describe"),
        Binding("u", "queue", "runs.key.queue", show=False),
        Binding("U,shift+u", "queue(True)", "runs.key.queue_first", show=False),
        Binding("w", "only_queue", "runs.key.only_queue", show=False),
        Binding("K,shift+up", "move_in_queue(-1)", "runs.key.queue_up", show=False),
        Binding("J,shift+down", "move_in_queue(1)", "runs.key.queue_down", show=False),
        Binding("c", "chat", "runs.key.chat", show=False),
        Binding("escape", "show_all", "runs.key.all", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._list = RunList()
        self._runs: dict[str, RunSummary] = {}
        self._looked = False
        self._filter = ""
        self._condition = RunFilter()
        self._complaint: Text | None = None
        self._marked: set[str] = set()
        self._only_queue = False
        self._state: State | None = None

    def compose_body(self) -> ComposeResult:
        """A summary, the table (or why it is empty), and a few words about the run under the cursor."""
        yield Line(id="summary")
        filter_box = Input(id="filter", compact=True)
        filter_box.cursor_blink = False
        yield filter_box
        yield ListTable(COLUMNS, id="table")
        with Vertical(id="empty"):
            yield Line(id="empty-title")
            yield Line(id="empty-words")
        yield Line(id="about")

    def on_mount(self) -> None:
        """Begin."""
        self.query_one(ListTable).focus()
        self.relabel()

    def on_screen_resume(self, _event: events.ScreenResume) -> None:
        """Follow the runs again."""
        self._follow()

    def on_screen_suspend(self) -> None:
        """Nobody looks: stop reading."""
        self.workers.cancel_group(self, "follow")

    async def on_unmount(self) -> None:
        """Let go of the files."""
        await asyncio.to_thread(self._list.close)

    # --- following ------------------------------------------------------------------------------------------------

    @work(group="follow", exclusive=True)
    async def _follow(self) -> None:
        while True:
            summaries = await asyncio.to_thread(self._list.poll, self._condition)
            self._runs = {summary.id: summary for summary in summaries}
            self._marked &= self._runs.keys()
            self._looked = True
            with suppress(NoMatches):  # a screen that is being taken down has lost parts of itself
                self._show()
                if self.app.last_run is not None:
                    self.query_one(ListTable).go_to(self.app.last_run.name)
                    self.app.last_run = None
            await asyncio.sleep(POLL_SECONDS)

    def run_changed(self) -> None:
        """Look again at once."""
        if self.is_current:
            self._follow()

    def relabel(self) -> None:
        """Speak again."""
        self.query_one("#filter", Input).placeholder = self.t("runs.filter")
        self._show()

    def _show(self) -> None:
        shown = [run for run in self._runs.values() if run.fits]
        if self._only_queue:
            live = [run for run in shown if run.status.live]
            shown = live + sorted((run for run in shown if run.place), key=lambda run: run.place or 0)
        now = time.time()
        self.query_one(ListTable).set_rows([self._row(run, now) for run in shown])
        self.set_class(self._looked and not shown, "-empty")
        if self._only_queue and not shown:
            title, words = "", self.t("runs.queue_empty")
        elif self._runs and not shown:
            title, words = "", self.t("runs.no_match", filter=self._filter)
        else:
            title, words = self.t("runs.empty_title"), self.t("runs.empty")
        self.query_one("#empty-title", Line).show(title)
        self.query_one("#empty-words", Line).show(words)
        alive = sum(run.status.live for run in self._runs.values())
        total = size(sum(run.size for run in self._runs.values()))
        summary = self.t("runs.summary", count=len(self._runs), live=alive, size=total) if self._runs else ""
        waiting = sum(run.place is not None for run in self._runs.values())
        if waiting or self._only_queue:
            summary += " · " + self.t("runs.waiting" if self._only_queue else "runs.queued", count=waiting)
        if self._marked:
            summary += " · " + self.t("runs.marked", count=len(self._marked))
        if self._complaint is not None:
            summary = self.say(self._complaint)
        self.query_one("#summary", Line).show(summary if self._looked else self.t("runs.loading"))
        self._tell_more()

    def _row(self, run: RunSummary, now: float) -> TableRow:
        eta = run.eta_seconds
        state = self.state_name(run.status)
        if run.place is not None:
            state = f"{state[:1]} {self.t('runs.place', place=run.place)}"
        cells = (
            state,
            clean_line(f"{run.name} ({run.id})" if run.name else run.id, 200),
            run.objective,
            _short(clean_line(run.model, 80)),
            run.device,
            " ".join(run.tags),
            "" if run.share is None else percent(run.share),
            "" if eta is None else rough_duration(eta, self.language),
            *self._figures(run),
            rough_duration(now - run.created, self.language) if run.created else "",
            size(run.size),
        )
        return TableRow(run.id, cells, STATE_MARKS[run.status.state][2], run.id in self._marked)

    def _figures(self, run: RunSummary) -> tuple[str, str]:
        """The latest loss and the best held-out one; with an arrow the rewards, of which more is better."""
        if run.reward is None:
            loss = "" if run.loss is None else number(run.loss)
            return loss, "" if run.best_loss is None else number(run.best_loss)
        up = "^" if self.ascii_only else "↑"
        best = "" if run.best_loss is None else f"{up}{-run.best_loss:.3g}"
        return f"{up}{run.reward:.3g}", best

    @on(ListTable.Moved)
    def _tell_more(self) -> None:
        """The reason and the advice of the run under the cursor."""
        run = self._current()
        words = ""
        if run is not None:
            advice = run.status.advice
            words = f"{run.id}: {self.say(run.status.reason)}" + (f" — {self.say(advice)}" if advice else "")
            said = " ".join([*(f"#{tag}" for tag in run.tags), clean_line(run.note, 300)]).strip()
            words += f"\n{said}" if said else ""
        self.query_one("#about", Line).show(words)
        state = run.status.state if run is not None else None
        if state != self._state:
            self._state = state
            self.refresh_bindings()

    # --- keys -------------------------------------------------------------------------------------------------------

    def _current(self) -> RunSummary | None:
        return self._runs.get(self.query_one(ListTable).current or "")

    def target(self) -> Target | None:
        """The run under the cursor."""
        run = self._current()
        return Target(run.directory, run.status, run.checkpoints, run.size) if run else None

    def run_deleted(self, directory: Path) -> None:
        """Take it out of the list."""
        self._runs.pop(directory.name, None)
        self._show()

    @on(ListTable.Chosen)
    async def _open(self, event: ListTable.Chosen) -> None:
        run = self._runs.get(event.row)
        if run is not None:
            await self.app.show_run(run.directory)

    async def action_new(self) -> None:
        """Start a run."""
        await self.app.show_new_run()

    async def action_chat(self) -> None:
        """Talk to the run's newest checkpoint."""
        run = self._current()
        if run is None:
            return
        if run.newest is None:
            self.app.tell(self.t("runs.said.no_checkpoint", run=run.id))
        else:
            await self.app.show_chat(str(run.newest))

    def _chosen(self) -> list[RunSummary]:
        """The marked runs; where none is, the one under the cursor."""
        if self._marked:
            return [run for run in self._runs.values() if run.id in self._marked]
        run = self._current()
        return [run] if run is not None else []

    def action_mark(self) -> None:
        """Mark the run under the cursor, or no longer, and go on to the next."""
        run = self._current()
        if run is not None:
            self._marked ^= {run.id}
            self._show()
            self.query_one(ListTable).action_move(1)

    @work(group="ask", exclusive=True)
    async def action_queue(self, first: bool = False) -> None:
        """Let the marked runs (or the one under the cursor) wait for their turn, or no longer."""
        for run in self._chosen():
            if await self.ask(supervisor.toggle_queue, run.directory, first=first):
                self._marked.discard(run.id)

    def action_only_queue(self) -> None:
        """Only what runs and what waits, in order; or everything."""
        self._only_queue = not self._only_queue
        self._show()

    @work(group="ask")
    async def action_move_in_queue(self, places: int) -> None:
        """Earlier or later in the queue."""
        run = self._current()
        if run is not None and run.place is not None:
            await self.ask(supervisor.move_in_queue, run.directory, places)

    async def action_compare(self) -> None:
        """Lay the marked runs over each other."""
        runs = self._chosen()
        if len(runs) < 2:
            self.app.tell(self.t("runs.said.mark_first"))
        else:
            await self.app.show_comparison([run.directory for run in runs])

    @work(group="ask", exclusive=True)
    async def action_describe(self) -> None:
        """Name, tags and note of the run under the cursor."""
        run = self._current()
        if run is None:
            return
        words = await self.app.push_screen_wait(AboutDialog(run.id, Words(run.name, run.tags, run.note)))
        if words is not None:
            await self.ask(supervisor.describe, run.directory, words.name, words.tags, words.note)

    @work(group="ask", exclusive=True)
    async def action_delete(self) -> None:
        """Delete the marked runs, or the one under the cursor, once confirmed."""
        runs = self._chosen()
        if len(runs) == 1:
            self._marked.clear()
            super().action_delete()
            return
        idle = [run for run in runs if not run.status.live]
        dialog = ConfirmDialog(
            "runs.ask.delete_many",
            yes="runs.ask.yes_delete",
            runs=len(idle),
            live=len(runs) - len(idle),
            count=sum(run.checkpoints for run in idle),
            size=size(sum(run.size for run in idle)),
        )
        if not idle or not await self.app.push_screen_wait(dialog):
            return
        for run in idle:
            if await self.ask(supervisor.delete, run.directory):
                self._marked.discard(run.id)
                self.run_deleted(run.directory)

    def action_filter(self) -> None:
        """Ask for words to filter by."""
        self.add_class("-filtering")
        self.query_one("#filter", Input).focus()

    def action_show_all(self) -> None:
        """Drop the filter, or else the marks."""
        if not self.has_class("-filtering"):
            self._marked.clear()
            self._show()
        self.query_one("#filter", Input).value = ""
        self.remove_class("-filtering")
        self.query_one(ListTable).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Escape is ours only while there is a filter or a mark; several runs are deleted together."""
        if action == "show_all":
            return self.has_class("-filtering") or bool(self._marked)
        if action == "delete" and len(self._marked) > 1:
            return True
        return super().check_action(action, parameters)

    @on(Input.Changed, "#filter")
    def _filter_typed(self, event: Input.Changed) -> None:
        self._filter = event.value.strip()
        try:
            self._condition, self._complaint = parse_filter(self._filter), None
        except UserError as error:  # in the middle of a key, mostly: what held so far still does
            self._complaint = error.text
            self._show()
        else:
            self.run_changed()

    @on(Input.Submitted, "#filter")
    def _filter_done(self) -> None:
        self.query_one(ListTable).focus()


def _short(model: str) -> str:
    """A model's title in a narrow column: of a run's checkpoint, the last part of its id is enough to tell it."""
    run, found, step = model.partition(" · ")
    return f"{run.rpartition('-')[2]} · {step}" if found else model
