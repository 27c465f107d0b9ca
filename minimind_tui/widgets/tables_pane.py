"""The tables a run records (episodes, tool calls, parts of a reward), each under its title."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from minimind.events import Table
from minimind_tui.speech import Speaker
from minimind_tui.widgets.line import Line
from minimind_tui.widgets.table_view import TableView


class TablesPane(Speaker, VerticalScroll, can_focus=True):
    """The newest table of each name, in the order in which they were first recorded."""

    DEFAULT_CSS = """
    TablesPane { height: 1fr; }
    TablesPane:focus { background: $surface; }
    TablesPane TableView { margin: 0 1 1 1; }
    TablesPane Line { padding: 0 1; color: $text-muted; }
    """

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._views: dict[str, TableView] = {}
        self._tables: dict[str, Table] = {}
        self._none = Line()

    def compose(self) -> ComposeResult:
        """A word for as long as there is none."""
        yield self._none

    def on_mount(self) -> None:
        """Speak for the first time."""
        self.relabel()

    def set_tables(self, tables: Sequence[Table]) -> None:
        """Show these; nothing is sent where nothing changed."""
        for table in tables:
            if self._tables.get(table.name) == table:
                continue
            self._tables[table.name] = table
            view = self._views.get(table.name)
            if view is None:
                view = self._views[table.name] = TableView()
                self.mount(view)
            view.set_table(table)
        self.relabel()

    def relabel(self) -> None:
        """Speak again."""
        self._none.display = not self._tables
        self._none.show(self.t("run.tables_none"))
