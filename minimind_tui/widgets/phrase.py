"""A piece of interface text that follows the language."""

from __future__ import annotations

from typing import Any

from textual.content import Content
from textual.widgets import Static

from minimind.events import Text
from minimind.safe_text import clean
from minimind_tui.speech import Speaker


class Phrase(Speaker, Static):
    """Shows a string key or a `Text` in the current language, again whenever it changes. No markup."""

    def __init__(
        self,
        source: str | Text,
        *,
        values: dict[str, Any] | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__("", markup=False, id=id, classes=classes)
        self._source = source
        self._values = values or {}

    def on_mount(self) -> None:
        """Speak for the first time."""
        self.relabel()

    def set(self, source: str | Text, **values: Any) -> None:
        """Show something else."""
        if (source, values) != (self._source, self._values):
            self._source, self._values = source, values
            if self.is_attached:
                self.relabel()

    def relabel(self) -> None:
        """Speak again, in the current language."""
        source = self._source
        words = clean(self.say(source)) if isinstance(source, Text) else self.t(source, **self._values)
        self.update(Content(words))
