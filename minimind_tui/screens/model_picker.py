"""Choose a model: shipped ones and every checkpoint of every run."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import ClassVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.widgets import Input

from minimind.figures import rough_duration
from minimind.safe_text import clean_line
from minimind_tui.model_list import Model, list_models
from minimind_tui.screens.dialog import Dialog
from minimind_tui.widgets.list_table import Column, ListTable, TableRow
from minimind_tui.widgets.phrase import Phrase

_COLUMNS = (
    Column("chat.column.model", 0),
    Column("chat.column.objective", 10),
    Column("chat.column.age", 9, right=True, appears_at=50),
)


class ModelPicker(Dialog[Model | None]):
    """A list with a filter; Enter picks, Esc leaves things as they are."""

    DEFAULT_CSS = """
    ModelPicker > .box { width: 90; height: 80%; }
    ModelPicker Input { margin: 0 0 1 0; background: $panel; }
    ModelPicker Phrase.hint { color: $text-muted; display: none; }
    ModelPicker.-empty Phrase.hint { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "to_list", "table.key.down", show=False),
        Binding("up", "to_filter", "table.key.up", show=False),
    ]

    def __init__(self, current: str | None = None) -> None:
        super().__init__()
        self._current = current
        self._models: list[Model] = []

    def compose_box(self) -> ComposeResult:
        """Title, filter, list."""
        yield Phrase("chat.pick_title", classes="dialog-title")
        box = Input(compact=True, placeholder=self.t("chat.pick_filter"))
        box.cursor_blink = False
        yield box
        yield ListTable(_COLUMNS)
        yield Phrase("chat.pick_none", classes="hint")

    def on_mount(self) -> None:
        """Look what there is."""
        self.query_one(Input).focus()
        self._load()

    @work(group="load", exclusive=True)
    async def _load(self) -> None:
        self._models = await asyncio.to_thread(list_models)
        with suppress(NoMatches):  # left meanwhile
            self._show()
            if self._current is not None:
                self.query_one(ListTable).go_to(self._current)

    def _show(self) -> None:
        wanted = self.query_one(Input).value.strip().lower()
        now = time.time()
        rows = []
        for model in self._models:
            title = clean_line(model.title, 200)
            if wanted in f"{title} {model.objective}".lower():
                age = self.t("chat.shipped") if model.is_shipped else rough_duration(now - model.time, self.language)
                rows.append(
                    TableRow(model.path, (title, model.objective, age), "good" if model.is_shipped else "plain")
                )
        self.query_one(ListTable).set_rows(rows)
        self.set_class(not rows, "-empty")

    def relabel(self) -> None:
        """Speak again."""
        self.query_one(Input).placeholder = self.t("chat.pick_filter")
        self._show()

    def action_to_list(self) -> None:
        """From the filter into the list."""
        self.query_one(ListTable).focus()

    def action_to_filter(self) -> None:
        """Back to the filter."""
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _filter_typed(self) -> None:
        self._show()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.query_one(ListTable).action_choose()

    @on(ListTable.Chosen)
    def _chosen(self, event: ListTable.Chosen) -> None:
        self.dismiss(next((model for model in self._models if model.path == event.row), None))
