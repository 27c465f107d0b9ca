"""A report that lies as Markdown in a directory; its pictures lie beside it."""

from __future__ import annotations

from pathlib import Path

from minimind.errors import UserError
from minimind.events import Language
from minimind_tui.screens.markdown import MarkdownScreen

_LARGEST = 2 << 20


class ReportScreen(MarkdownScreen):
    """``report.LANGUAGE.md`` in `directory`."""

    TITLE_KEY = "recipes.report"

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def read(self, language: Language) -> str:
        """The file. Raises UserError where it cannot be read."""
        path = self._directory / f"report.{language}.md"
        try:
            with path.open("rb") as file:
                return file.read(_LARGEST).decode("utf-8", "replace")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UserError(f"{path}: cannot be read: {reason}", f"{path}：无法读取：{reason}") from None
