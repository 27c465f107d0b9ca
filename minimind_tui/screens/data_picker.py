"""Choose data: those sets by name that fit the method, and whether they are here."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from textual import on, work
from textual.app import ComposeResult
from textual.css.query import NoMatches

from minimind.figures import size
from minimind_tui.data_list import DataSet, fitting_data
from minimind_tui.screens.dialog import Dialog
from minimind_tui.widgets.list_table import Column, ListTable, TableRow
from minimind_tui.widgets.phrase import Phrase

_COLUMNS = (
    Column("data.column.name", 18),
    Column("data.column.place", 10),
    Column("data.column.size", 8, right=True),
    Column("data.column.about", 0, appears_at=70),
)


class DataPicker(Dialog[str | None]):
    """Enter answers with a name, Esc with nothing."""

    DEFAULT_CSS = """
    DataPicker > .box { width: 96; height: 80%; }
    DataPicker Phrase.hint { color: $text-muted; }
    """

    def __init__(self, objective: str, current: str | None = None) -> None:
        super().__init__()
        self._objective, self._current = objective, current
        self._found: list[DataSet] = []

    def compose_box(self) -> ComposeResult:
        """Title, list, and how a file is named."""
        yield Phrase("data.pick_title", values={"objective": self._objective}, classes="dialog-title")
        yield ListTable(_COLUMNS)
        yield Phrase("data.pick_file", classes="hint")

    def on_mount(self) -> None:
        """Look what there is."""
        self.query_one(ListTable).focus()
        self._load()

    @work(group="load", exclusive=True)
    async def _load(self) -> None:
        self._found = await asyncio.to_thread(fitting_data, self._objective)
        with suppress(NoMatches):  # left meanwhile
            self.relabel()
            if self._current is not None:
                self.query_one(ListTable).go_to(self._current)

    def relabel(self) -> None:
        """Speak again."""
        rows = [
            TableRow(
                data.entry.name,
                (
                    data.entry.name,
                    self.t("data.here" if data.is_here else "data.download"),
                    "" if data.entry.size is None else size(data.entry.size),
                    self.say(data.entry.about),
                ),
                "good" if data.is_here else "quiet",
            )
            for data in self._found
        ]
        self.query_one(ListTable).set_rows(rows)

    @on(ListTable.Chosen)
    def _chosen(self, event: ListTable.Chosen) -> None:
        self.dismiss(event.row)
