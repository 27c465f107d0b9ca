"""What an experiment pane writes to disk: kept results, the notebook, exports; never on the window's thread."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from lessons.export import export_all
from lessons.kept_runs import keep
from lessons.notebook import add_entry, add_note, newest_entry
from lessons.predictions import Judged
from lessons.results import Results
from minimind.errors import UserError
from minimind.events import Language
from minimind.experiment import Experiment
from minimind_tui.screens.note import NoteDialog

if TYPE_CHECKING:
    from minimind_tui.widgets.experiment_pane import ExperimentPane


class ExperimentFiles:
    """The files of one pane's results; what goes wrong is told in a notice."""

    def __init__(self, pane: ExperimentPane, slug: str) -> None:
        self._pane, self._slug = pane, slug

    def keep(self, results: Results) -> None:
        """Keep `results` for the next time, and write them into the notebook."""
        experiment = self._pane.experiment
        if experiment is not None:
            app, language, judged = self._pane.app, self._pane.language, self._pane.judged
            app.run_worker(partial(self._write, experiment, results, judged, language), group="notebook")

    async def _write(self, experiment: Experiment, results: Results, judged: Judged | None, language: Language) -> None:
        app = self._pane.app
        try:
            await asyncio.to_thread(keep, experiment, results)
            await asyncio.to_thread(add_entry, self._slug, experiment, results, judged, language)
        except UserError as error:
            app.tell(error.text, severity="error")

    def export(self) -> None:
        """Write every format into a new directory, and say where."""
        self._pane.app.run_worker(self._export, group="export")

    async def _export(self) -> None:
        pane, app = self._pane, self._pane.app
        if pane.experiment is None or pane.results is None:
            return
        try:
            where = await asyncio.to_thread(export_all, pane.experiment, pane.results, pane.judged, pane.language)
        except UserError as error:
            app.tell(error.text, severity="error")
        else:
            app.tell(app.t("common.saved", path=str(where)))

    def note(self) -> None:
        """Ask for a note, and add it to the newest entry about the experiment."""

        def write(words: str | None) -> None:
            if words:
                self._pane.app.run_worker(partial(self._note, words), group="notebook")

        self._pane.app.push_screen(NoteDialog(), write)

    async def _note(self, words: str) -> None:
        pane, app = self._pane, self._pane.app
        experiment, results = pane.experiment, pane.results
        if experiment is None or results is None:
            return
        try:
            number = await asyncio.to_thread(newest_entry, self._slug, experiment.name)
            if number is None:
                await asyncio.to_thread(add_entry, self._slug, experiment, results, pane.judged, pane.language)
                number = await asyncio.to_thread(newest_entry, self._slug, experiment.name)
            await asyncio.to_thread(add_note, self._slug, number or 0, words, pane.language)
        except UserError as error:
            app.tell(error.text, severity="error")
        else:
            app.tell(app.t("notebook.noted"))
